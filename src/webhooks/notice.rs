//! The content of an event, as far as it is believed: that something may have changed.
//!
//! Move has events of two shapes (svix.com/event-types/eu/org_2U19l4cDWik8VmkVGzwQ0H77T1o),
//!
//! ```text
//! {"type": "ugc.job.state.completed", "detail": {"event_attributes": {"job": {"id": "4317…", "metadata": {…}}, …}}}
//! {"type": "job.state.completed", "detail": {"api_name": "…", "client_id": "…", "job_id": "4317…"}}
//! ```
//!
//! and of both the gateway keeps the id, the state, and who the metadata says may be asked first. The rest (metadata,
//! names) is not stored, and nothing of it reaches a tenant.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::verify::EventId;
use crate::config::account_name;
use crate::model::{AccountId, EntityId, EntityKind, Progress, TenantId};

/// The members that may hold the name of an event's type.
const TYPE_MEMBERS: [&str; 5] = ["type", "detail-type", "eventType", "event_type", "event_name"];

/// The beginning of a job's id, which events leave out.
const JOB: &str = "job-";

/// The news of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// It began.
    Started,
    /// It ended well.
    Completed,
    /// It ended without a result.
    Failed,
    /// A type that this version does not know, about something that it does.
    Other,
}

impl News {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Started, Self::Completed, Self::Failed, Self::Other];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Other => "other",
        }
    }

    /// Returns true if Move's API knows what the event knows.
    #[must_use]
    pub fn is_known_by(self, progress: &Progress) -> bool {
        match self {
            Self::Started => progress.state.as_deref() != Some("NOT_STARTED"),
            Self::Completed | Self::Failed => progress.is_over(),
            Self::Other => true,
        }
    }

    /// Reads the name of a type.
    fn of(name: &str) -> Self {
        match name.rsplit_once("job.state.").map(|(_, state)| state) {
            Some("started") => Self::Started,
            Some("completed") => Self::Completed,
            Some("failed") => Self::Failed,
            _ => Self::Other,
        }
    }
}

/// An event that is still to be looked into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The Move account whose secret signed it, by its name.
    account: String,
    /// The event's id.
    pub event: String,
    /// The news of it.
    pub news: News,
    /// The id of what it happened to, without the beginning that tells its kind.
    subject: String,
    /// The tenant that the event's metadata names: a guess.
    guess: Option<String>,
    /// The moment at which it came.
    pub received: Timestamp,
}

/// Why an event is about nothing that can be looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    /// It is no JSON object.
    NotJson,
    /// It names no job.
    NoJob,
}

impl Nothing {
    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NoJob => "no_job",
        }
    }
}

impl Notice {
    /// Reads an event that an account's sender signed.
    ///
    /// # Errors
    /// When it is about nothing that the gateway knows how to ask for.
    pub fn read(
        account: &AccountId,
        event: &EventId,
        body: &[u8],
        received: Timestamp,
    ) -> Result<Self, Nothing> {
        let body: Value = serde_json::from_slice(body).map_err(|_| Nothing::NotJson)?;
        let detail = &body["detail"];
        if !body.is_object() {
            return Err(Nothing::NotJson);
        }
        let names = [&body, detail].into_iter().flat_map(|at| TYPE_MEMBERS.map(|name| &at[name]));
        let news = names.filter_map(Value::as_str).map(News::of).find(|news| *news != News::Other);
        let job = &detail["event_attributes"]["job"];
        let subject = job["id"].as_str().or(detail["job_id"].as_str()).ok_or(Nothing::NoJob)?;
        let subject = subject.strip_prefix(JOB).unwrap_or(subject);
        let is_id = !subject.is_empty() && EntityId::job(&format!("{JOB}{subject}")).is_ok();
        if !is_id {
            return Err(Nothing::NoJob);
        }
        Ok(Self {
            account: account.to_string(),
            event: event.as_str().to_owned(),
            news: news.unwrap_or(News::Other),
            subject: subject.to_owned(),
            guess: owner(&job["metadata"]),
            received,
        })
    }

    /// Reads a notice that was stored.
    #[must_use]
    pub fn from_stored(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// The text to store.
    #[must_use]
    #[expect(clippy::expect_used, reason = "texts and a time are always JSON")]
    pub fn to_stored(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it is JSON")
    }

    /// The account that it came from; `None` if no account can have that name any more.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        account_name(&self.account).ok()
    }

    /// The name of that account.
    #[must_use]
    pub fn account_name(&self) -> &str {
        &self.account
    }

    /// The name of what it is about, among those of all accounts.
    #[must_use]
    pub fn subject_name(&self) -> String {
        format!("{} {}", self.account, self.subject)
    }

    /// The tenant that may be asked first.
    #[must_use]
    pub fn guess(&self) -> Option<TenantId> {
        TenantId::parse(self.guess.as_deref()?).ok()
    }

