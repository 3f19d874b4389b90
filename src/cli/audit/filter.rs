//! Which records are printed, and which filter left nothing.

use std::collections::BTreeSet;

use clap::builder::PossibleValuesParser;
use serde_json::Value;

use crate::model::{ErrorCode, RootField, Subscription};

/// The number of names that a hint holds.
const NAMED: usize = 20;

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
    #[arg(long, value_parser = operations())]
    operation: Option<String>,
    /// Of this phase: calls are recorded when they are over, mutations before too, and streams also when they end.
    #[arg(long, value_parser = ["intent", "outcome", "close", "refusals", "event", "journal"])]
    phase: Option<String>,
    /// With this outcome: `success`, `failure` or `unknown`, a decision (`allowed`, `denied`,
    /// `limited`), or an error code.
    #[arg(long, value_parser = outcome)]
    outcome: Option<Outcome>,
    /// About this job.
    #[arg(long)]
    job: Option<String>,
    /// Of the request with this `X-Request-Id`: the gateway's, or the caller's own.
    #[arg(long)]
    request_id: Option<String>,
}

/// The operations that records have: root fields, and subscriptions.
fn operations() -> PossibleValuesParser {
    let subscriptions = [Subscription::JobUpdated, Subscription::JobsUpdated];
    let names = RootField::ALL.into_iter().map(RootField::name);
    PossibleValuesParser::new(names.chain(subscriptions.map(Subscription::name)))
}

/// The outcome of a call.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Status(&'static str),
    Decision(&'static str),
    Code(ErrorCode),
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Status(name) | Self::Decision(name) => name,
            Self::Code(code) => code.as_str(),
        }
    }
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

/// One condition of a filter.
enum Condition<'a> {
    Tenant(&'a str),
    Key(&'a str),
    Operation(&'a str),
    Phase(&'a str),
    Outcome(Outcome),
    Job(&'a str),
    Request(&'a str),
}

impl Condition<'_> {
    fn takes(&self, record: &Value) -> bool {
        let own = &record["unmapped"];
        match *self {
            Self::Tenant(tenant) => own["tenant"] == tenant,
            Self::Key(key) => record["actor"]["user"]["credential_uid"] == key,
            Self::Operation(operation) => record["api"]["operation"] == operation,
            Self::Phase(phase) => own["phase"] == phase,
            Self::Outcome(Outcome::Status(status)) => record["status"] == status,
            Self::Outcome(Outcome::Decision(decision)) => own["decision"] == decision,
            Self::Outcome(Outcome::Code(code)) => record["status_code"] == code.as_str(),
            Self::Job(job) => {
                let mut resources = record["resources"].as_array().into_iter().flatten();
                resources.any(|resource| resource["uid"] == job)
            }
            Self::Request(id) => {
                record["api"]["request"]["uid"] == id || record["metadata"]["correlation_uid"] == id
            }
        }
    }

    /// The condition as it was written.
    fn shown(&self) -> String {
        match self {
            Self::Tenant(value) => format!("--tenant {value}"),
            Self::Key(value) => format!("--key {value}"),
            Self::Operation(value) => format!("--operation {value}"),
            Self::Phase(value) => format!("--phase {value}"),
            Self::Outcome(value) => format!("--outcome {}", value.name()),
            Self::Job(value) => format!("--job {value}"),
            Self::Request(value) => format!("--request-id {value}"),
        }
    }

    /// The member of records whose values may be meant, where there are few of them.
    fn value<'v>(&self, record: &'v Value) -> Option<&'v str> {
        match self {
            Self::Tenant(_) => record["unmapped"]["tenant"].as_str(),
            Self::Key(_) => record["actor"]["user"]["credential_uid"].as_str(),
            Self::Operation(_) => record["api"]["operation"].as_str(),
            Self::Phase(_) => record["unmapped"]["phase"].as_str(),
            Self::Outcome(_) | Self::Job(_) | Self::Request(_) => None,
        }
    }
}

impl Filter {
    /// Texts that each record which is taken holds, as members of their own.
    pub fn texts(&self) -> Vec<&str> {
        [&self.job, &self.request_id].into_iter().filter_map(Option::as_deref).collect()
    }

    /// Begins to look through records.
    pub fn search(&self) -> Search<'_> {
        let conditions = [
            self.tenant.as_deref().map(Condition::Tenant),
            self.key.as_deref().map(Condition::Key),
            self.operation.as_deref().map(Condition::Operation),
            self.phase.as_deref().map(Condition::Phase),
            self.outcome.map(Condition::Outcome),
            self.job.as_deref().map(Condition::Job),
            self.request_id.as_deref().map(Condition::Request),
        ];
        let conditions = conditions.into_iter().flatten();
        Search {
            conditions: conditions.map(|condition| (condition, Seen::default())).collect(),
            records: 0,
        }
    }
}

/// A filter, and what it has seen of the records that were shown to it.
pub struct Search<'a> {
    conditions: Vec<(Condition<'a>, Seen)>,
    records: u64,
}

/// The records that one condition has seen.
#[derive(Default)]
struct Seen {
    /// The number that it took.
    taken: u64,
    /// The values of the others.
    values: BTreeSet<String>,
}

impl Search<'_> {
    /// Returns true if it takes a record.
    pub fn takes(&mut self, record: &Value) -> bool {
        self.records += 1;
        let mut takes = true;
        for (condition, seen) in &mut self.conditions {
            if condition.takes(record) {
                seen.taken += 1;
                continue;
            }
            takes = false;
            if let Some(value) = condition.value(record)
                && !seen.values.contains(value)
                && seen.values.len() <= NAMED
            {
                seen.values.insert(value.to_owned());
            }
        }
        takes
    }

    /// Tells why nothing was taken: the conditions that no record meets, with values that records have. `times` are
    /// those that were looked at; `saw_all` is false if only records that hold the texts were shown.
    pub fn why_nothing(&self, times: &str, saw_all: bool) -> String {
        if self.records == 0 {
            let is_text = |condition: &&(Condition<'_>, Seen)| {
                matches!(condition.0, Condition::Job(_) | Condition::Request(_))
            };
            let texts = self.conditions.iter().filter(is_text).filter(|_| !saw_all);
            let texts: Vec<_> = texts.map(|(condition, _)| condition.shown()).collect();
            let with = if texts.is_empty() { "" } else { " with " };
            return format!("there is no record {times}{with}{}", texts.join(" and "));
        }
        let unmet = self.conditions.iter().filter(|(_, seen)| seen.taken == 0);
        let unmet: Vec<_> =
            unmet.map(|(condition, seen)| condition.shown() + &seen.hint()).collect();
        let records = if self.records == 1 { "record" } else { "records" };
        if unmet.is_empty() {
            return format!("of {} {records}, none meets all of it", self.records);
        }
        format!("of {} {records}, none has {}", self.records, unmet.join(", nor "))
    }
}

impl Seen {
    fn hint(&self) -> String {
        if self.values.is_empty() {
            return String::new();
        }
        let names: Vec<_> = self.values.iter().take(NAMED).map(String::as_str).collect();
        let more = if self.values.len() > NAMED { ", …" } else { "" };
        format!(" (there are {}{more})", names.join(", "))
    }
}
