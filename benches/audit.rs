//! The cost of a record to the request that leaves it, and the mutations a second that the journal lets
//! through, beside what the disk's own syncs allow. Every figure is of one run.
#![expect(clippy::unwrap_used, reason = "a bench that meets an error has failed")]
#![allow(missing_docs, reason = "a bench explains itself by its first lines")]

mod support;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jobs_gateway::audit::{Event, Head, Journal, Settings, compress, write_line};
use jobs_gateway::auth::{Issuers, authenticate};
use jobs_gateway::model::{CallRecord, Kind, RequestContext, RequestId, RootField, Trail};
use support::{folder, key, load};

fn settings(folder: &std::path::Path) -> Settings {
    Settings {
        file: folder.join("audit.jsonl"),
        rotate: 1 << 30,
        rotate_after: Duration::from_hours(24),
        keep: 30,
        keep_for: Duration::from_hours(24),
        on_full: jobs_gateway::audit::OnFull::Wait,
    }
}

fn record(request: &RequestContext) -> Box<CallRecord> {
    let mut record = CallRecord::begin(request.id, jiff::Timestamp::now());
    record.authenticated(&request.caller);
    record.parsed(Kind::Query, [Trail::new("getJob", RootField::GetJob)].into());
    Box::new(record)
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

fn disk(folder: &std::path::Path) -> f64 {
    let mut file = std::fs::File::create(folder.join("probe")).unwrap();
    let (began, mut syncs) = (Instant::now(), 0_u32);
    while began.elapsed() < Duration::from_secs(2) {
        file.write_all(&[b'x'; 1_024]).unwrap();
        file.sync_data().unwrap();
        syncs += 1;
    }
    f64::from(syncs) / began.elapsed().as_secs_f64()
}

/// MiB of records that are compressed in a second of CPU.
fn compression(folder: &std::path::Path, record: &CallRecord) -> f64 {
    let (mut lines, mut head) = (Vec::new(), Head::default());
    while lines.len() < 64 << 20 {
        let begin = lines.len();
        write_line(&Event::of_call(record)[0], head.next(), &mut lines);
        head = head.after(&lines[begin..]);
        lines.push(b'\n');
    }
    let closed = folder.join("closed.jsonl");
    std::fs::write(&closed, &lines).unwrap();
    let before = cpu();
    compress(&closed).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    let mebibytes = lines.len() as f64 / f64::from(1 << 20);
    mebibytes / cpu().saturating_sub(before).as_secs_f64()
}

/// Measures the cost of a record to its request, and the records a second that the writer takes.
async fn handing_over(journal: &Journal, request: &RequestContext) {
    // Fewer at once than the queue holds: what is measured is handing over, not waiting.
    let (rounds, each) = (20, 4_000);
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        let records: Vec<_> = (0..each).map(|_| record(request)).collect();
        let before = cpu();
        for record in records {
            journal.record(record).await;
        }
        spent += cpu().saturating_sub(before);
        journal.flush(Duration::from_secs(10)).await;
    }
    println!("a record costs its request {:.2?} of CPU", spent / (rounds * each));
    let (began, count) = (Instant::now(), 100_000);
    for _ in 0..count {
        journal.record(record(request)).await;
    }
    journal.flush(Duration::from_mins(1)).await;
    println!(
        "the writer takes {:.0} records a second",
        f64::from(count) / began.elapsed().as_secs_f64()
    );
}

/// Measures the audited mutations a second that so many callers get through.
async fn mutations(journal: &Journal, request: &RequestContext, callers: u32) {
    let began = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..callers {
        let (journal, request) = (journal.clone(), request.clone());
        tasks.push(tokio::spawn(async move {
            let trail = Trail::new("createJob", RootField::CreateJob);
            let mut written = 0_u32;
            while began.elapsed() < Duration::from_secs(3) {
                journal.intent(&request, &trail, jiff::Timestamp::now()).await.unwrap();
                journal.record(record(&request)).await;
                written += 1;
            }
            written
        }));
    }
    let mut written = 0;
    for task in tasks {
        written += task.await.unwrap();
    }
    let rate = f64::from(written) / began.elapsed().as_secs_f64();
    println!("{callers} callers: {rate:.0} audited mutations a second");
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let policies = folder(1, None, "");
        let loaded = load(policies.path());
        let now = jiff::Timestamp::now();
        let caller =
            authenticate(&key(0, 0), &loaded.policies, &Issuers::none(), now).await.unwrap();
        let request = RequestContext {
            id: RequestId::new(),
            callers_id: None,
            source: None,
            caller,
            deadline: tokio::time::Instant::now() + Duration::from_mins(1),
            fresh: false,
            trace: None,
            forward: None,
            keyed: None,
            claim: None,
            trails: Arc::default(),
        };
        let files = tempfile::tempdir().unwrap();
        let journal = Journal::open(&settings(files.path())).unwrap();

        handing_over(&journal, &request).await;
        for callers in [1, 16, 64] {
            mutations(&journal, &request, callers).await;
        }
        let rate = compression(files.path(), &record(&request));
        println!("a second of CPU compresses {rate:.0} MiB of records");
        println!("the disk alone: {:.0} syncs a second", disk(files.path()));
    });
}
