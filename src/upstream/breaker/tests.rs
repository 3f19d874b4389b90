use super::*;

const SETTINGS: BreakerSettings = BreakerSettings {
    failures: 4,
    window: Duration::from_secs(10),
    open_for: Duration::from_secs(5),
};

fn shared() -> Breaker {
    Breaker::new(AccountId::Shared, SETTINGS)
}

fn party(name: &str) -> Party {
    TenantId::parse(name).ok()
}

fn of_one_tenant() -> Breaker {
    Breaker::new(AccountId::Tenant(TenantId::parse("a").expect("a name")), SETTINGS)
}

fn end(pass: Pass<'_>, is_healthy: bool) {
    pass.settle((!is_healthy).then_some(ErrorKind::Status(500)));
}

fn call(breaker: &Breaker, name: &str, is_healthy: bool) {
    end(breaker.enter(party(name)).expect("it lets calls through"), is_healthy);
}

/// Two tenants meet an outage, until all calls are refused.
fn break_down(breaker: &Breaker) {
    for _ in 0..2 {
        call(breaker, "a", false);
        call(breaker, "b", false);
    }
}

fn state(breaker: &Breaker) -> BreakerState {
    breaker.reports()[0].state
}

fn lets_through(breaker: &Breaker, name: &str) -> bool {
    breaker.enter(party(name)).is_ok()
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn it_opens_when_several_tenants_meet_failures_and_closes_when_a_probe_succeeds() {
    let breaker = shared();
    break_down(&breaker);
    assert_eq!(state(&breaker), BreakerState::Open);
    let wait = breaker.enter(party("c")).expect_err("it is open");
    assert_eq!(wait, Duration::from_secs(5));
    pass(5).await;
    assert_eq!(state(&breaker), BreakerState::HalfOpen);
    let probe = breaker.enter(party("c")).expect("a probe");
    assert!(!lets_through(&breaker, "a"), "one at a time");
    end(probe, true);
    assert_eq!(state(&breaker), BreakerState::Closed);
    assert!(lets_through(&breaker, "a") && lets_through(&breaker, "b"));
}

#[tokio::test(start_paused = true)]
async fn failures_that_one_tenant_alone_meets_keep_out_nobody_else() {
    let breaker = shared();
    let mut refused = 0;
    for _ in 0..100 {
        match breaker.enter(party("a")) {
            Ok(pass) => end(pass, false),
            Err(_) => refused += 1,
        }
        call(&breaker, "b", true);
    }
    assert_eq!(refused, 96, "its own circuit opens after four");
    let reports: Vec<_> = breaker.reports().iter().map(ToString::to_string).collect();
    assert_eq!(reports, ["shared: closed", "shared, tenant a: open"]);
    // One failure of another's does not make it an outage.
    call(&breaker, "c", false);
    assert_eq!(state(&breaker), BreakerState::Closed);
    pass(5).await;
    call(&breaker, "a", true);
    assert_eq!(breaker.reports().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_account_of_one_tenant_opens_by_that_tenants_failures() {
    let breaker = of_one_tenant();
    for _ in 0..4 {
        assert_eq!(state(&breaker), BreakerState::Closed);
        call(&breaker, "a", false);
    }
    assert_eq!(breaker.reports().len(), 1);
    assert_eq!(breaker.reports()[0].to_string(), "tenant:a: open");
    assert!(!lets_through(&breaker, "a"));
    pass(5).await;
    call(&breaker, "a", false);
    assert_eq!(state(&breaker), BreakerState::Open);
    pass(5).await;
    call(&breaker, "a", true);
    assert_eq!(state(&breaker), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_leaves_the_next_to_another_tenant() {
    let breaker = shared();
    break_down(&breaker);
    pass(5).await;
    call(&breaker, "a", false);
    assert!(!lets_through(&breaker, "a"), "it tried just now");
    call(&breaker, "b", false);
    assert_eq!(state(&breaker), BreakerState::Open);
    assert!(!lets_through(&breaker, "c"));
    pass(5).await;
    call(&breaker, "a", false);
    call(&breaker, "b", true);
    assert_eq!(state(&breaker), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn failures_further_apart_than_the_window_do_not_open_it() {
    let breaker = of_one_tenant();
    for _ in 0..20 {
        call(&breaker, "a", false);
        pass(6).await;
    }
    assert_eq!(state(&breaker), BreakerState::Closed);
    for _ in 0..3 {
        call(&breaker, "a", false);
    }
    assert_eq!(state(&breaker), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn failures_among_many_successes_do_not_open_it() {
    let breaker = shared();
    for n in 0..300 {
        call(&breaker, if n % 2 == 0 { "a" } else { "b" }, n % 3 != 0);
    }
    assert_eq!(breaker.reports().len(), 1);
    assert_eq!(state(&breaker), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_caller_went_away_leaves_its_place_to_the_next() {
    let breaker = shared();
    break_down(&breaker);
    pass(5).await;
    drop(breaker.enter(party("a")).expect("a probe"));
    call(&breaker, "b", true);
    assert_eq!(state(&breaker), BreakerState::Closed);
    let breaker = of_one_tenant();
    for _ in 0..4 {
        call(&breaker, "a", false);
    }
    pass(5).await;
    drop(breaker.enter(party("a")).expect("a probe"));
    call(&breaker, "a", true);
    assert_eq!(state(&breaker), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_from_before_does_not_close_it() {
    let breaker = shared();
    let late = breaker.enter(party("a")).expect("it is closed");
    break_down(&breaker);
    end(late, true);
    assert_eq!(state(&breaker), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn tenants_who_went_silent_are_forgotten_and_those_in_trouble_are_not() {
    let breaker = shared();
    for _ in 0..4 {
        call(&breaker, "a", false);
    }
    call(&breaker, "b", true);
    breaker.forget_silent();
    assert_eq!(breaker.state().parties.len(), 2);
    pass(11).await;
    breaker.forget_silent();
    assert_eq!(breaker.state().parties.len(), 1);
}
