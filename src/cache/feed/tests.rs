use super::*;
use crate::cache::Need;
use crate::jobs::fixture::tenant;

/// The moment at which a feed begins.
const BEGINS: i64 = 1_000;

fn new_feed(heard: Option<LogPlace>) -> Feed {
    Feed::new(Arc::new(tenant("acme")), BEGINS, heard)
}

/// The place of somebody who begins now and reads all.
fn end_of(feed: &Feed) -> FeedPlace {
    FeedPlace::new(feed.end(), feed.known(), Need::Progress)
}

fn begin() -> (Feed, FeedPlace) {
    let feed = new_feed(None);
    let place = end_of(&feed);
    (feed, place)
}

fn job(n: usize) -> EntityId {
    EntityId::job(&format!("job-{n}")).expect("an id")
}

fn running(percent: i32) -> Progress {
    Progress { state: Some("RUNNING".into()), percent: Some(percent) }
}

fn finished() -> Progress {
    Progress { state: Some("FINISHED".into()), percent: Some(100) }
}

/// The jobs behind a place, `None` where changes are missing.
fn steps(feed: &mut Feed, place: &mut FeedPlace) -> Vec<Option<EntityId>> {
    changes(feed, place).into_iter().map(|change| change.map(|change| change.job)).collect()
}

fn changes(feed: &mut Feed, place: &mut FeedPlace) -> Vec<Option<FeedChange>> {
    let mut all = Vec::new();
    while let Some(step) = feed.step(place) {
        match step {
            FeedStep::Changed(changes) => all.extend(changes.into_iter().map(Some)),
            FeedStep::Resync(_) => all.push(None),
        }
    }
    all
}

#[tokio::test]
async fn each_job_that_changed_is_told_once_in_the_order_of_its_last_change() {
    let (mut feed, mut place) = begin();
    for id in [1, 2, 3, 1] {
        feed.changed(&job(id));
    }
    assert_eq!(steps(&mut feed, &mut place), [2, 3, 1].map(|n| Some(job(n))));
    assert_eq!(steps(&mut feed, &mut place), []);
}

#[tokio::test]
async fn a_sighting_is_a_change_if_it_differs_and_a_page_tells_what_is_new() {
    let (mut feed, mut place) = begin();
    let mut told = |id, progress: Progress| {
        feed.seen(&job(id), &progress);
        !steps(&mut feed, &mut place).is_empty()
    };
    assert!(!told(1, running(10)), "it may be an old one");
    assert!(!told(1, running(10)) && told(1, running(20)) && !told(2, finished()));
    // A page shows one that was read before, one that nobody read, and an old one.
    let mut listed = |id, progress: Progress, created| {
        let is_news = feed.listed(&job(id), &progress, Some(created));
        if is_news {
            feed.seen(&job(id), &progress);
        }
        assert_eq!(steps(&mut feed, &mut place).len(), usize::from(is_news));
        is_news
    };
    assert!(listed(2, finished(), BEGINS) && !listed(2, finished(), BEGINS));
    assert!(listed(3, running(10), BEGINS + 1) && !listed(3, running(10), BEGINS + 1));
    assert!(!listed(3, running(5), BEGINS + 1), "an older page");
    assert!(listed(3, running(30), BEGINS + 1));
    assert!(!listed(4, running(10), BEGINS - 1) && listed(4, running(11), BEGINS - 1));
    feed.expect(&job(5));
    feed.expect(&job(6));
    feed.gone(&job(6));
    feed.gone(&job(7));
    assert_eq!(steps(&mut feed, &mut place), []);
    feed.seen(&job(5), &finished());
    assert_eq!(steps(&mut feed, &mut place), [Some(job(5))]);
}

#[tokio::test]
async fn a_stream_is_given_what_differs_from_what_it_told_or_began_with() {
    let mut feed = new_feed(None);
    feed.seen(&job(1), &running(1));
    let mut all = end_of(&feed);
    let mut states = FeedPlace::new(feed.end(), feed.known(), Need::State);
    // While its beginning is read, a job is seen that it begins with, and another changes that the feed knew before.
    feed.seen(&job(2), &running(10));
    feed.seen(&job(1), &running(2));
    let begun = [(job(1), running(2)), (job(2), running(10))];
    feed.begin_with(&mut all, &begun);
    feed.begin_with(&mut states, &begun);
    assert!(feed.listed(&job(2), &running(10), Some(BEGINS)));
    feed.seen(&job(2), &running(10));
    assert_eq!(steps(&mut feed, &mut all), [Some(job(1))], "one that lists later may know less");
    assert_eq!(steps(&mut feed, &mut states), []);
    // What was read of it was newer than what was told: it is not given once more.
    feed.seen(&job(2), &running(11));
    let [Some(change)] = &changes(&mut feed, &mut all)[..] else { panic!("one") };
    assert!(all.tell(change, &running(12), 12));
    feed.seen(&job(2), &running(12));
    assert_eq!(steps(&mut feed, &mut all), []);
    feed.changed(&job(2));
    let [Some(change)] = &changes(&mut feed, &mut all)[..] else { panic!("it was written") };
    assert!(!all.tell(change, &running(12), 12), "and is as it was told");
    assert_eq!(steps(&mut feed, &mut states), [Some(job(2))]);
    feed.seen(&job(1), &finished());
    assert_eq!(steps(&mut feed, &mut states), [Some(job(1))]);
    // Another one writes first, and then moves behind another change.
    feed.changed(&job(3));
    feed.changed(&job(4));
    feed.seen(&job(3), &running(1));
    feed.seen(&job(3), &running(2));
    assert_eq!(steps(&mut feed, &mut states), [4, 3].map(|n| Some(job(n))));
}

