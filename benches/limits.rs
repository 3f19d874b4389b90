//! The cost of admitting a request, in process.
#![expect(clippy::unwrap_used, reason = "a bench that meets an error has failed")]
#![allow(missing_docs, reason = "criterion's macros make items without docs")]

mod support;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use jobs_gateway::limit::{Charge, Limiter, Limits};
use jobs_gateway::model::{CredentialId, RootField, Weights};
use support::{folder, load};

fn admission(criterion: &mut Criterion) {
    let limits =
        "rate_limit:\n  queries: { rate: 1000000/s, burst: 1000000 }\n  max_in_flight: 1000\n";
    let refusing = "rate_limit:\n  queries: { rate: 1/h, burst: 1 }\n";
    let mut group = criterion.benchmark_group("limit");
    for (name, policy) in [("admit", limits), ("refuse", refusing)] {
        let folder = folder(10, None, policy);
        let loaded = load(folder.path());
        let tenants = loaded.policies.tenants().map(|tenant| &**tenant);
        let limits = Limits::new(tenants, Weights::default(), None);
        let tenant = loaded.policies.tenants().next().unwrap();
        let credential = CredentialId::parse("key-0").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let weights = &limits.weights;
                let charge =
                    Charge::for_units([RootField::GetJob].into_iter(), |f| weights.of(f), false);
                let own = limits.get(black_box(&tenant.id)).unwrap();
                Limiter::Local
                    .admit(&tenant.id, own, &credential, &charge, own.enter().unwrap())
                    .now_or_never()
                    .unwrap()
                    .is_ok()
            });
        });
    }
}

criterion_group!(benches, admission);
criterion_main!(benches);
