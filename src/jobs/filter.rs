//! The filter of `listJobs`, which Move has not: jobs are judged by what Move said of them.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fetch;
use super::ownership::{Held, NotShown, Place};
use super::{Error, Owned};
use crate::cache::Phase;
use crate::index::{Judge, Judgement};
use crate::json::{Json, JsonRef, Kind, Member, Name};
use crate::model::{EntityKind, Tenant};
use crate::upstream::Entity;

/// The problem with a moment that is none.
const NO_MOMENT: &str =
    "createdAfter and createdBefore must be moments such as 2026-01-31T12:00:00Z, up to 9999-12-30";

/// The states in which a job stays.
const FINAL: [&str; 2] = ["FINISHED", "FAILED"];

/// The jobs that are wanted of a listing: those that have all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobFilter {
    state: Option<Vec<String>>,
    created_after: Option<Timestamp>,
    created_before: Option<Timestamp>,
    name_prefix: Option<String>,
    metadata: Option<MetadataFilter>,
}

/// A member of the tenant's own metadata, and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct MetadataFilter {
    key: String,
    /// JSON text.
    equals: String,
}

/// A filter with its value read.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    given: JobFilter,
    equals: Option<Json>,
}

impl JobFilter {
    /// Reads a filter as a caller gave it.
    ///
    /// # Errors
    /// [`Error::Argument`] for a moment that is none: the rest is of the schema's types.
    pub fn read(given: Value) -> Result<Self, Error> {
        serde_json::from_value(given).map_err(|_| Error::argument("filter", NO_MOMENT))
    }
}

impl Filter {
    /// Checks a filter. `None` if it wants all jobs.
    ///
    /// # Errors
    /// [`Error::Argument`] for states that are none, and for a value that is no JSON.
    pub(super) fn checked(given: JobFilter) -> Result<Option<Self>, Error> {
        if given == JobFilter::default() {
            return Ok(None);
        }
        let is_state = |state: &String| {
            let is_of_word = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
            !state.is_empty() && state.bytes().all(is_of_word)
        };
        if given
            .state
            .as_ref()
            .is_some_and(|states| states.is_empty() || !states.iter().all(is_state))
        {
            return Err(Error::argument(
                "filter",
                "state must name states: NOT_STARTED, STARTED, RUNNING, FINISHED, FAILED",
            ));
        }
        let equals = given.metadata.as_ref().map(|own| Json::parse(own.equals.as_str()));
        let equals = equals
            .transpose()
            .map_err(|_| Error::argument("filter", "metadata.equals must be JSON text"))?;
        Ok(Some(Self { given, equals }))
    }

    /// Returns the text by which cursors know it.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(&self.given).unwrap_or_default()
    }

    /// Returns the moments, in microseconds since 1970, later than which and earlier than which jobs were created.
    pub(super) fn created(&self) -> (Option<i64>, Option<i64>) {
        let JobFilter { created_after, created_before, .. } = &self.given;
        let moment = |at: &Option<Timestamp>| at.map(Timestamp::as_microsecond);
        (moment(created_after), moment(created_before))
    }

    /// Returns true if nothing of it changes but by a write.
    const fn is_settled(&self) -> bool {
        self.given.state.is_none()
    }

    /// Returns true if a job is wanted, as it is now.
    pub(super) fn wants(&self, job: &Owned) -> bool {
        self.wants_beside_state(job) && self.wants_state(job)
    }

    fn wants_state(&self, job: &Owned) -> bool {
        let Some(states) = &self.given.state else { return true };
        let state = job.entity().state();
        state.is_some_and(|state| states.iter().any(|wanted| **wanted == *state))
    }

    fn wants_beside_state(&self, job: &Owned) -> bool {
        self.wants_name(job.entity())
            && self.wants_created(job.entity())
            && self.wants_metadata(job)
    }

    /// Returns true if a job's name begins as wanted: one without a name as an empty one.
    fn wants_name(&self, job: &Entity) -> bool {
        self.given.name_prefix.as_ref().is_none_or(|prefix| {
            let name = job.json().root().text_of("name");
            name.as_deref().unwrap_or_default().starts_with(prefix.as_str())
        })
    }

    fn wants_created(&self, job: &Entity) -> bool {
        let (after, before) = self.created();
        if (after, before) == (None, None) {
            return true;
        }
        let created = job.created().and_then(|text| text.parse::<Timestamp>().ok());
        created.map(Timestamp::as_microsecond).is_some_and(|own| {
            after.is_none_or(|after| own > after) && before.is_none_or(|before| own < before)
        })
    }

    fn wants_metadata(&self, job: &Owned) -> bool {
        let (Some(metadata), Some(equals)) = (&self.given.metadata, &self.equals) else {
            return true;
        };
        // It is shown as a JSON string, which holds JSON.
        let shown = job.shown_metadata().and_then(|text| serde_json::from_str::<String>(text).ok());
        let Some(own) = shown.and_then(|text| Json::parse(&text).ok()) else { return false };
        match own.root().member(&metadata.key) {
            Member::One(value) => is_same(value, equals.root()),
            Member::Absent | Member::Repeated => false,
        }
    }

    /// Makes the judge of a tenant's jobs at a moment. Whose a job is, its text says.
    pub(super) fn judge(self: Arc<Self>, tenant: Arc<Tenant>, now: Timestamp) -> Judge {
        Box::new(move |seen, text| self.judged(&tenant, now, seen, text))
    }

    fn judged(&self, tenant: &Tenant, now: Timestamp, seen: i64, text: &str) -> Judgement {
        let (Some(entity), Ok(seen)) = (Entity::parse(text), Timestamp::from_microsecond(seen))
        else {
            return Judgement::Open;
        };
        // Before its metadata is read, which may be long.
        if !(self.wants_name(&entity) && self.wants_created(&entity)) {
            return Judgement::NotWanted;
        }
        let (held, place) = (Held::ByNobody, Place::Root);
        let own = match Owned::verify(tenant, EntityKind::Job, held, entity, &[], place) {
            Ok(own) => own,
            Err(NotShown::NotTheirs) => return Judgement::NotWanted,
            Err(NotShown::OwnerUnknown) => return Judgement::Open,
        };
        if !self.wants_metadata(&own) {
            return Judgement::NotWanted;
        }
        let is_final = own.entity().state().is_some_and(|state| FINAL.contains(&&*state));
        let wants_state = self.wants_state(&own);
        if !self.is_settled() && !is_final {
            let lifetime = fetch::lifetime(&tenant.cache, EntityKind::Job, Some(&own), seen);
            if lifetime.phase(now) != Phase::Fresh {
                return Judgement::Open;
            }
        }
        if wants_state { Judgement::Wanted } else { Judgement::NotWanted }
    }
}

