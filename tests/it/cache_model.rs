//! The cache against a model of time: whatever happens in whatever order, no answer is older than
//! policy allows, no write is unseen, and no URL in an answer has expired.

use std::time::Duration;

use jiff::Timestamp;
use jobs_gateway::sandbox::{Fault, SandboxOptions, State};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Setup, World};

/// The policy: seconds.
const UNFINISHED: i64 = 2;
const FINISHED: i64 = 600;
const WHILE_REVALIDATED: i64 = 5;
const IF_ERROR: i64 = 900;
const URL_LIFE: u64 = 300;

/// A step that may happen.
#[derive(Debug, Clone)]
enum Step {
    /// One of several selections is read, with the URL of the first output or without.
    Read { url: bool, name: bool },
    /// The tenant writes.
    Write,
    /// A write whose answer is lost.
    LostWrite,
    /// Move changes the job's state.
    State(State),
    /// Time passes, in milliseconds.
    Pass(u64),
    /// Move begins to fail, or recovers.
    Outage(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let states = [State::Running, State::Finished, State::Failed];
    prop_oneof![
        6 => (any::<bool>(), any::<bool>()).prop_map(|(url, name)| Step::Read { url, name }),
        1 => Just(Step::Write),
        1 => Just(Step::LostWrite),
        2 => proptest::sample::select(states.to_vec()).prop_map(Step::State),
        3 => prop_oneof![1_u64..3_000, 3_000_u64..10_000, 10_000_u64..700_000]
            .prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Outage),
    ]
}

/// The truth upstream, and since when it is so.
struct Truth {
    world: World,
    id: String,
    writes: u64,
    states: Vec<(Timestamp, State)>,
    /// Since when Move answers, if it does.
    outage: bool,
}

impl Truth {
    async fn new() -> Self {
        let policy = format!(
            "operations: [\"*\"]\ncache: {{ get_job: {{ unfinished: {UNFINISHED}s, finished: \
             {FINISHED}s, not_found: 1s, stale_while_revalidate: {WHILE_REVALIDATED}s, \
             stale_if_error: {IF_ERROR}s }} }}\n"
        );
        let sandbox = SandboxOptions {
            url_lifetime: Duration::from_secs(URL_LIFE),
            ..SandboxOptions::default()
        };
        let world = Setup::new().sandbox(sandbox).tenant("acme", policy).start().await;
        let id = world.create("acme", "{\"n\":0}").await;
        world.sandbox.set_state(&id, State::Running);
        let states = vec![(world.sandbox.now(), State::Running)];
        Self { world, id, writes: 0, states, outage: false }
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Read { url, name } => self.read(*url, *name).await,
            Step::Write | Step::LostWrite => self.write(matches!(step, Step::LostWrite)).await,
            Step::State(state) => {
                self.world.sandbox.set_state(&self.id, *state);
                self.states.push((self.world.sandbox.now(), *state));
            }
            Step::Pass(milliseconds) => {
                self.world.pass(Duration::from_millis(*milliseconds)).await;
            }
            Step::Outage(begins) => {
                self.outage = *begins;
                let fault = begins.then(|| Fault::html(503));
                self.world.sandbox.fail_always(Some("getJob"), fault);
            }
        }
    }

    async fn write(&mut self, lost: bool) {
        // An update reads the job before it writes.
        if self.outage {
            return;
        }
        if lost {
            self.world.sandbox.fail_next(Some("updateJob"), Fault::LoseAnswer);
        }
        self.writes += 1;
        let update =
            "mutation($id: String!, $m: AWSJSON) { updateJob(id: $id, metadata: $m) { id } }";
        let metadata = format!("{{\"n\":{}}}", self.writes);
        let reply = self.world.ask("acme", update, json!({"id": self.id, "m": metadata})).await;
        assert_eq!(reply.code(), if lost { "OUTCOME_UNKNOWN" } else { "" });
    }

    async fn read(&self, url: bool, name: bool) {
        let mut selection = "state metadata".to_owned();
        if url {
            selection += " outputs { file { presignedUrl } }";
        }
        if name {
            selection += " name";
        }
        let reply = self.world.get("acme", &self.id, &selection).await;
        let now = self.world.sandbox.now();
        let json = reply.json();
        let job = &json["data"]["getJob"];
        if job.is_null() {
            assert!(self.outage, "an error while Move answers: {reply:?}");
            return;
        }
        assert_eq!(
            job["metadata"],
            json!(format!("{{\"n\":{}}}", self.writes)),
            "every write is seen"
        );
        self.check_state(&job["state"], now);
        // The files of an unfinished job have no URL yet, which Move reports as an error of theirs.
        for output in job["outputs"].as_array().into_iter().flatten() {
            if let Some(url) = output["file"]["presignedUrl"].as_str() {
                assert!(expiry(url) >= now, "expired by {now}: {url}");
            }
        }
    }

    /// The state was the true one not longer ago than policy allows.
    fn check_state(&self, seen: &Value, now: Timestamp) {
        let since_then = self.states.iter().zip(self.states.iter().skip(1));
        let mut ages = since_then
            .map(|((_, state), (until, _))| (*state, now.duration_since(*until).as_secs()));
        let last = self.states.last().unwrap().1;
        if json!(last.name()) == *seen {
            return;
        }
        let extra = if self.outage { IF_ERROR } else { WHILE_REVALIDATED };
        let allowed = |state: State| match state {
            State::Finished | State::Failed => FINISHED + extra,
            _ => UNFINISHED + extra,
        };
        assert!(
            ages.any(|(state, age)| json!(state.name()) == *seen && age <= allowed(state)),
            "{seen} at {now} of {:?}",
            self.states
        );
    }
}

/// The sandbox signs by Signature Version 4.
fn expiry(url: &str) -> Timestamp {
    let url = url::Url::parse(url).unwrap();
    let value = |name: &str| {
        let mut pairs = url.query_pairs();
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap()
    };
    let signed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", value("X-Amz-Date")).unwrap();
    let signed = signed.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    signed + jiff::SignedDuration::from_secs(value("X-Amz-Expires").parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_interleaving_yields_an_answer_that_is_too_old_or_a_url_that_has_expired(
        steps in vec(step(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut truth = Truth::new().await;
            for step in &steps {
                truth.take(step).await;
            }
        });
    }
}
