//! The JSON Schemas in schema/ are what the readers read, and another validator agrees with them.

use std::path::Path;
use std::sync::Arc;

use jobs_gateway::config::Config;
use jobs_gateway::settings::{self, Context, Keys, Settings as _, Sources};
use jobs_gateway::{config, policy};
use jsonschema::Validator;
use serde_json::Value;

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A YAML text as JSON, its references as they stand.
fn json(text: &str) -> Value {
    let source = settings::Source { name: "test".to_owned(), text: text.to_owned() };
    let node = settings::parse(&std::sync::Arc::new(source)).unwrap();
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

/// A key of gateway.yaml set to a text, as YAML.
fn set(path: &str, value: &str) -> String {
    let names: Vec<_> = path.split('.').collect();
    let (last, above) = names.split_last().unwrap();
    let innermost = format!("{last}: {value}");
    above.iter().rev().fold(innermost, |below, name| format!("{name}: {{ {below} }}"))
}

#[test]
fn the_defaults_that_docs_show_are_what_holds_where_nothing_is_set() {
    let base = "policies: p\n";
    let load = |text: String| {
        let source = Arc::new(settings::Source { name: "gateway.yaml".to_owned(), text });
        let env = |_: &str| Some("key".to_owned());
        config::load_text(&source, &Sources::new(&env)).unwrap_or_else(|found| panic!("{found}")).0
    };
    let upstream = "upstream: { api_key: '${K}' }\n";
    let unset = load(format!("{base}{upstream}"));
    let mut compared = 0;
    for key in Keys::of::<Config>() {
        let Some(default) = key.default.strip_prefix('`').and_then(|d| d.strip_suffix('`')) else {
            continue;
        };
        // Items of lists, whose list would have to be there, and a default that depends on another key.
        if key.path.contains("[]")
            || key.path.starts_with("telemetry.otlp")
            || default.contains('<')
        {
            continue;
        }
        compared += 1;
        let text = match key.path.strip_prefix("upstream.") {
            Some(key) => {
                format!("{base}upstream: {{ api_key: '${{K}}', {} }}\n", set(key, default))
            }
            // Only beside another key.
            None if ["audit", "webhooks"].iter().any(|own| key.path.starts_with(own)) => continue,
            None => format!("{base}{upstream}{}\n", set(&key.path, default)),
        };
        let mut differing = Vec::new();
        load(text).differences(&unset, "", &mut differing);
        assert_eq!(differing, Vec::<String>::new(), "{}: {default}", key.path);
    }
    assert!(compared > 30, "{compared}");
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
