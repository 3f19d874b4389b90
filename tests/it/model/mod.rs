//! Random operations by three tenants on everything that Move has, beside a plain model: no difference, ever,
//! and not a byte of anybody else.

mod known;
mod steps;

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Setup, World};
use known::{Aim, Among, Kind, Model};

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];

/// The number of operations of a test, and of its runs, each with a gateway of its own.
const OPERATIONS: usize = 10_000;
const RUNS: u32 = 20;

/// The shares of [`Among`], in its order.
type Shares = [u32; 3];

/// Something that a tenant does, or somebody in Move. What it names may be anybody's, or nothing.
#[derive(Debug, Clone)]
enum Operation {
    Create {
        tenant: usize,
        kind: Kind,
        metadata: usize,
        files: Vec<Aim>,
        of: Option<Aim>,
    },
    Get {
        tenant: usize,
        kind: Kind,
        aim: Aim,
    },
    Update {
        tenant: usize,
        kind: Kind,
        aim: Aim,
        metadata: Option<usize>,
        renames: bool,
    },
    List {
        tenant: usize,
        kind: Kind,
        first: usize,
        ascending: bool,
    },
    Share {
        tenant: usize,
        aim: Aim,
    },
    /// A tenant reads an output of its own job or volume, and then everybody asks for its file.
    Output {
        tenant: usize,
        kind: Kind,
        aim: Aim,
    },
    /// Somebody creates something in Move directly.
    Outside {
        kind: Kind,
        metadata: usize,
    },
}

const METADATA: [&str; 9] = [
    "{}",
    "null",
    r#"{"b":1, "a" : 2,"a":3}"#,
    "12345678901234567890123",
    r#""text""#,
    r#"{"_gateway":{"v":1,"owner":"globex","by":"x"}}"#,
    r#"{"acme":1,"_gateway":{"v":2}}"#,
    "[1,[2,[3]]]",
    r#"{"k":"\u0000\"\\"}"#,
];

fn operation(aims: Shares) -> impl Strategy<Value = Operation> {
    let tenant = || 0..TENANTS.len();
    let metadata = || 0..METADATA.len();
    let kind = || proptest::sample::select(Kind::ALL.to_vec());
    let aim = |[own, kind, everything]: Shares| {
        let at = prop_oneof![
            own => Just(Among::Own),
            kind => Just(Among::Kind),
            everything => Just(Among::Everything),
        ];
        (at, any::<prop::sample::Index>())
            .prop_map(|(at, index)| Aim { at, index: index.index(1 << 20) })
    };
    // Mutations that make something name more of what they may: else too little would ever be made.
    let named = [aims[0] * 5, aims[1], aims[2]];
    let create = (
        tenant(),
        kind(),
        metadata(),
        prop::collection::vec(aim(named), 1..4),
        prop::option::of(aim(named)),
    );
    prop_oneof![
        5 => create.prop_map(|(tenant, kind, metadata, files, of)| {
            Operation::Create { tenant, kind, metadata, files, of }
        }),
        6 => (tenant(), kind(), aim(aims))
            .prop_map(|(tenant, kind, aim)| Operation::Get { tenant, kind, aim }),
        4 => (tenant(), kind(), aim(aims), prop::option::of(metadata()), any::<bool>()).prop_map(
            |(tenant, kind, aim, metadata, renames)| {
                Operation::Update { tenant, kind, aim, metadata, renames }
            }
        ),
        2 => (tenant(), kind(), 1..12_usize, any::<bool>()).prop_map(
            |(tenant, kind, first, ascending)| Operation::List { tenant, kind, first, ascending }
        ),
        1 => (tenant(), aim(aims)).prop_map(|(tenant, aim)| Operation::Share { tenant, aim }),
        1 => (tenant(), any::<bool>(), aim(named)).prop_map(|(tenant, is_job, aim)| {
            let kind = if is_job { Kind::Job } else { Kind::Volume };
            Operation::Output { tenant, kind, aim }
        }),
        1 => (kind(), metadata()).prop_map(|(kind, metadata)| Operation::Outside { kind, metadata }),
    ]
}

async fn world() -> World {
    let all = "operations: [\"*\", sharing]\ntakes: { unclaimed: hide }\n";
    let tenants = TENANTS.map(|name| (name, all.to_owned())).to_vec();
    Setup::new().tenants(tenants).start().await
}

/// Makes random operations; the model and the gateway have to agree on each.
fn compare(aims: Shares) {
    let mut runner =
        TestRunner::new(Config { cases: RUNS, failure_persistence: None, ..Config::default() });
    let operations = prop::collection::vec(operation(aims), OPERATIONS / RUNS as usize);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let made = Cell::new([0; Kind::ALL.len()]);
    let result = runner.run(&operations, |operations| {
        runtime.block_on(async {
            let world = world().await;
            let mut model = Model::default();
            for operation in operations {
                steps::take(&world, &mut model, operation).await;
            }
            let own =
                |kind| (0..TENANTS.len()).map(|it| model.own(it, kind).count()).sum::<usize>();
            let before = made.get();
            made.set(std::array::from_fn(|at| before[at] + own(Kind::ALL[at])));
        });
        Ok(())
    });
    if let Err(difference) = result {
        panic!("{difference}");
    }
    let enough = OPERATIONS / 200;
    assert!(made.get().iter().all(|count| *count > enough), "too little was made: {made:?}");
}

#[test]
fn ten_thousand_operations_of_tenants_who_mostly_keep_to_their_own_never_differ_from_the_model() {
    compare([8, 4, 1]);
}

#[test]
fn ten_thousand_operations_of_tenants_who_reach_for_what_is_others_never_differ_from_the_model() {
    compare([2, 10, 1]);
}

#[test]
fn ten_thousand_operations_of_tenants_who_take_one_kind_for_another_never_differ_from_the_model() {
    compare([2, 2, 8]);
}
