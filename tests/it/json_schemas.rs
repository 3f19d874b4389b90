//! The JSON Schemas in schema/ are what the readers read, and another validator agrees with them.

use std::path::Path;

use jobs_gateway::config::{self, Context, Sources};
use jobs_gateway::policy;
use jsonschema::Validator;
use serde_json::Value;

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A YAML text as JSON, its references as they stand.
fn json(text: &str) -> Value {
    let source = config::Source { name: "test".to_owned(), text: text.to_owned() };
    let node = config::parse(&std::sync::Arc::new(source)).unwrap();
    let as_it_stands = |name: &str| Some(format!("${{{name}}}"));
    Context::new(&Sources::new(&as_it_stands)).json("", &node).unwrap()
}

fn file(path: &str) -> Value {
    json(&std::fs::read_to_string(root(path)).unwrap())
}

fn validators() -> (Validator, Validator) {
    let of = |schema: &Value| jsonschema::validator_for(schema).unwrap();
    (of(&config::json_schema()), of(&policy::json_schema()))
}

#[test]
fn the_files_in_schema_are_current() {
    for (path, schema) in [
        ("schema/gateway.schema.json", config::json_schema()),
        ("schema/policy.schema.json", policy::json_schema()),
    ] {
        let stored = std::fs::read_to_string(root(path)).unwrap();
        assert_eq!(stored, format!("{schema:#}\n"), "run scripts/generate");
    }
}

#[test]
fn the_contract_and_the_samples_are_valid() {
    let (gateway, tenant) = validators();
    for path in ["gateway.yaml", "tests/fixtures/contract/gateway.yaml"] {
        assert_eq!(gateway.validate(&file(path)).map_err(|e| format!("{path}: {e}")), Ok(()));
    }
    for folder in ["policies", "tests/fixtures/contract/policies"] {
        for name in ["defaults", "acme", "globex"] {
            let path = format!("{folder}/{name}.yaml");
            assert_eq!(tenant.validate(&file(&path)).map_err(|e| format!("{path}: {e}")), Ok(()));
        }
    }
}

#[test]
fn what_check_refuses_the_schemas_refuse() {
    let (gateway, tenant) = validators();
    let base = "policies: p\nupstream: { api_key: '${K}' }\n";
    assert!(gateway.is_valid(&json(base)));
    for wrong in [
        "sever: {}",
        "server: { lisen: 1 }",
        "server: { max_body: 5KB }",
        "server: { request_timeout: 5 }",
        "limits: { depth: -1 }",
        "limits: { depth: many }",
        "issuers: [{ name: a }]",
        "telemetry: { log: { format: xml } }",
        "telemetry: { otlp: { endpoint: 'http://c.test', headers: { x-key: plain-text } } }",
        "cursor_key: plain-text",
        "audit: { on_full: sometimes }",
    ] {
        assert!(!gateway.is_valid(&json(&format!("{base}{wrong}\n"))), "{wrong}");
    }
    assert!(!gateway.is_valid(&json("policies: p\nupstream: { api_key: in-the-file }\n")));
    assert!(tenant.is_valid(&json("tenant: acme\nrate_limit: ~\ncache:\n")));
    for wrong in [
        "operation: [getJob]",
        "operations: [getJobs]",
        "scopes: { read: [getJobs] }",
        "rate_limit: { operations: { getJobs: { rate: 1/s } } }",
        "rate_limit: { queries: { rate: 0/s } }",
        "metadata: { unclaimed_jobs: show }",
        "auth: { api_keys: [{ id: a }] }",
        "auth: { api_keys: [{ id: a, sha256: abc }] }",
        "cache: { get_job: { finished: 10 minutes } }",
        "upstream: { api_key: in-the-file }",
    ] {
        assert!(!tenant.is_valid(&json(&format!("tenant: acme\n{wrong}\n"))), "{wrong}");
    }
}

/// Every key of a schema, by its full name.
fn keys(schema: &Value, path: &str, into: &mut Vec<String>) {
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    for schema in std::iter::once(schema).chain(alternatives) {
        if let Some(properties) = schema["properties"].as_object() {
            for (key, below) in properties {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let before = into.len();
                keys(below, &path, into);
                if into.len() == before {
                    into.push(path);
                }
            }
        }
        if schema["items"]["properties"].is_object() {
            keys(&schema["items"], &format!("{path}[]"), into);
        }
        if schema["additionalProperties"]["properties"].is_object() {
            keys(&schema["additionalProperties"], path, into);
        }
    }
}

#[test]
fn every_key_is_described_and_every_description_has_a_key() {
    for (schema, described) in
        [(config::json_schema(), config::KEYS), (policy::json_schema(), policy::KEYS)]
    {
        let mut all = Vec::new();
        keys(&schema, "", &mut all);
        all.sort();
        let mut described: Vec<_> = described.iter().map(|described| described.key).collect();
        described.sort_unstable();
        assert_eq!(all, described);
    }
}

#[test]
fn the_tables_of_keys_in_docs_are_made_from_the_schemas() {
    for (path, flag, table) in [
        ("docs/configuration.md", "--config", config::reference()),
        ("docs/policies.md", "--policy", policy::reference()),
    ] {
        let page = std::fs::read_to_string(root(path)).unwrap();
        let made = format!("<!-- jobs-gateway schema {flag} --table -->\n{table}<!-- end -->\n");
        assert!(page.contains(&made), "{path} is stale: run scripts/generate");
    }
}
