//! The request path, stage by stage and whole, without sockets of its own: time, and what is allocated.
//!
//! `pipeline --count STAGE TIMES` runs one stage so often and nothing else: `scripts/instructions`
//! counts its instructions. `pipeline --stages` names them.
#![expect(clippy::unwrap_used, reason = "a bench that meets an error has failed")]
#![allow(missing_docs, reason = "a bench explains itself by its first lines")]

mod gateway;
mod stages;
#[path = "../support/mod.rs"]
mod support;

use std::alloc::System;
use std::sync::Arc;

use criterion::Criterion;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A stage's name, and what makes it: a stage that is not asked for costs nothing.
type Stage = (&'static str, fn(&Arc<tokio::runtime::Runtime>) -> Box<dyn FnMut()>);

const STAGES: &[Stage] = &[
    ("key", stages::key),
    ("token, first", stages::token_first),
    ("token, remembered", stages::token_remembered),
    ("operation, first", stages::operation_first),
    ("operation, remembered", stages::operation_remembered),
    ("limit", stages::limit),
    ("answer hit", stages::answer_hit),
    ("job hit", stages::job_hit),
    ("envelope in", stages::envelope_in),
    ("envelope out", stages::envelope_out),
    ("selection to document", stages::selection_to_document),
    ("upstream answer in", stages::upstream_answer_in),
    ("audit record", stages::audit_record),
    ("log line", stages::log_line),
    ("chain", stages::chain),
    ("whole-answer hit", gateway::whole_answer_hit),
    ("covered hit", gateway::covered_hit),
    ("forward", gateway::forward),
    ("list page", gateway::list_page),
    ("creation", gateway::creation),
];

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let runtime = Arc::new(runtime);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--stages"] => STAGES.iter().for_each(|(name, _)| println!("{name}")),
        ["--count", name, times] => {
            let (_, make) = STAGES.iter().find(|(own, _)| *own == name).unwrap();
            let mut run = make(&runtime);
            // Once, so that what is remembered is.
            run();
            counted(&mut run, times.parse().unwrap());
        }
        _ => measure(&runtime),
    }
}

/// Runs what callgrind counts: it knows the function by its name.
#[inline(never)]
fn counted(run: &mut dyn FnMut(), times: u64) {
    for _ in 0..times {
        run();
    }
}

fn measure(runtime: &Arc<tokio::runtime::Runtime>) {
    println!("{:<24} {:>12} {:>12}", "stage", "allocations", "bytes");
    for (name, make) in STAGES {
        const TIMES: usize = 1_000;
        let mut run = make(runtime);
        // Once, so that what is remembered is.
        run();
        let region = Region::new(COUNTING);
        (0..TIMES).for_each(|_| run());
        let change = region.change();
        let (allocations, bytes) = (change.allocations / TIMES, change.bytes_allocated / TIMES);
        println!("{name:<24} {allocations:>12} {bytes:>12}");
    }
    let mut criterion = Criterion::default().configure_from_args();
    for (name, make) in STAGES {
        let mut run = make(runtime);
        criterion.bench_function(&format!("pipeline/{name}"), |bencher| bencher.iter(&mut run));
    }
    criterion.final_summary();
}
