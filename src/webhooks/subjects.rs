//! One question at a time about each job. Of two that overlap nobody knows which saw the newer job, so neither would be
//! kept, and Move sends two events of each change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::time::Instant;

use super::notice::{News, Notice};
use crate::model::{Progress, RequestContext, Trail};

/// The least number of subjects at which those that nobody looks into are forgotten.
const SWEEP_AT: usize = 1 << 10;

/// Move's last answer about a subject.
#[derive(Debug)]
pub struct LastAnswer {
    /// The moment at which it was asked for.
    pub asked: Instant,
    /// The progress that it showed.
    pub progress: Progress,
    /// As whom it was asked for, and the trail of that.
    pub by: (RequestContext, Trail),
}

impl LastAnswer {
    /// Returns true if it answers an event too that was there by a moment.
    pub fn answers(&self, news: News, there_by: Instant) -> bool {
        self.asked >= there_by && news.is_known_by(&self.progress)
    }
}

/// A subject: whoever holds its lock asks about it.
pub type Subject = tokio::sync::Mutex<Option<LastAnswer>>;

/// The subjects of the events that are looked into at the moment.
#[derive(Debug, Default)]
pub struct Subjects(Mutex<HashMap<String, Weak<Subject>>>);

impl Subjects {
    /// The subject of an event. It is forgotten with the last who holds it.
    pub fn of(&self, notice: &Notice) -> Arc<Subject> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = notice.subject_name();
        if let Some(subject) = known.get(&name).and_then(Weak::upgrade) {
            return subject;
        }
        if known.len() >= SWEEP_AT {
            known.retain(|_, subject| subject.strong_count() > 0);
        }
        let subject = Arc::default();
        known.insert(name, Arc::downgrade(&subject));
        subject
    }
}
