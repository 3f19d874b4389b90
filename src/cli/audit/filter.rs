//! Which records are printed, and how one looks to people.

use jiff::Timestamp;
use serde_json::Value;

use crate::model::{ErrorCode, RootField};

/// Which records.
#[derive(Debug, clap::Args)]
pub struct Filter {
    /// Of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// With this credential: a key's id, or `issuer:subject`.
    #[arg(long)]
    key: Option<String>,
    /// Of this operation.
    #[arg(long, value_parser = RootField::ALL.map(RootField::name))]
    operation: Option<String>,
    /// With this outcome: `success`, `failure` or `unknown`, a decision (`allowed`, `denied`,
    /// `limited`), or an error code.
    #[arg(long, value_parser = outcome)]
    outcome: Option<Outcome>,
    /// About this job.
    #[arg(long)]
    job: Option<String>,
    /// Of the request with this `X-Request-Id`.
    #[arg(long)]
    request_id: Option<String>,
}

/// The outcome of a call.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Status(&'static str),
    Decision(&'static str),
    Code(ErrorCode),
}

const STATUSES: [&str; 3] = ["Success", "Failure", "Unknown"];
const DECISIONS: [&str; 3] = ["allowed", "denied", "limited"];

fn outcome(text: &str) -> Result<Outcome, String> {
    let is = |name: &&str| name.eq_ignore_ascii_case(text);
    let code = || ErrorCode::ALL.iter().copied().find(|code| is(&code.as_str()));
    let status = STATUSES.into_iter().find(is).map(Outcome::Status);
    status
        .or_else(|| DECISIONS.into_iter().find(is).map(Outcome::Decision))
        .or_else(|| code().map(Outcome::Code))
        .ok_or_else(|| {
            let codes: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
            let codes = codes.join(", ");
            let words = "success, failure, unknown, allowed, denied, limited";
            format!("must be one of {words}, or an error code: {codes}")
        })
}

impl Filter {
    /// Returns true if it takes a record.
    pub fn takes(&self, record: &Value) -> bool {
        let own = &record["unmapped"];
        let is = |wanted: &Option<String>, value: &Value| match wanted {
            Some(wanted) => value.as_str() == Some(wanted),
            None => true,
        };
        let names_job = self.job.as_deref().is_none_or(|job| {
            let mut resources = record["resources"].as_array().into_iter().flatten();
            resources.any(|resource| resource["uid"].as_str() == Some(job))
        });
        let has_outcome = self.outcome.is_none_or(|outcome| match outcome {
            Outcome::Status(status) => record["status"] == status,
            Outcome::Decision(decision) => own["decision"] == decision,
            Outcome::Code(code) => record["status_code"] == code.as_str(),
        });
        is(&self.tenant, &own["tenant"])
            && is(&self.key, &record["actor"]["user"]["credential_uid"])
            && is(&self.operation, &record["api"]["operation"])
            && is(&self.request_id, &record["api"]["request"]["uid"])
            && has_outcome
            && names_job
    }
}

/// The names of a row's columns.
pub const HEADER: [&str; 8] =
    ["time", "tenant", "credential", "operation", "phase", "decision", "code", "about"];

/// A line for people.
pub fn row(cells: [&str; 8]) -> String {
    let [time, tenant, credential, operation, phase, decision, code, about] = cells;
    format!(
        "{time:<24} {tenant:<12} {credential:<20} {operation:<20} {phase:<8} {decision:<8} {code:<20} {about}"
    )
}

/// A record as a line for people.
pub fn row_of(record: &Value) -> String {
    let time = record["time"].as_i64().and_then(|time| Timestamp::from_millisecond(time).ok());
    let time = time.map(|time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
    let own = &record["unmapped"];
    let text = |value: &'_ Value| value.as_str().unwrap_or("-").to_owned();
    let cells = [
        time.unwrap_or_else(|| "-".to_owned()),
        text(&own["tenant"]),
        text(&record["actor"]["user"]["credential_uid"]),
        text(&record["api"]["operation"]),
        text(&own["phase"]),
        text(&own["decision"]),
        text(&record["status_code"]),
        about(record),
    ];
    row(cells.each_ref().map(String::as_str))
}

/// The job of a call; of refused requests how many they were, why and from where.
fn about(record: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let Some(count) = record["count"].as_u64() else {
        let reason = record["status_detail"].as_str().unwrap_or("-");
        return record["resources"][0]["uid"].as_str().unwrap_or(reason).to_owned();
    };
    let source = &record["src_endpoint"];
    let from = source["ip"].as_str().map_or_else(|| text(&source["name"]), str::to_owned);
    format!("{count} requests from {from}: {}", text(&record["status_detail"]))
}
