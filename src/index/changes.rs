//! The changes of an index: one writer at a time, and a number by which readers know that nothing changed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The changes so far.
#[derive(Debug, Default)]
pub struct IndexChanges {
    writing: Mutex<()>,
    /// The number of times that rows may have changed, or may be about to.
    count: AtomicU64,
}

/// The right to change rows and progress, which one has at a time.
pub struct WriteTurn<'a> {
    changes: &'a IndexChanges,
    _only_one: MutexGuard<'a, ()>,
}

impl IndexChanges {
    /// The number of changes: what was found at one number is found again as long as it stands.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Notes that rows are other ones now, or will be as soon as somebody looks for them.
    pub fn note(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits for the right to change rows and progress.
    pub fn begin(&self) -> WriteTurn<'_> {
        let only_one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.note();
        WriteTurn { changes: self, _only_one: only_one }
    }
}

impl Drop for WriteTurn<'_> {
    fn drop(&mut self) {
        // What was read meanwhile may be as it was before.
        self.changes.note();
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use crate::index::{Filed, Index, JobPlace, JobRow, NewestPage, WalkStep};
    use crate::model::EntityKind;

    #[tokio::test]
    async fn whatever_changes_what_is_found_is_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let index = Index::new(EntityKind::Job, folder.path().join("index.redb"));
        let (account, now) = ([7; 32], Timestamp::UNIX_EPOCH);
        let mut before = index.changes();
        let mut counts = |what: &str| {
            let changes = index.changes();
            assert!(changes > before, "{what}");
            before = changes;
        };
        let row = |n: i64| JobRow {
            place: JobPlace { created: n, id: format!("job-{n}") },
            owner: Filed::Nobody,
            take: String::new(),
            known: None,
        };
        index.open().await.expect("opened");
        counts("open");
        index.claim(account, "client-1").await.expect("claimed");
        counts("claim");
        index
            .fill(account, vec![row(1)], WalkStep { from: None, next: None, read_to: None }, now)
            .await
            .expect("filled");
        counts("fill");
        let page = NewestPage { rows: vec![row(2)], oldest: None, number: None };
        index.extend(account, page, now).await.expect("joined");
        counts("extend");
        index.correct(account, vec!["job-1".to_owned()], Vec::new()).await.expect("corrected");
        counts("correct");
        index.see(account, row(3));
        counts("see");
        index.told("job-2", None, 1);
        counts("told");
        index.written("job-2", 2);
        counts("written");
        index.writing("job-2", 3).await;
        counts("writing");
        index.begin_again().await.expect("begun");
        counts("begin again");
    }
}
