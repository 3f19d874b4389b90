//! The schema's interfaces. No field returns one; they exist for fragments and for introspection.

#![expect(clippy::large_enum_variant, reason = "they define and are never made")]

use async_graphql::{ID, Interface};

use super::{
    AwsDateTime, AwsJson, AwsUrl, CameraSettingsPage, Client, File, Job, JobsPage, RigsPage,
    ShareCode, Take, TakesPage, VolumePage,
};

/// Whatever has an id.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "Option<&ID>", desc = "Its id."))]
pub enum Identifier {
    /// A client.
    Client(Client),
    /// A file.
    File(File),
    /// A job.
    Job(Job),
    /// A take.
    Take(Take),
}

/// Whatever has a time of creation.
#[derive(Interface)]
#[graphql(field(name = "created", ty = "Option<&AwsDateTime>", desc = "When it was created."))]
pub enum Timestamped {
    /// A client.
    Client(Client),
    /// A file.
    File(File),
    /// A job.
    Job(Job),
    /// A take.
    Take(Take),
    /// A share code.
    ShareCode(ShareCode),
}

/// What every file has.
#[derive(Interface)]
#[graphql(
    field(
        name = "presignedUrl",
        method = "presigned_url",
        ty = "Option<&AwsUrl>",
        desc = "Where its content is; the URL expires."
    ),
    field(name = "type", method = "file_type", ty = "Option<&String>", desc = "Its type.")
)]
pub enum InternalFileSchema {
    /// A file.
    File(File),
}

/// Whatever belongs to a client.
#[derive(Interface)]
#[graphql(field(name = "client", ty = "Option<&Client>", desc = "The client it belongs to."))]
pub enum ClientOwner {
    /// A file.
    File(File),
    /// A job.
    Job(Job),
    /// A take.
    Take(Take),
}

/// One page of a listing.
#[derive(Interface)]
#[graphql(
    field(name = "after", ty = "Option<&AwsJson>", desc = "The cursor of the next page."),
    field(name = "first", ty = "Option<&i32>", desc = "How many items a page holds at most.")
)]
pub enum Page {
    /// The lenses.
    CameraSettings(CameraSettingsPage),
    /// A page of jobs.
    Jobs(JobsPage),
    /// The rigs.
    Rigs(RigsPage),
    /// A page of takes.
    Takes(TakesPage),
    /// A page of volumes.
    Volumes(VolumePage),
}