    /// The job that it is about.
    #[must_use]
    pub fn job(&self) -> Option<EntityId> {
        EntityId::job(&format!("{JOB}{}", self.subject)).ok()
    }

    /// The ids of a volume that it may be about: to Move the calibration of one is a job.
    #[must_use]
    pub fn volumes(&self) -> Vec<EntityId> {
        let ids =
            [format!("{}-{}", EntityKind::Volume, self.subject), format!("{JOB}{}", self.subject)];
        ids.iter().filter_map(|id| EntityId::parse(EntityKind::Volume, id).ok()).collect()
    }
}

/// The owner that a record names. Move shows metadata here as an object, elsewhere as text.
fn owner(metadata: &Value) -> Option<String> {
    let text = metadata.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let owner = text.as_ref().unwrap_or(metadata)["_gateway"]["owner"].as_str()?;
    TenantId::parse(owner).is_ok().then(|| owner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(body: &[u8]) -> Result<Notice, Nothing> {
        let event = EventId::parse("msg_1").expect("an id");
        Notice::read(&AccountId::Shared, &event, body, Timestamp::UNIX_EPOCH)
    }

    fn of(body: &Value) -> Result<Notice, Nothing> {
        read(body.to_string().as_bytes())
    }

    #[test]
    fn both_shapes_name_the_job_and_the_news_and_one_of_them_a_guess() {
        let metadata = json!({"acme": {"secret": 1}, "_gateway": {"v": 1, "owner": "acme"}});
        let new = json!({"type": "ugc.job.state.completed", "detail": {"event_attributes":
            {"job": {"id": "4317", "metadata": metadata}, "take": {"id": "t"}}}});
        let notice = of(&new).expect("an event");
        assert_eq!((notice.news, notice.job().unwrap().as_str()), (News::Completed, "job-4317"));
        assert_eq!(notice.guess().unwrap().as_str(), "acme");
        assert!(!String::from_utf8(notice.to_stored()).unwrap().contains("secret"));
        assert_eq!(Notice::from_stored(&notice.to_stored()), Some(notice));
        let old = json!({"detail-type": "job.state.started",
            "detail": {"api_name": "a", "client_id": "c", "job_id": "job-4317"}});
        let notice = of(&old).expect("an event");
        assert_eq!((notice.news, notice.guess()), (News::Started, None));
        assert_eq!(notice.job().unwrap().as_str(), "job-4317");
        let volumes: Vec<_> = notice.volumes().iter().map(ToString::to_string).collect();
        assert_eq!(volumes, ["volume-4317", "job-4317"]);
    }

    #[test]
    fn a_type_that_is_not_known_says_no_more_than_that_something_changed() {
        for name in ["ugc.job.state.paused", "job.created", "", "completed"] {
            let notice = of(&json!({"type": name, "detail": {"job_id": "1"}})).expect("an event");
            assert_eq!(notice.news, News::Other, "{name}");
            assert!(notice.news.is_known_by(&progress("NOT_STARTED")));
        }
    }

    fn progress(state: &str) -> Progress {
        Progress { state: Some(state.into()), percent: None }
    }

    #[test]
    fn an_answer_of_moves_may_be_behind_the_event() {
        let knows = |news: News| {
            ["NOT_STARTED", "STARTED", "RUNNING", "FINISHED", "FAILED"]
                .map(|state| news.is_known_by(&progress(state)))
        };
        assert_eq!(knows(News::Started), [false, true, true, true, true]);
        assert_eq!(knows(News::Completed), [false, false, false, true, true]);
        assert_eq!(knows(News::Failed), [false, false, false, true, true]);
    }

    #[test]
    fn what_names_no_job_is_nothing() {
        for body in ["", "[]", "7", "null", "{", "\u{0}"] {
            assert_eq!(read(body.as_bytes()), Err(Nothing::NotJson), "{body:?}");
        }
        for body in [
            json!({}),
            json!({"type": "ugc.job.state.completed"}),
            json!({"detail": {"job_id": 7}}),
            json!({"detail": {"job_id": ""}, "job_id": "1"}),
            json!({"detail": {"job_id": "../x"}}),
            json!({"detail": {"job_id": "x".repeat(200)}}),
        ] {
            assert_eq!(of(&body), Err(Nothing::NoJob), "{body}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_body_makes_a_reader_panic(body: Vec<u8>, id in "\\PC*", owner in "\\PC*") {
            let _ = (read(&body), Notice::from_stored(&body));
            let metadata = json!({"_gateway": {"owner": owner}}).to_string();
            let job = json!({"id": id, "metadata": metadata});
            let _ = of(&json!({"detail": {"event_attributes": {"job": job}}}));
        }
    }
}
