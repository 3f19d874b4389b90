//! The pace of the questions to Move about a job that somebody waits for.

use std::time::Duration;

use crate::cache::Sightings;

/// The shortest time between two questions about one job.
const SHORTEST: Duration = Duration::from_secs(2);

/// The longest.
const LONGEST: Duration = Duration::from_secs(15);

/// The time after the first sighting of a job that has not begun; each sighting without news makes it half as long
/// again.
const QUEUED: Duration = Duration::from_secs(5);

/// The part of the time that a running job still needs, by what is known of its speed, after which it is asked for
/// again.
const PART_OF_THE_REST: f64 = 8.0;

/// The time to the first question about a job of whose beginning and end Move tells by itself: an event may be lost.
const FIRST_SWEEP: Duration = Duration::from_mins(1);

/// The time to each further one.
const SWEEP: Duration = Duration::from_mins(5);

/// Returns the time from the last sighting to the next question about a job that Move tells of; `None` for one that is
/// over.
pub fn sweep(sightings: &Sightings) -> Option<Duration> {
    let is_first = sightings.unmoved == 0;
    (!sightings.progress.is_over()).then_some(if is_first { FIRST_SWEEP } else { SWEEP })
}

/// Returns the time from the last sighting to the next question; `None` for a job that is over.
pub fn pace(sightings: &Sightings) -> Option<Duration> {
    let progress = &sightings.progress;
    if progress.is_over() {
        return None;
    }
    let pace = match (progress.state.as_deref(), progress.percent, sightings.slope) {
        (Some("RUNNING"), Some(percent), Some(slope)) => {
            let rest = f64::from(100 - percent.clamp(0, 100)) / slope;
            Duration::try_from_secs_f64(rest / PART_OF_THE_REST).unwrap_or(LONGEST)
        }
        (Some("RUNNING") | None, ..) => SHORTEST.mul_f64(patience(sightings)),
        _ => QUEUED.mul_f64(patience(sightings)),
    };
    Some(pace.clamp(SHORTEST, LONGEST))
}

/// The factor by which each sighting without news makes the next pause longer.
fn patience(sightings: &Sightings) -> f64 {
    1.5_f64.powi(sightings.unmoved.min(10).cast_signed())
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;
    use crate::model::Progress;

    fn seen(state: &str, percent: i32) -> Progress {
        Progress { state: Some(state.into()), percent: Some(percent) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_asked_for_as_often_as_something_can_have_happened() {
        let mut job = Sightings::begin(Instant::now());
        let after = async |job: &mut Sightings, seconds, progress: Progress| {
            advance(Duration::from_secs(seconds)).await;
            job.note(&progress, Instant::now());
            pace(job).map(|pace| pace.as_secs_f64())
        };
        let queued = [
            after(&mut job, 0, seen("NOT_STARTED", 0)).await,
            after(&mut job, 5, seen("NOT_STARTED", 0)).await,
            after(&mut job, 7, seen("NOT_STARTED", 0)).await,
            after(&mut job, 11, seen("NOT_STARTED", 0)).await,
        ];
        assert_eq!(queued, [Some(5.0), Some(7.5), Some(11.25), Some(15.0)]);
        // 5 percent in 10 seconds: the other 95 take 190.
        assert_eq!(after(&mut job, 10, seen("RUNNING", 5)).await, Some(15.0));
        assert_eq!(after(&mut job, 10, seen("RUNNING", 15)).await, Some(85.0 / 8.0));
        assert_eq!(after(&mut job, 8, seen("RUNNING", 95)).await, Some(2.0));
        assert_eq!(after(&mut job, 2, seen("FINISHED", 100)).await, None);
        assert_eq!(sweep(&job), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_does_not_move_or_that_move_tells_of_is_asked_for_less_often() {
        let mut job = Sightings::begin(Instant::now());
        let mut after = |progress: Progress| {
            job.note(&progress, Instant::now());
            (pace(&job).map(|pace| pace.as_secs_f64()), sweep(&job))
        };
        let running = || seen("RUNNING", 7);
        assert_eq!(after(running()), (Some(2.0), Some(FIRST_SWEEP)));
        assert_eq!(after(running()), (Some(3.0), Some(SWEEP)));
        for _ in 0..5 {
            after(running());
        }
        assert_eq!(after(running()), (Some(15.0), Some(SWEEP)));
    }
}
