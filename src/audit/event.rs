//! What a record says: OCSF 1.3.0, API Activity (class 6003), so that a SIEM takes it as it is.
//! <https://schema.ocsf.io/1.3.0/classes/api_activity>
//!
//! Never in it: metadata (its length and SHA-256 are), keys, tokens, URLs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::chain::Link;
use crate::model::{
    CallRecord, CredentialId, ErrorCode, Notes, RequestContext, RequestId, RootField, TenantId,
    Trail,
};

const CLASS: u32 = 6003;

/// Which half of a mutation a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is about to be sent.
    Intent,
    /// It is over; queries have this record alone.
    Outcome,
    /// A segment ends, or the journal found something odd: no call at all.
    Journal,
}

/// One record before it has its place in the chain.
#[derive(Debug, Clone)]
pub struct Event {
    phase: Phase,
    at: Timestamp,
    request_id: Option<RequestId>,
    source: Option<IpAddr>,
    tenant: Option<TenantId>,
    credential: Option<CredentialId>,
    subject: Option<Arc<str>>,
    policy_version: Option<Arc<str>>,
    operation: Option<(Arc<str>, RootField)>,
    notes: Notes,
    code: Option<ErrorCode>,
    http_status: Option<u16>,
    cost: u32,
    latency: Duration,
    message: Option<String>,
    trace_id: Option<Box<str>>,
}

impl Event {
    /// The records of a finished call: one for each root field, or one if it asked for none.
    pub fn of_call(record: &CallRecord) -> Vec<Self> {
        let latency = record.began.elapsed();
        let event = |trail: Option<&Trail>| Self {
            phase: Phase::Outcome,
            at: record.at,
            request_id: Some(record.request_id),
            source: record.source,
            tenant: record.tenant.clone(),
            credential: record.credential.clone(),
            subject: record.subject.clone(),
            policy_version: record.policy_version.clone(),
            operation: trail.map(|trail| (Arc::clone(&trail.response_key), trail.field)),
            notes: trail.map(|trail| trail.note(|notes| notes.clone())).unwrap_or_default(),
            code: match trail {
                Some(trail) => record.code_of(trail),
                None => record.failures.first().map(|failure| failure.code),
            },
            http_status: Some(record.status),
            cost: record.cost,
            latency,
            message: None,
            trace_id: record.trace.map(|trace| trace.trace.to_string().into()),
        };
        if record.trails.is_empty() {
            vec![event(None)]
        } else {
            record.trails.iter().map(|trail| event(Some(trail))).collect()
        }
    }

    /// A mutation that is about to be sent.
    pub fn intent(request: &RequestContext, trail: &Trail, at: Timestamp) -> Self {
        Self {
            phase: Phase::Intent,
            at,
            request_id: Some(request.id),
            source: request.source,
            tenant: Some(request.caller.tenant.id.clone()),
            credential: Some(request.caller.credential.clone()),
            subject: request.caller.subject.clone(),
            policy_version: None,
            operation: Some((Arc::clone(&trail.response_key), trail.field)),
            notes: trail.note(|notes| notes.clone()),
            code: None,
            http_status: None,
            cost: 0,
            latency: Duration::ZERO,
            message: None,
            trace_id: None,
        }
    }

    /// Something about the journal itself.
    pub fn of_journal(message: String, at: Timestamp) -> Self {
        Self {
            phase: Phase::Journal,
            at,
            request_id: None,
            source: None,
            tenant: None,
            credential: None,
            subject: None,
            policy_version: None,
            operation: None,
            notes: Notes::default(),
            code: None,
            http_status: None,
            cost: 0,
            latency: Duration::ZERO,
            message: Some(message),
            trace_id: None,
        }
    }