/// Returns true if two JSON values are the same: whatever the order of members, numbers as they are written.
fn is_same(one: JsonRef<'_>, other: JsonRef<'_>) -> bool {
    match (one.kind(), other.kind()) {
        (Kind::String | Kind::Escaped, Kind::String | Kind::Escaped) => {
            match (one.text(), other.text()) {
                (None, None) => one.raw() == other.raw(),
                (one, other) => one == other,
            }
        }
        (Kind::Array, Kind::Array) => {
            one.items().count() == other.items().count()
                && one.items().zip(other.items()).all(|(one, other)| is_same(one, other))
        }
        (Kind::Object, Kind::Object) => {
            let is_in_other = |(key, value): (Name<'_>, JsonRef<'_>)| {
                let key = key.text();
                match key.as_deref().map(|key| (one.member(key), other.member(key))) {
                    Some((Member::One(_), Member::One(other))) => is_same(value, other),
                    _ => false,
                }
            };
            one.members().count() == other.members().count() && one.members().all(is_in_other)
        }
        (one_kind, other_kind) => one_kind == other_kind && one.raw() == other.raw(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_same_by_what_they_say_and_numbers_as_they_are_written() {
        let same = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| Json::parse(text).expect("JSON"));
            let there = is_same(one.root(), other.root());
            assert_eq!(there, is_same(other.root(), one.root()));
            there
        };
        assert!(same(
            r#"{"a": [1, {"b": null}], "c": "\u0041"}"#,
            r#"{"c":"A","a":[1,{"b":null}]}"#
        ));
        assert!(same("10000000000000000000001", "10000000000000000000001"));
        for (one, other) in [
            ("10000000000000000000001", "10000000000000000000002"),
            ("1", "1.0"),
            ("1", r#""1""#),
            ("true", "false"),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#),
            (r#"{"a":1,"a":1}"#, r#"{"a":1,"b":1}"#),
            (r#""\ud800""#, r#""\udbff""#),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_moment_that_is_none_is_refused_with_the_form_it_has() {
        for text in ["yesterday", "2026-11-26T16:00", "9999-12-31T23:59:59Z"] {
            let refused = JobFilter::read(serde_json::json!({"createdBefore": text}));
            let Err(Error::Argument { problem, .. }) = refused else {
                panic!("{text}: {refused:?}")
            };
            assert_eq!(problem, NO_MOMENT);
        }
    }

    #[test]
    fn a_filter_of_nothing_is_none_and_what_cannot_be_meant_is_refused() {
        let checked = |text: &str| {
            let given = serde_json::from_str(text).expect("JSON");
            JobFilter::read(given).and_then(Filter::checked)
        };
        assert!(checked("{}").expect("a filter").is_none());
        assert!(checked(r#"{"namePrefix": "walk"}"#).expect("a filter").is_some());
        for text in [
            r#"{"state": []}"#,
            r#"{"state": ["finished"]}"#,
            r#"{"createdAfter": "yesterday"}"#,
            r#"{"metadata": {"key": "shot", "equals": "x"}}"#,
        ] {
            assert!(matches!(checked(text), Err(Error::Argument { .. })), "{text}");
        }
    }
}
