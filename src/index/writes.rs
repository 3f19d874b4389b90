//! News of single jobs, for the index to forget what it knew of them before.

use std::sync::atomic::Ordering;

use redb::Database;

use super::file::{Index, Inner, Trouble, lock};
use super::knowledge::Telling;
use super::tables::{self, Compared};

/// The most jobs that wait for the file to forget what it has of them.
const MOST_WAITING: usize = 1_000;

impl Index {
    /// A job is about to be written: nothing is known of it any more, also if the process ends before it is written.
    pub async fn writing(&self, id: &str, now: i64) {
        lock(self.0.tellings.lock()).note(id, Telling::WRITING, now);
        self.0.changes.note();
        // Where there is no file nothing is known.
        let _ = self.run(|inner, database| inner.take_in_news(database, true)).await;
    }

    /// A job was written, here or at another replica, or told there, before this moment (in microseconds since 1970).
    pub fn written(&self, id: &str, now: i64) {
        self.note(id, Telling::before(now), now);
    }

    /// A job was told to somebody at this moment, as it began to be asked for at another one (in microseconds since
    /// 1970); what was told is in the index, or `None`.
    pub fn told(&self, id: &str, asked_at: Option<i64>, now: i64) {
        if lock(self.0.tellings.lock()).is_writing(id) {
            return;
        }
        let telling = asked_at.map_or(Telling::before(now), |at| Telling::of(now, at));
        self.note(id, telling, now);
    }

    /// Anything may have been written before this moment (in microseconds since 1970): what was seen until then is not
    /// given any more.
    pub fn distrust(&self, now: i64) {
        let latest = lock(self.0.tellings.lock()).latest();
        self.0.trusted_after.fetch_max(now.max(latest), Ordering::SeqCst);
    }

    /// Returns true if what was seen at a moment (in microseconds since 1970) may be given.
    #[must_use]
    pub fn trusts(&self, seen: i64) -> bool {
        seen > self.0.trusted_after.load(Ordering::SeqCst)
    }

    fn note(&self, id: &str, telling: Telling, now: i64) {
        let is_open = self.is_open();
        let waiting = {
            let mut tellings = lock(self.0.tellings.lock());
            let waiting = tellings.note(id, telling, now);
            if waiting >= MOST_WAITING && !is_open {
                tellings.lose_track();
            }
            waiting
        };
        self.0.changes.note();
        if is_open && waiting.is_multiple_of(MOST_WAITING) {
            let index = self.clone();
            tokio::spawn(async move {
                let _ = index.run(|inner, database| inner.take_in_news(database, false)).await;
            });
        }
    }
}

impl Inner {
    /// Forgets what is older than what was told or written, and takes in the jobs that were seen outside of pages. With
    /// `durably` it is on disk afterwards.
    pub(super) fn take_in_news(&self, database: &Database, durably: bool) -> Result<(), Trouble> {
        let has_seen = self.state().has_seen();
        if !has_seen && !lock(self.tellings.lock()).has_waiting() {
            return Ok(());
        }
        let _writing = self.changes.begin();
        let told = lock(self.tellings.lock()).take_waiting();
        let outdated = tables::outdated(database, told)?;
        if !outdated.is_empty() {
            tables::blank(database, &outdated, durably)?;
        }
        let seen = self.state().take_seen();
        let Compared { news, .. } = tables::compare(database, self.judged(seen))?;
        if !news.is_empty() {
            tables::write(database, &news, &[], None, false)?;
        }
        Ok(())
    }
}
