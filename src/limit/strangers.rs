//! The places of those of whom nobody knows yet whether they may be here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// The time that everybody has to show who they are. Who comes while all are within it is refused: otherwise many who
/// come at once would drive each other out.
const GRACE: Duration = Duration::from_millis(500);

/// A number of places. Once all are taken, whoever has been there longest, and longer than an honest caller needs,
/// gives way to the next one: strangers that take their time keep nobody out.
#[derive(Debug)]
pub struct Strangers {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    last: u64,
    /// In the order in which they came.
    places: VecDeque<Place>,
}

#[derive(Debug)]
struct Place {
    id: u64,
    since: Instant,
    /// Dropped when its holder has to give way.
    _held: oneshot::Sender<()>,
}

/// A stranger's place, given back when it is dropped.
#[derive(Debug)]
pub struct Stranger {
    strangers: Arc<Strangers>,
    id: u64,
    given_way: oneshot::Receiver<()>,
}

impl Strangers {
    /// Places for `most` at once.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default() })
    }

    /// A place for somebody who has just come; `None` if all are taken by those who have just come too.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Option<Stranger> {
        let mut held = self.lock();
        if held.places.len() >= self.most {
            held.places.front().filter(|oldest| oldest.since.elapsed() >= GRACE)?;
            held.places.pop_front();
        }
        held.last += 1;
        let (id, (sender, given_way)) = (held.last, oneshot::channel());
        held.places.push_back(Place { id, since: Instant::now(), _held: sender });
        drop(held);
        Some(Stranger { strangers: Arc::clone(self), id, given_way })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while it is locked.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stranger {
    /// Resolves when it has to give way.
    pub async fn gives_way(&mut self) {
        // Nothing is ever sent.
        let _ = (&mut self.given_way).await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.lock().places.retain(|place| place.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_longest_gives_way_and_who_has_just_come_does_not() {
        let strangers = Strangers::new(2);
        let [mut first, second] = [strangers.enter(), strangers.enter()].map(Option::unwrap);
        assert!(strangers.enter().is_none(), "both have just come");
        tokio::time::advance(GRACE).await;
        let third = strangers.enter().expect("the first one's place");
        assert_eq!(first.gives_way().now_or_never(), Some(()));
        // What has left already is not left again.
        drop(first);
        assert_eq!(strangers.lock().places.len(), 2);
        drop(second);
        let fourth = strangers.enter().expect("a free place");
        assert!(strangers.enter().is_none());
        drop((third, fourth));
        assert!(strangers.lock().places.is_empty());
    }
}
