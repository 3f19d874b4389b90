//! Sightings of a job that somebody waits for: the times at which it is worth asking again follow from them.

use tokio::time::Instant;

use crate::model::Progress;

/// The sightings of a job: the last, and how fast it moves.
#[derive(Debug, Clone)]
pub struct Sightings {
    /// The newest of what was told.
    pub progress: Progress,
    /// The moment of the last one; before the first, when somebody began to wait.
    pub at: Instant,
    /// The number of them since anything differed.
    pub unmoved: u32,
    /// The part that it gets done in a second, in percent, if that is known.
    pub slope: Option<f64>,
    /// The moment at which the percentage was another one than before.
    moved: Option<Instant>,
}

impl Sightings {
    /// Nothing was seen yet.
    #[must_use]
    pub fn begin(now: Instant) -> Self {
        let progress = Progress::default();
        Self { progress, at: now, unmoved: 0, slope: None, moved: None }
    }

    /// Notes a sighting. Returns true if it differs from the one before.
    pub fn note(&mut self, seen: &Progress, now: Instant) -> bool {
        let is_first = self.progress == Progress::default();
        let differs = seen.differs_from(&self.progress);
        if let Some(percent) = seen.percent
            && self.progress.percent != Some(percent)
        {
            let before = self.moved.zip(self.progress.percent);
            self.slope = before.and_then(|(then, before)| {
                let seconds = now.duration_since(then).as_secs_f64();
                (percent > before && seconds > 0.0).then(|| f64::from(percent - before) / seconds)
            });
            self.moved = Some(now);
        }
        self.unmoved = if differs || is_first { 0 } else { self.unmoved.saturating_add(1) };
        self.at = now;
        self.progress.update(seen);
        differs
    }
}