#[tokio::test]
async fn what_a_stream_told_is_forgotten_after_many_others() {
    let (mut feed, mut place) = begin();
    for n in 0..5_000 {
        feed.changed(&job(n));
        let [Some(change)] = &changes(&mut feed, &mut place)[..] else { panic!("one") };
        assert!(place.tell(change, &finished(), 1));
    }
    for (n, is_news) in [(4_500, false), (0, true)] {
        feed.changed(&job(n));
        let [Some(change)] = &changes(&mut feed, &mut place)[..] else { panic!("one") };
        assert_eq!(place.tell(change, &finished(), 1), is_news);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_too_far_behind_or_comes_too_late_hears_that_changes_are_missing() {
    let (mut feed, mut place) = begin();
    for id in 0..BEHIND {
        feed.changed(&job(id));
    }
    let mut quick = FeedPlace::new(0, 0, Need::Progress);
    assert_eq!(steps(&mut feed, &mut quick).len(), BEHIND);
    feed.changed(&job(BEHIND));
    assert_eq!(steps(&mut feed, &mut place), [None]);
    let cursor = feed.cursor(feed.end() - 1, None);
    assert_eq!(feed.place_of(&cursor), Some(feed.end() - 1));
    assert_eq!(feed.place_of(&feed.cursor(feed.end() + 1, None)), None);
    assert_eq!(feed.place_of(&new_feed(None).cursor(1, None)), None);
    for bad in ["", "7", "x.1", "1.x", &format!("{cursor}0")] {
        assert_eq!(feed.place_of(bad), None, "{bad}");
    }
    tokio::time::advance(STAYS + Duration::from_secs(1)).await;
    let before = feed.place_of(&cursor).expect("its own");
    let mut before = FeedPlace::new(before, 0, Need::Progress);
    assert_eq!(steps(&mut feed, &mut before), [None]);
    assert_eq!(steps(&mut feed, &mut place), []);
    feed.missed();
    assert_eq!(steps(&mut feed, &mut place), [None]);
}

#[tokio::test]
async fn a_cursor_names_the_place_in_redis_up_to_which_all_was_told_and_no_further() {
    let at = |number: u64| LogPlace::parse(&format!("7-{number}")).expect("a place");
    let mut feed = new_feed(Some(at(1)));
    let mut place = end_of(&feed);
    feed.know(&[(job(9), running(10))]);
    feed.seen(&job(9), &running(20));
    feed.hear(at(2));
    feed.changed(&job(2));
    feed.hear(at(4));
    feed.hear(at(3));
    let heard = changes(&mut feed, &mut place).into_iter().flatten();
    let heard: Vec<_> = heard.map(|change| log_place_of(&change.cursor)).collect();
    assert_eq!(heard, [Some(at(1)), Some(at(4))]);
    assert_eq!(log_place_of(&cursor_of(at(5))), Some(at(5)));
    assert_eq!(feed.place_of(&cursor_of(at(5))), None, "it is no place of this feed");
    feed.missed();
    assert_eq!(feed.heard, None, "nobody knows what lies between");
}

#[tokio::test]
async fn what_is_known_is_bounded_and_never_lost_in_silence() {
    let (mut feed, mut place) = begin();
    for id in 0..MOST {
        feed.seen(&job(id), &finished());
    }
    feed.changed(&job(1));
    feed.changed(&job(MOST));
    assert_eq!(steps(&mut feed, &mut place), [1, MOST].map(|n| Some(job(n))));
    for id in 0..MOST {
        feed.seen(&job(MOST + id), &running(1));
    }
    assert!(feed.jobs.len() <= MOST);
    assert_eq!(steps(&mut feed, &mut place), [None]);
}

#[tokio::test]
async fn an_earlier_state_than_one_that_was_told_is_not_told() {
    let mut feed = new_feed(None);
    feed.changed(&job(1));
    let told = [running(50), running(40), finished(), running(99), finished()];
    let told = told.map(|progress| feed.may_tell(&job(1), &progress));
    assert_eq!(told, [true, false, true, false, true]);
}
