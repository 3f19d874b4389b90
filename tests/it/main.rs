//! The gateway as its users meet it: a file a capability.
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]
#![allow(missing_docs, reason = "test modules explain themselves by their tests' names")]

mod audit;
mod audit_files;
mod cache;
mod cache_model;
mod clients;
mod configuration;
mod connections;
mod dashboards;
mod docs;
mod documents;
mod edges;
mod faults;
mod going_back;
mod harm;
mod idempotency;
mod jobs;
mod keys;
mod limits;
mod listing;
mod logging;
mod model;
mod owner_unknown;
mod owners_model;
mod ownership;
mod plans;
mod protocol;
mod refusals;
mod redis_servers;
mod replicas;
mod reload;
mod schema;
mod stopping;
mod support;
mod telemetry;
mod tls;
mod tokens;
mod traces;
mod upstream;
mod upstream_health;
mod upstream_shared;
mod federation;
mod json_schemas;
mod layers;
