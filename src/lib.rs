//! The Jobs Gateway: Move AI's Jobs API for many tenants behind one key.
//!
//! The modules, in the order in which a request meets them (`ARCHITECTURE.md` tells the whole way):

pub mod http; // bytes in, bytes out: connections, bodies, statuses
pub mod pipeline; // the whole way of one request, a stage a file
pub mod webhooks; // Move's events: taken in for certain, then looked into by asking Move
pub mod auth; // credential -> caller
pub mod operation; // document -> operation: limited, validated, brought into its normal form, remembered
pub mod limit; // may it be done now: rates, requests at once
pub mod idempotency; // was it done before: mutations that may be sent again
pub mod graphql; // the one executor: plans, answers, and the one mapping of errors
pub mod live; // who waits for a job hears of it: one question to Move for all
pub mod jobs; // get, list, create, update: ownership, envelope, cursor. The heart
pub mod cache; // what is known of jobs, and whole answers: for how long, and until which write
pub mod index; // which jobs are whose, in the order of a listing: derived data, never an authority
pub mod redb_file; // a database in a file of this process's own
pub mod seal; // what leaves for a store that others reach is encrypted and bound to its place
pub mod shared_state; // Redis, where there are replicas: never fails a request, never waits over 20 ms
pub mod upstream; // one call to Move: document, deadline, answer
pub mod audit; // what happened, on disk: intents before mutations, a chain of hashes, sinks
pub mod telemetry; // the log, from one record a call
pub mod supervision; // background tasks: a panic is told, counted, and not the end

pub mod json; // JSON as it came: a text and the index of its values
pub mod model; // ids, tenants, callers, root fields, error codes: the words all others speak
pub mod types; // the Jobs schema, defined once

#[cfg(feature = "sandbox")]
pub mod sandbox; // the Move API emulator

pub mod reload; // files change: read, check, swap all rules at once
pub mod app; // the composition root: build, bind, serve, drain
pub mod cli; // serve, dev, check, key, schema: a file a command
pub mod config; // gateway.yaml -> Config
pub mod settings; // a key is declared once: its value, default, meaning, reader and schema
pub mod policy; // policies/*.yaml -> Snapshot
