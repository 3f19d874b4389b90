//! Apps that wait for a job: they hear of its changes, and Move is asked once for all of them.

mod all_jobs;
mod clients;
mod hour;
mod load;
mod long_polls;
mod misbehaving;
mod replicas;
mod sockets;
mod slow_readers;
mod streams;
mod wires;

use std::time::Duration;

use jobs_gateway::sandbox::State;

use crate::support::{Setup, World};

/// A tenant whose cache is as it is by default, and that may wait as often as a test needs.
const WAITING: &str = "operations: ['*']\ncache: {}\nsubscriptions: { max: 500 }\n";

/// A world with a job of acme's that runs.
async fn with_a_running_job(config: &str) -> (World, String) {
    let setup = Setup::new().config(config).tenant("acme", WAITING).tenant("globex", WAITING);
    let world = setup.start().await;
    let job = world.create("acme", "{}").await;
    world.sandbox.set_state(&job, State::Running);
    world.sandbox.clear_calls();
    (world, job)
}

/// Lets time pass, a second at a time with pauses for what happens in it, until something is so.
async fn pass_until(world: &World, is_so: impl Fn() -> bool) {
    for _ in 0..60 {
        for _ in 0..20 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        world.pass(Duration::from_secs(1)).await;
    }
    panic!("it did not come to that within a minute");
}

/// Lets time pass until a stream has more to say, and gives it.
pub async fn passing<T>(world: &World, next: impl Future<Output = T>) -> T {
    tokio::pin!(next);
    for _ in 0..600 {
        tokio::select! {
            biased;
            next = &mut next => return next,
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
        world.pass(Duration::from_millis(250)).await;
    }
    panic!("nothing came");
}
