//! What a tenant sees of a job that is its own: its metadata out of the envelope, and its policy's
//! words in place of the Move account's.

use crate::model::Tenant;
use crate::types::{AdditionalFile, AwsJson, AwsUrl, Client, File, Job, Source, Take, Volume};

use super::envelope::{self, Reading};

/// Rewrites everything of a job but its own metadata in place.
pub fn job(tenant: &Tenant, job: &mut Job) {
    client(tenant, job.client.get_mut());
    additional_files(tenant, job.outputs.as_mut());
    if let Some(below) = &mut job.take {
        take(tenant, below);
    }
}

/// A metadata text as the tenant may see it: its own value out of an envelope, a text without an
/// envelope as it is, and nothing of an envelope that is not its own.
pub fn metadata(tenant: &Tenant, stored: Option<&str>, reading: &Reading<'_>) -> Option<AwsJson> {
    let text = match reading {
        Reading::Plain => stored,
        Reading::Envelope(envelope) if *envelope.owner() == tenant.id => envelope.value(tenant),
        Reading::Envelope(_) | Reading::Broken => None,
    };
    text.map(|text| AwsJson(text.to_owned()))
}

fn own_metadata(tenant: &Tenant, shown: &mut Option<AwsJson>) {
    if let Some(stored) = shown.take() {
        *shown = metadata(tenant, Some(&stored.0), &envelope::read(Some(&stored.0)));
    }
}

fn client(tenant: &Tenant, client: Option<&mut Client>) {
    if let Some(client) = client {
        client.portal = Some(AwsUrl(tenant.client.portal.to_string()));
        client.metadata = Some(AwsJson(tenant.client.metadata.to_string()));
    }
}

fn file(tenant: &Tenant, file: Option<&mut File>) {
    if let Some(file) = file {
        client(tenant, file.client.as_mut());
        own_metadata(tenant, &mut file.metadata);
    }
}

fn additional_files(tenant: &Tenant, files: Option<&mut Vec<Option<AdditionalFile>>>) {
    for additional in files.into_iter().flatten().flatten() {
        file(tenant, additional.file.get_mut());
    }
}

/// Every URL in a job that may be signed and end: those of its files.
pub fn signed_urls(job: &Job) -> Vec<&str> {
    let take = job.take.as_deref();
    let volume = take.and_then(|take| take.volume.as_deref());
    let volume = volume.map(|Volume::HumanVolume(volume)| volume);
    let additional = [
        job.outputs.as_ref(),
        take.and_then(|take| take.additional_files.as_ref()),
        volume.and_then(|volume| volume.outputs.as_ref()),
    ];
    let additional = additional.into_iter().flatten().flatten().flatten();
    let of_take = take.and_then(|take| take.sources.as_ref()).into_iter().flatten().flatten();
    let of_volume = volume.and_then(|volume| volume.sources.as_ref()).into_iter().flatten();
    additional
        .filter_map(|additional| additional.file.get())
        .chain(of_take.chain(of_volume).filter_map(|source| source.file.as_ref()))
        .chain(take.and_then(|take| take.video_file.as_deref()))
        .flat_map(|file| [&file.presigned_url, &file.thumbnail_url])
        .filter_map(|url| url.as_ref().map(|url| url.0.as_str()))
        .collect()
}

fn sources<'a>(tenant: &Tenant, sources: impl Iterator<Item = &'a mut Source>) {
    for source in sources {
        file(tenant, source.file.as_mut());
    }
}

fn take(tenant: &Tenant, take: &mut Take) {
    client(tenant, take.client.get_mut());
    own_metadata(tenant, &mut take.metadata);
    additional_files(tenant, take.additional_files.as_mut());
    sources(tenant, take.sources.iter_mut().flatten().flatten());
    file(tenant, take.video_file.as_deref_mut());
    if let Some(Volume::HumanVolume(volume)) = take.volume.as_deref_mut() {
        client(tenant, volume.client.get_mut());
        own_metadata(tenant, &mut volume.metadata);
        additional_files(tenant, volume.outputs.as_mut());
        sources(tenant, volume.sources.iter_mut().flatten());
    }
}
