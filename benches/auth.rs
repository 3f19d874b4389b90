//! The cost of finding out who calls.
#![expect(clippy::unwrap_used, reason = "a bench that meets an error has failed")]
#![allow(missing_docs, reason = "criterion's macros make items without docs")]

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use jobs_gateway::auth::{Issuers, authenticate};
use jobs_gateway::model::Clock;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use support::{Signer, folder, issuers, key, load};

fn api_keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("auth/api key, by tenants");
    for tenants in [1, 10, 1_000, 10_000] {
        let folder = folder(tenants, None, "");
        let policies = load(folder.path()).policies;
        let none = Issuers::none();
        let keys: Vec<_> = (0..tenants.min(1_000))
            .map(|n| key(n * (tenants / tenants.min(1_000)), n % 3))
            .collect();
        let mut next = keys.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(tenants), |bencher| {
            bencher.iter(|| {
                let key = next.next().unwrap();
                let now = Clock::system().now();
                let caller = authenticate(black_box(key), &policies, &none, now).now_or_never();
                caller.unwrap().unwrap()
            });
        });
    }
}

fn tokens(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let signer = Signer::new();
    let folder = folder(10, Some(&signer), "");
    let loaded = load(folder.path());
    let tokens: Vec<_> = (0..2_000).map(|n| signer.token(n % 10, n)).collect();
    let ask = |token: &str, issuers: &Issuers| {
        let now = Clock::system().now();
        runtime.block_on(authenticate(black_box(token), &loaded.policies, issuers, now)).unwrap()
    };
    let mut group = criterion.benchmark_group("auth/token");

    let known = issuers(&loaded);
    ask(&tokens[0], &known);
    group.bench_function("remembered", |bencher| bencher.iter(|| ask(&tokens[0], &known)));

    group.bench_function("first seen, RS256", |bencher| {
        bencher.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            let mut left = times;
            while left > 0 {
                // Nothing is remembered by new ones.
                let fresh = issuers(&loaded);
                let some = &tokens[..tokens.len().min(usize::try_from(left).unwrap())];
                let began = Instant::now();
                for token in some {
                    black_box(ask(token, &fresh));
                }
                spent += began.elapsed();
                left -= some.len() as u64;
            }
            spent
        });
    });

    let bare = DecodingKey::from_jwk(&serde_json::from_value(signer.jwk.clone()).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&["jobs-gateway"]);
    group.bench_function("jsonwebtoken alone, RS256", |bencher| {
        bencher.iter(|| {
            jsonwebtoken::decode::<serde_json::Value>(black_box(&tokens[0]), &bare, &validation)
                .unwrap()
        });
    });
}

criterion_group!(benches, api_keys, tokens);
criterion_main!(benches);
