//! The cost of a hit in the cache of jobs, with ten jobs in it and with a million, and their size.
#![expect(clippy::unwrap_used, reason = "a bench that meets an error has failed")]
#![allow(missing_docs, reason = "criterion's macros make items without docs")]

mod support;

use std::hint::black_box;
use std::sync::{Arc, OnceLock};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use jobs_gateway::cache::{
    CacheSize, CachedResponse, EntityCache, Entry, Key, Lifetime, ResponseCache, ResponseKey,
    State, Versions,
};
use jobs_gateway::model::{EntityId, MediaType, RequestMethod, RootFields, Selection, Tenant};
use support::{folder, load, resident};

fn tenant() -> Arc<Tenant> {
    let folder = folder(1, None, "");
    let loaded = load(folder.path());
    Arc::clone(loaded.policies.tenants().next().unwrap())
}

fn key(tenant: &Tenant, n: usize) -> Key {
    let job = format!("job-{n:08x}-7526-41a9-a1e2-d6ef328e2cbe");
    Key::new(tenant.id.clone(), EntityId::job(&job).unwrap())
}

/// The bytes of a typical answer of Move's.
const BODY: usize = 1_300;

fn jobs(criterion: &mut Criterion) {
    let tenant = tenant();
    let selection = Arc::new(Selection::of_leaves(["id", "metadata", "name", "state"]));
    let mut group = criterion.benchmark_group("cache/job, by jobs in it");
    for count in [10, 1_000_000] {
        let max: u64 = 8 << 30;
        let before = resident();
        let versions = Arc::new(Versions::default());
        let cache = EntityCache::new(max, Arc::clone(&versions));
        let now = Timestamp::now();
        for n in 0..count {
            let key = key(&tenant, n);
            let lifetime = Lifetime::of(&tenant.cache, State::Finished, std::iter::empty(), now);
            let selection = Arc::clone(&selection);
            let version = versions.of(&key);
            let (tenant, weight) = (Arc::clone(&tenant), BODY);
            let value = vec![0_u8; BODY];
            let entry = Entry { value, selection, tenant, lifetime, version, weight };
            cache.put(key, Arc::new(entry), now);
        }
        println!("{count} jobs: {} KiB resident", (resident() - before) / 1024);
        let keys: Vec<_> = (0..10_usize).map(|n| key(&tenant, n * (count / 10))).collect();
        let mut next = keys.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| cache.get(black_box(next.next().unwrap()), &tenant).unwrap());
        });
    }
}

fn bounded(_: &mut Criterion) {
    let tenant = tenant();
    let selection = Arc::new(Selection::of_leaves(["id", "metadata", "name", "state"]));
    let max: u64 = 256 << 20;
    let before = resident();
    let versions = Arc::new(Versions::default());
    let cache = EntityCache::new(max, Arc::clone(&versions));
    let now = Timestamp::now();
    for n in 0..1_000_000 {
        let key = key(&tenant, n);
        let lifetime = Lifetime::of(&tenant.cache, State::Finished, std::iter::empty(), now);
        let selection = Arc::clone(&selection);
        let version = versions.of(&key);
        let (tenant, weight) = (Arc::clone(&tenant), BODY);
        let value = vec![0_u8; BODY];
        cache.put(
            key,
            Arc::new(Entry { value, selection, tenant, lifetime, version, weight }),
            now,
        );
    }
    let CacheSize { entries, bytes } = cache.size();
    let grown = (resident() - before) >> 20;
    println!(
        "1000000 jobs put into {} MiB: {entries} are kept, {} MiB by weight, {grown} MiB resident",
        max >> 20,
        bytes >> 20
    );
}

fn answers(criterion: &mut Criterion) {
    let tenant = tenant();
    let versions = Arc::new(Versions::default());
    let answers = ResponseCache::new(64 << 20, Arc::clone(&versions));
    let text = format!("{{\"query\":\"{}\"}}", "x".repeat(400));
    let (method, media_type) = (RequestMethod::Post, MediaType::Json);
    let question = ResponseKey { tenant: tenant.id.clone(), method, media_type, text: text.into() };
    let now = Timestamp::now();
    let stored = CachedResponse {
        body: vec![0; BODY].into(),
        etag: OnceLock::new(),
        fetched: now,
        fresh_until: Timestamp::MAX,
        versions: [versions.of(&key(&tenant, 1))].into(),
        roots: [].into(),
        needs: RootFields::ALL,
        introspects: false,
    };
    answers.put(question.clone(), Arc::new(stored));
    criterion.bench_function("cache/whole answer", |bencher| {
        bencher.iter(|| answers.get(black_box(&question), now).unwrap());
    });
}

criterion_group!(benches, answers, bounded, jobs);
criterion_main!(benches);
