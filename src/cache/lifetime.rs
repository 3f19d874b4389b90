//! The time for which an answer may be given again.

use std::time::Duration;

use jiff::Timestamp;

use super::presigned;
use crate::model::CachePolicy;

/// The time before a presigned URL's expiry at which the gateway stops handing it out: the caller still has
/// to use it.
const URL_MARGIN: Duration = Duration::from_mins(1);

/// The time for which a URL that does not say when it expires is handed out.
const URL_UNREADABLE: Duration = Duration::from_mins(1);

/// The state of an entity, as far as its lifetime depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It will change by itself.
    Unfinished,
    /// Only a write changes it.
    Finished,
    /// It is not there.
    NotFound,
}

/// The moments at which an answer grows old. Never moved by a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// The moment at which upstream began to be asked: nothing in the answer is older.
    pub fetched: Timestamp,
    /// Until when it is fresh.
    pub fresh_until: Timestamp,
    revalidate_until: Timestamp,
    error_until: Timestamp,
}

/// The age of an answer at some moment, as a phase of its lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It may be given.
    Fresh,
    /// It may be given while upstream is asked.
    Revalidate,
    /// It may be given if upstream fails.
    IfError,
    /// It may not be given.
    Over,
}

impl Lifetime {
    /// The least of: what policy says for the state, three quarters of what is left of the
    /// shortest presigned URL, and that URL's expiry less 60 s. A stale answer's URLs still work.
    #[must_use]
    pub fn of<'a>(
        policy: &CachePolicy,
        state: State,
        urls: impl Iterator<Item = &'a str>,
        fetched: Timestamp,
    ) -> Self {
        let by_policy = match state {
            State::Unfinished => policy.unfinished,
            State::Finished => policy.finished,
            State::NotFound => policy.not_found,
        };
        let (mut fresh_until, mut usable_until) = (after(fetched, by_policy), Timestamp::MAX);
        for url in urls {
            let (fresh, usable) = match presigned::expiry(url) {
                Some(expiry) => {
                    let left =
                        Duration::try_from(expiry.duration_since(fetched)).unwrap_or_default();
                    (after(fetched, left / 4 * 3), before(expiry, URL_MARGIN))
                }
                None => (after(fetched, URL_UNREADABLE), after(fetched, URL_UNREADABLE)),
            };
            fresh_until = fresh_until.min(fresh);
            usable_until = usable_until.min(usable);
        }
        let fresh_until = fresh_until.min(usable_until);
        let stale_until = |extra| match state {
            // That something is missing may end at any moment, and nobody notices here.
            State::NotFound => fresh_until,
            State::Unfinished | State::Finished => after(fresh_until, extra).min(usable_until),
        };
        Self {
            fetched,
            fresh_until,
            revalidate_until: stale_until(policy.stale_while_revalidate),
            error_until: stale_until(policy.stale_if_error),
        }
    }

    /// Returns the age of the answer by now.
    #[must_use]
    pub fn phase(&self, now: Timestamp) -> Phase {
        if now < self.fresh_until {
            Phase::Fresh
        } else if now < self.revalidate_until {
            Phase::Revalidate
        } else if now < self.error_until {
            Phase::IfError
        } else {
            Phase::Over
        }
    }

    /// Returns the moment at which it is of no use any more.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.revalidate_until.max(self.error_until)
    }

    /// Returns true if upstream's failure may be covered with it now.
    #[must_use]
    pub fn covers_error(&self, now: Timestamp) -> bool {
        now < self.error_until
    }

    /// Returns the time since it was fetched.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.fetched)).unwrap_or_default()
    }
}

fn after(time: Timestamp, extra: Duration) -> Timestamp {
    time.saturating_add(extra).unwrap_or(Timestamp::MAX)
}

fn before(time: Timestamp, margin: Duration) -> Timestamp {
    time.saturating_sub(margin).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: CachePolicy = CachePolicy {
        unfinished: Duration::from_secs(2),
        finished: Duration::from_mins(10),
        not_found: Duration::from_secs(1),
        stale_while_revalidate: Duration::from_secs(5),
        stale_if_error: Duration::from_hours(1),
        no_cache: false,
    };

    fn url(expiry: i64) -> String {
        format!("https://b/k?Expires={expiry}")
    }

    fn seconds(state: State, urls: &[String]) -> (i64, i64) {
        let urls = urls.iter().map(String::as_str);
        let lifetime = Lifetime::of(&POLICY, state, urls, Timestamp::UNIX_EPOCH);
        (lifetime.fresh_until.as_second(), lifetime.end().as_second())
    }

    #[test]
    fn the_state_decides_where_no_url_does() {
        assert_eq!(seconds(State::Unfinished, &[]), (2, 3602));
        assert_eq!(seconds(State::Finished, &[]), (600, 4200));
        assert_eq!(seconds(State::NotFound, &[]), (1, 1), "never past its time");
    }

    #[test]
    fn a_url_shortens_freshness_to_three_quarters_and_everything_to_a_minute_before_its_end() {
        assert_eq!(seconds(State::Finished, &[url(400)]), (300, 340));
        assert_eq!(seconds(State::Finished, &[url(400), url(200)]), (140, 140));
        assert_eq!(seconds(State::Finished, &["https://b/k".into()]), (60, 60));
        let (fresh, end) = seconds(State::Finished, &[url(30)]);
        assert!(fresh < 0 && end < 0, "a URL that ends within the margin is never given again");
    }

    #[test]
    fn an_answer_grows_old_in_order() {
        let lifetime =
            Lifetime::of(&POLICY, State::Unfinished, std::iter::empty(), Timestamp::UNIX_EPOCH);
        let at = |second| lifetime.phase(Timestamp::from_second(second).expect("a time"));
        assert_eq!(
            [at(0), at(1), at(2), at(6), at(7), at(3601), at(3602)],
            [
                Phase::Fresh,
                Phase::Fresh,
                Phase::Revalidate,
                Phase::Revalidate,
                Phase::IfError,
                Phase::IfError,
                Phase::Over
            ]
        );
    }
}
