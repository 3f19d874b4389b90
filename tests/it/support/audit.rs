//! Reads audit records as they appear.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jobs_gateway::audit::Segments;
use serde_json::Value;

use super::World;

/// The audit file of a gateway whose configuration names `./audit/audit.jsonl`.
pub fn file_of(folder: &Path) -> PathBuf {
    folder.join("audit/audit.jsonl")
}

/// All records, closed files included.
pub fn records_in(file: &Path) -> Vec<Value> {
    let files = Segments::new(file).files().unwrap();
    let lines = jobs_gateway::audit::reader::all_lines(files);
    // A file that is being closed this moment is read the next time.
    lines.filter_map(|line| serde_json::from_slice(&line.ok()?).ok()).collect()
}

/// The records, once there are so many: they are written behind the answers.
pub async fn records(world: &World, count: usize) -> Vec<Value> {
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        let records = records_in(&file_of(world.folder()));
        if records.len() >= count {
            return records;
        }
        assert!(Instant::now() < give_up, "{} of {count} records: {records:#?}", records.len());
        tokio::task::yield_now().await;
    }
}

/// The summaries of strangers' requests, once they are of so many. Lets a minute pass, which is when they
/// are made.
pub async fn summaries_of_strangers(world: &World, requests: u64) -> Vec<Value> {
    world.pass(Duration::from_mins(1)).await;
    let file = Segments::new(&file_of(world.folder())).refused().current().to_owned();
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        let records = records_in(&file);
        let told: u64 = records.iter().filter_map(|record| record["count"].as_u64()).sum();
        if told >= requests {
            return records;
        }
        assert!(Instant::now() < give_up, "{told} of {requests} requests are told");
        tokio::task::yield_now().await;
    }
}
