use super::*;

fn job(n: usize) -> EntityId {
    EntityId::job(&format!("job-{n}")).expect("an id")
}

fn running(percent: i32) -> Progress {
    Progress { state: Some("RUNNING".into()), percent: Some(percent) }
}

fn finished() -> Progress {
    Progress { state: Some("FINISHED".into()), percent: Some(100) }
}

/// The jobs behind a place.
fn steps(feed: &mut Feed, place: &mut u64) -> Vec<Option<EntityId>> {
    let next = || match feed.step(place)? {
        FeedStep::Changed(job, _) => Some(Some(job)),
        FeedStep::Resync(_) => Some(None),
    };
    std::iter::from_fn(next).collect()
}

#[tokio::test]
async fn each_job_that_changed_is_told_once_in_the_order_of_its_last_change() {
    let (mut feed, mut place) = (Feed::new(None), 0);
    for id in [1, 2, 3, 1] {
        feed.changed(&job(id));
    }
    assert_eq!(steps(&mut feed, &mut place), [2, 3, 1].map(|n| Some(job(n))));
    assert_eq!(steps(&mut feed, &mut place), []);
}

#[tokio::test]
async fn a_sighting_is_a_change_if_it_tells_something_new() {
    let (mut feed, mut place) = (Feed::new(None), 0);
    assert!(!feed.listed(&job(1), &running(10)), "it may be an old one");
    let mut told = |id, progress: Progress| {
        feed.seen(&job(id), &progress);
        !steps(&mut feed, &mut place).is_empty()
    };
    assert!(!told(1, running(10)));
    assert!(told(1, running(20)));
    assert!(told(2, running(10)), "it may be a new one");
    assert!(!told(3, finished()));
    assert!(feed.listed(&job(1), &running(30)) && !feed.listed(&job(1), &running(30)));
    feed.expect(&job(4));
    feed.expect(&job(5));
    feed.gone(&job(5));
    feed.gone(&job(6));
    assert_eq!(steps(&mut feed, &mut place), []);
    feed.seen(&job(4), &finished());
    assert_eq!(steps(&mut feed, &mut place), [Some(job(4))]);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_too_far_behind_or_comes_too_late_hears_that_changes_are_missing() {
    let (mut feed, mut place) = (Feed::new(None), 0);
    for id in 0..BEHIND {
        feed.changed(&job(id));
    }
    assert_eq!(steps(&mut feed, &mut place.clone()).len(), BEHIND);
    feed.changed(&job(BEHIND));
    assert_eq!(steps(&mut feed, &mut place), [None]);
    let cursor = feed.cursor(feed.end() - 1, None);
    assert_eq!(feed.place_of(&cursor), Some(feed.end() - 1));
    assert_eq!(feed.place_of(&feed.cursor(feed.end() + 1, None)), None);
    assert_eq!(feed.place_of(&Feed::new(None).cursor(1, None)), None);
    for bad in ["", "7", "x.1", "1.x", &format!("{cursor}0")] {
        assert_eq!(feed.place_of(bad), None, "{bad}");
    }
    tokio::time::advance(STAYS + Duration::from_secs(1)).await;
    let mut before = feed.place_of(&cursor).expect("its own");
    assert_eq!(steps(&mut feed, &mut before), [None]);
    assert_eq!(steps(&mut feed, &mut place), []);
    feed.missed();
    assert_eq!(steps(&mut feed, &mut place), [None]);
}

#[tokio::test]
async fn a_cursor_names_the_place_in_redis_up_to_which_all_was_told_and_no_further() {
    let at = |number: u64| LogPlace::parse(&format!("7-{number}")).expect("a place");
    let (mut feed, mut place) = (Feed::new(Some(at(1))), 0);
    feed.know(&[(job(9), running(10))]);
    feed.seen(&job(9), &running(20));
    feed.hear(at(2));
    feed.changed(&job(2));
    feed.hear(at(4));
    feed.hear(at(3));
    let mut next = || match feed.step(&mut place) {
        Some(FeedStep::Changed(_, cursor)) => log_place_of(&cursor),
        other => panic!("{other:?}"),
    };
    assert_eq!([next(), next()], [Some(at(1)), Some(at(4))]);
    assert_eq!(log_place_of(&cursor_of(at(5))), Some(at(5)));
    assert_eq!(feed.place_of(&cursor_of(at(5))), None, "it is no place of this feed");
    feed.missed();
    assert_eq!(feed.heard, None, "nobody knows what lies between");
}

#[tokio::test]
async fn what_is_known_is_bounded_and_never_lost_in_silence() {
    let (mut feed, mut place) = (Feed::new(None), 0);
    for id in 0..MOST {
        feed.listed(&job(id), &finished());
    }
    feed.changed(&job(1));
    feed.seen(&job(MOST), &running(1));
    assert_eq!(steps(&mut feed, &mut place), [1, MOST].map(|n| Some(job(n))));
    for id in 0..MOST {
        feed.listed(&job(MOST + id), &running(1));
    }
    assert!(feed.jobs.len() <= MOST);
    assert_eq!(steps(&mut feed, &mut place), [None]);
}

#[tokio::test]
async fn an_earlier_state_than_one_that_was_told_is_not_told() {
    let mut feed = Feed::new(None);
    feed.changed(&job(1));
    let told = [running(50), running(40), finished(), running(99), finished()];
    let told = told.map(|progress| feed.may_tell(&job(1), &progress));
    assert_eq!(told, [true, false, true, false, true]);
}
