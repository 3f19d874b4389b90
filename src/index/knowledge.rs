//! The knowledge of jobs in an index: what Move said of them, as long as nothing newer was told and nothing written.

use std::collections::HashMap;

use super::KnownJob;

/// The time after which no page is under way any more that began before, in microseconds.
const LONGEST_CALL: i64 = 600_000_000;

/// The last time that a job was told to somebody, or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telling {
    /// The moment, in microseconds since 1970: what began to be asked for until then may be older.
    at: i64,
    /// The moment at which began to be asked for what was told, if the index has that.
    by: Option<i64>,
}

impl Telling {
    /// A job is being written.
    pub const WRITING: Self = Self { at: i64::MAX, by: None };

    /// A job was written before a moment, or told by somebody else.
    pub const fn before(at: i64) -> Self {
        Self { at, by: None }
    }

    /// A job was told at a moment as it was asked for at another one.
    pub const fn of(at: i64, asked_at: i64) -> Self {
        Self { at, by: Some(asked_at) }
    }

    /// Returns true if what was seen at a moment may be told after it.
    pub fn allows(self, seen: i64) -> bool {
        seen > self.at || self.by == Some(seen)
    }
}

/// The jobs that were told or written a moment ago.
#[derive(Debug, Default)]
pub struct Tellings {
    young: HashMap<String, Telling>,
    old: HashMap<String, Telling>,
    /// The moment at which the young ones became old last, in microseconds since 1970.
    turned: i64,
    /// Those of which the file may know something older.
    waiting: HashMap<String, Telling>,
    has_lost_track: bool,
    /// The latest moment at which anything was seen, in microseconds since 1970. A clock may be set back.
    latest: i64,
}

impl Tellings {
    /// Notes a telling, now. Returns the number of jobs of which the file may know something older.
    pub fn note(&mut self, id: &str, telling: Telling, now: i64) -> usize {
        if now.saturating_sub(self.turned) > LONGEST_CALL {
            self.old = std::mem::take(&mut self.young);
            self.turned = now;
        }
        let telling = Telling { at: telling.at.max(self.latest), ..telling };
        self.young.insert(id.to_owned(), telling);
        self.waiting.insert(id.to_owned(), telling);
        self.waiting.len()
    }

    /// Returns true if a job is being written.
    pub fn is_writing(&self, id: &str) -> bool {
        self.of(id) == Some(Telling::WRITING)
    }

    /// Takes those of which the file may know something older.
    pub fn take_waiting(&mut self) -> Vec<(String, Telling)> {
        std::mem::take(&mut self.waiting).into_iter().collect()
    }

    /// Returns true if there are any.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Forgets of which jobs the file may know something older: it may of all.
    pub fn lose_track(&mut self) {
        self.waiting = HashMap::new();
        self.has_lost_track = true;
    }

    /// Returns true if that was so, and begins anew.
    pub fn takes_up_again(&mut self) -> bool {
        std::mem::take(&mut self.has_lost_track)
    }

    /// Drops what is known of a job if it may be older than what was told or written.
    pub fn judge(&mut self, id: &str, known: Option<KnownJob>) -> Option<KnownJob> {
        self.latest = known.as_ref().map_or(self.latest, |known| known.seen.max(self.latest));
        known.filter(|known| self.of(id).is_none_or(|telling| telling.allows(known.seen)))
    }

    /// Returns the latest moment at which anything was seen, in microseconds since 1970.
    pub const fn latest(&self) -> i64 {
        self.latest
    }

    fn of(&self, id: &str) -> Option<Telling> {
        self.young.get(id).or_else(|| self.old.get(id)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_before_a_telling_is_dropped_but_the_one_that_was_told() {
        let mut tellings = Tellings::default();
        let good = |tellings: &Tellings, seen| {
            tellings.of("job").is_none_or(|telling| telling.allows(seen))
        };
        tellings.note("job", Telling::of(30, 10), 30);
        assert_eq!([10, 20, 30, 31].map(|seen| good(&tellings, seen)), [true, false, false, true]);
        tellings.note("job", Telling::WRITING, 40);
        assert!(tellings.is_writing("job") && !good(&tellings, 1_000));
        tellings.note("job", Telling::before(50), 50);
        assert_eq!([10, 50, 51].map(|seen| good(&tellings, seen)), [false, false, true]);
        // As long as a page may be under way that began before, it stays so.
        tellings.note("other", Telling::before(LONGEST_CALL), LONGEST_CALL);
        assert!(!good(&tellings, 50));
        // A clock that was set back.
        let known = KnownJob { seen: 2 * LONGEST_CALL, text: "{}".into() };
        assert!(tellings.judge("job", Some(known.clone())).is_some());
        tellings.note("job", Telling::before(60), 60);
        assert_eq!(tellings.judge("job", Some(known)), None);
    }
}
