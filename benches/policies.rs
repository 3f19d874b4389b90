//! The cost of ten thousand tenants of three keys each: the time to load them and their memory.
#![expect(clippy::unwrap_used, reason = "a bench that meets an error has failed")]
#![allow(missing_docs, reason = "a bench explains itself by its first lines")]

mod support;

use std::time::Instant;

use support::{folder, load, resident};

fn main() {
    let folder = folder(10_000, None, "");
    // The first run brings in code and files; what is left after it is counted from.
    drop(load(folder.path()));
    for run in 1..=3 {
        let (before, began) = (resident(), Instant::now());
        let loaded = load(folder.path());
        let (took, after) = (began.elapsed(), resident());
        let tenants = loaded.policies.tenant_count();
        let keys = loaded.policies.key_count();
        let grown = after.saturating_sub(before) / 1024;
        println!(
            "run {run}: {tenants} tenants, {keys} keys in {took:.2?}; {grown} KiB more, {} MiB in all",
            after >> 20
        );
        std::mem::forget(loaded);
    }
}