    /// Whether it was let through, and the rule that decided.
    fn decision(&self) -> (&'static str, &'static str) {
        match (self.phase, self.code) {
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

    /// The activity's number and name in OCSF.
    fn activity(&self) -> (u32, &'static str) {
        match self.operation.as_ref().map(|(_, field)| field) {
            Some(RootField::GetJob | RootField::ListJobs) => (2, "Read"),
            Some(RootField::UpdateJob) => (3, "Update"),
            Some(_) => (1, "Create"),
            None => (99, "Other"),
        }
    }

    /// The record as one line of JSON, at its place in the chain.
    pub fn line(&self, link: Link) -> Vec<u8> {
        let (activity, activity_name) = self.activity();
        let (decision, rule) = self.decision();
        let (status, severity) = match (self.phase, self.code, decision) {
            (Phase::Intent, ..) => ((0, "Unknown"), (1, "Informational")),
            (_, None, _) => ((1, "Success"), (1, "Informational")),
            (_, Some(_), "allowed") => ((2, "Failure"), (2, "Low")),
            (_, Some(_), _) => ((2, "Failure"), (3, "Medium")),
        };
        let notes = &self.notes;
        let resource = |uid: &str, kind: &str| json!({"uid": uid, "type": kind});
        let resources: Vec<Value> = [
            notes.job.as_ref().map(|job| resource(job.as_str(), "job")),
            notes.take.as_ref().map(|take| resource(take.as_str(), "take")),
        ]
        .into_iter()
        .flatten()
        .collect();
        let credential = self.credential.as_ref().map(CredentialId::as_str);
        let operation = self.operation.as_ref().map_or("none", |(_, field)| field.name());
        let metadata = notes.metadata.map(|(bytes, sha256)| {
            json!({"bytes": bytes, "sha256": crate::model::KeyHash(sha256).to_string()})
        });
        let request_id = self.request_id.map(|id| id.to_string());
        let record = json!({
            "activity_id": activity,
            "activity_name": activity_name,
            "actor": {
                "user": {
                    "uid": self.subject.as_deref().or(credential).unwrap_or("unknown"),
                    "type": if self.subject.is_some() { "User" } else { "System" },
                    "type_id": if self.subject.is_some() { 1 } else { 3 },
                    "credential_uid": credential,
                    "org": self.tenant.as_ref().map(|tenant| json!({"uid": tenant.as_str()})),
                },
            },
            "api": {
                "operation": operation,
                "service": {"name": "jobs-gateway"},
                "request": {"uid": request_id.as_deref().unwrap_or("none")},
                "response": {"code": self.http_status, "error": self.code.map(ErrorCode::as_str)},
            },
            "category_name": "Application Activity",
            "category_uid": 6,
            "class_name": "API Activity",
            "class_uid": CLASS,
            "duration": milliseconds(self.latency),
            "message": self.message,
            "metadata": {
                "version": "1.3.0",
                "product": {
                    "name": "Jobs Gateway",
                    "vendor_name": "Jobs Gateway",
                    "version": env!("CARGO_PKG_VERSION"),
                },
                "uid": format!("{}", link.seq),
            },
            "resources": resources,
            "severity": severity.1,
            "severity_id": severity.0,
            "src_endpoint": {"ip": self.source.map(|ip| ip.to_string()), "name": self.source.is_none().then_some("unknown")},
            "status": status.1,
            "status_code": self.code.map(ErrorCode::as_str),
            "status_id": status.0,
            "time": self.at.as_millisecond(),
            "type_name": format!("API Activity: {activity_name}"),
            "type_uid": CLASS * 100 + activity,
            "unmapped": {
                "chain": link,
                "phase": self.phase,
                "tenant": self.tenant.as_ref().map(TenantId::as_str),
                "alias": self.operation.as_ref().map(|(key, _)| &**key),
                "decision": decision,
                "rule": rule,
                "metadata": metadata,
                "cache": notes.cache.map(crate::model::CacheStatus::as_str),
                "cost": self.cost,
                "upstream": {
                    "calls": notes.upstream_calls,
                    "milliseconds": milliseconds(notes.upstream_time),
                    "request_id": notes.upstream_request_id,
                },
                "policy_version": self.policy_version,
                "trace_id": self.trace_id,
            },
        });
        // A tree of texts and numbers: it cannot fail to become JSON.
        serde_json::to_vec(&without_nulls(record)).unwrap_or_default()
    }
}

/// OCSF leaves out what is not known.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let known = members.into_iter().filter(|(_, value)| !value.is_null());
            known.map(|(name, value)| (name, without_nulls(value))).collect()
        }
        other => other,
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
