//! A record as one line of JSON, written without a detour: every call costs one.

use std::fmt::Display;

use serde::{Serialize, Serializer};

use super::chain::Link;
use super::event::{Event, Phase};
use crate::model::{CacheStatus, CredentialId, ErrorCode, KeyHash, RootField, TenantId};

const CLASS: u32 = 6003;

/// Appends the line of an event at its place in the chain, without its end.
pub fn of(event: &Event, link: Link, text: &mut Vec<u8>) {
    // Texts and numbers: it cannot fail to become JSON.
    let _ = serde_json::to_writer(text, &record(event, link));
}

/// A value as its text.
struct Shown<T>(T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

// OCSF leaves out what is not known.
#[derive(Serialize)]
struct Record<'a> {
    activity_id: u32,
    activity_name: &'static str,
    actor: Actor<'a>,
    api: Api<'a>,
    category_name: &'static str,
    category_uid: u32,
    class_name: &'static str,
    class_uid: u32,
    duration: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    metadata: Metadata,
    resources: Vec<Resource<'a>>,
    severity: &'static str,
    severity_id: u32,
    src_endpoint: Endpoint,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<&'static str>,
    status_id: u32,
    time: i64,
    type_name: &'static str,
    type_uid: u32,
    unmapped: Unmapped<'a>,
}

#[derive(Serialize)]
struct Actor<'a> {
    user: User<'a>,
}

#[derive(Serialize)]
struct User<'a> {
    uid: &'a str,
    r#type: &'static str,
    type_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<Named<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    uid: &'a str,
}

#[derive(Serialize)]
struct Api<'a> {
    operation: &'static str,
    service: Service,
    request: RequestName<'a>,
    response: ResponseStatus,
}

#[derive(Serialize)]
struct Service {
    name: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum RequestName<'a> {
    Id { uid: Shown<&'a crate::model::RequestId> },
    None { uid: &'static str },
}

#[derive(Serialize)]
struct ResponseStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

#[derive(Serialize)]
struct Metadata {
    version: &'static str,
    product: Product,
    uid: Shown<u64>,
}

#[derive(Serialize)]
struct Product {
    name: &'static str,
    vendor_name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Resource<'a> {
    uid: &'a str,
    r#type: &'static str,
}

#[derive(Serialize)]
struct Endpoint {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<Shown<std::net::IpAddr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
}

#[derive(Serialize)]
struct Unmapped<'a> {
    chain: Link,
    phase: Phase,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<&'a str>,
    decision: &'static str,
    rule: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'static str>,
    cost: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    upstream: Upstream<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Digest {
    bytes: usize,
    sha256: Shown<KeyHash>,
}

#[derive(Serialize)]
struct Upstream<'a> {
    calls: u32,
    milliseconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

fn record(event: &Event, link: Link) -> Record<'_> {
    let (activity_id, activity_name, type_name) = activity(event);
    let (decision, rule) = decision(event);
    let (status, severity) = match (event.phase, event.code, decision) {
        (Phase::Intent, ..) => ((0, "Unknown"), (1, "Informational")),
        (_, None, _) => ((1, "Success"), (1, "Informational")),
        (_, Some(_), "allowed") => ((2, "Failure"), (2, "Low")),
        (_, Some(_), _) => ((2, "Failure"), (3, "Medium")),
    };
    let notes = &event.notes;
    let job = notes.job.as_ref().map(|job| Resource { uid: job.as_str(), r#type: "job" });
    let take = notes.take.as_ref().map(|take| Resource { uid: take.as_str(), r#type: "take" });
    let credential = event.credential.as_ref().map(CredentialId::as_str);
    let (user_type, user_type_id) =
        if event.subject.is_some() { ("User", 1) } else { ("System", 3) };
    let tenant = event.tenant.as_ref().map(TenantId::as_str);
    let code = event.code.map(ErrorCode::as_str);
    Record {
        activity_id,
        activity_name,
        actor: Actor {
            user: User {
                uid: event.subject.as_deref().or(credential).unwrap_or("unknown"),
                r#type: user_type,
                type_id: user_type_id,
                credential_uid: credential,
                org: tenant.map(|uid| Named { uid }),
            },
        },
        api: Api {
            operation: event.operation.as_ref().map_or("none", |(_, field)| field.name()),
            service: Service { name: "jobs-gateway" },
            request: match &event.request_id {
                Some(id) => RequestName::Id { uid: Shown(id) },
                None => RequestName::None { uid: "none" },
            },
            response: ResponseStatus { code: event.http_status, error: code },
        },
        category_name: "Application Activity",
        category_uid: 6,
        class_name: "API Activity",
        class_uid: CLASS,
        duration: milliseconds(event.latency),
        message: event.message.as_deref(),
        metadata: Metadata {
            version: "1.3.0",
            product: Product {
                name: "Jobs Gateway",
                vendor_name: "Jobs Gateway",
                version: env!("CARGO_PKG_VERSION"),
            },
            uid: Shown(link.seq),
        },
        resources: job.into_iter().chain(take).collect(),
        severity: severity.1,
        severity_id: severity.0,
        src_endpoint: Endpoint {
            ip: event.source.map(Shown),
            name: event.source.is_none().then_some("unknown"),
        },
        status: status.1,
        status_code: code,
        status_id: status.0,
        time: event.at.as_millisecond(),
        type_name,
        type_uid: CLASS * 100 + activity_id,
        unmapped: Unmapped {
            chain: link,
            phase: event.phase,
            tenant,
            alias: event.operation.as_ref().map(|(key, _)| &**key),
            decision,
            rule,
            metadata: notes
                .metadata
                .map(|(bytes, sha256)| Digest { bytes, sha256: Shown(KeyHash(sha256)) }),
            cache: notes.cache.map(CacheStatus::as_str),
            cost: event.cost,
            replayed: event.is_replay,
            upstream: Upstream {
                calls: notes.upstream_calls,
                milliseconds: milliseconds(notes.upstream_time),
                request_id: notes.upstream_request_id.as_deref(),
            },
            policy_version: event.policy_version.as_deref(),
            trace_id: event.trace_id.as_deref(),
        },
    }
}

/// Whether it was let through, and the rule that decided.
fn decision(event: &Event) -> (&'static str, &'static str) {
    match (event.phase, event.code) {
        (Phase::Journal, _) => ("none", "none"),
        (_, Some(ErrorCode::Unauthenticated)) => ("denied", "authentication"),
        (_, Some(ErrorCode::Forbidden)) => ("denied", "policy"),
        (_, Some(ErrorCode::RateLimited)) => ("limited", "rate_limit"),
        (_, Some(ErrorCode::Overloaded)) => ("limited", "load"),
        (_, Some(ErrorCode::OperationTooComplex)) => ("limited", "complexity"),
        (_, Some(ErrorCode::AuditUnavailable)) => ("denied", "audit"),
        _ => ("allowed", "policy"),
    }
}

/// The activity's number, its name and its type's name in OCSF.
fn activity(event: &Event) -> (u32, &'static str, &'static str) {
    match event.operation.as_ref().map(|(_, field)| field) {
        Some(RootField::GetJob | RootField::ListJobs) => (2, "Read", "API Activity: Read"),
        Some(RootField::UpdateJob) => (3, "Update", "API Activity: Update"),
        Some(_) => (1, "Create", "API Activity: Create"),
        None => (99, "Other", "API Activity: Other"),
    }
}

fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
