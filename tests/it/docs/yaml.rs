use std::path::Path;
use std::sync::Arc;

use jobs_gateway::reload::ConfigSource;
use jobs_gateway::settings::{self, Node, Source, Value};

use super::{blocks, spans};
use crate::documents::pages;
use crate::support::WEBHOOK_SECRET;

fn parse(text: &str) -> Result<Node, String> {
    let source = Source { name: "example".to_owned(), text: text.to_owned() };
    settings::parse(&Arc::new(source)).map_err(|problem| problem.to_string())
}

/// The keys of a mapping.
fn keys(node: &Node) -> Vec<String> {
    match &node.value {
        Value::Map(members) => members.iter().map(|(key, _)| key.text.clone()).collect(),
        _ => Vec::new(),
    }
}

/// Loads a configuration with this policy, and these lines of gateway.yaml.
fn load(policy: &str, more: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    let policy = policy.replace("5f0c…", &"5f".repeat(32));
    let policy =
        if policy.contains("tenant:") { policy } else { format!("tenant: acme\n{policy}") };
    let name = parse(&policy)?.at(&["tenant"]).map(|name| match &name.value {
        Value::Scalar { text, .. } => text.clone(),
        _ => String::new(),
    });
    let file = format!("policies/{}.yaml", name.unwrap_or_default());
    std::fs::write(folder.path().join(file), policy).unwrap();
    let mut gateway = more.to_owned();
    for (key, line) in [
        ("policies:", "policies: ./policies\n"),
        ("upstream:", "upstream: { api_key: '${MOVE_API_KEY}' }\n"),
        ("cursor_key:", "cursor_key: '${CURSOR_KEY}'\n"),
    ] {
        if !more.contains(key) {
            gateway.push_str(line);
        }
    }
    let path = folder.path().join("gateway.yaml");
    std::fs::write(&path, gateway).unwrap();
    // Every reference that an example makes has a value.
    let env = |name: &str| {
        Some(match name {
            "CURSOR_KEY" => "07".repeat(32),
            "MOVE_WEBHOOK_SECRET" => WEBHOOK_SECRET.to_owned(),
            _ => "a-value".to_owned(),
        })
    };
    let loaded = ConfigSource::new(&path, Arc::new(env)).load(jiff::Timestamp::UNIX_EPOCH);
    loaded.map(|_| ()).map_err(|problems| problems.to_string())
}

#[test]
fn every_yaml_block_of_the_pages_is_what_its_reader_takes() {
    let values = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("helm/jobs-gateway/values.yaml"),
    );
    let values = keys(&parse(&values.unwrap()).unwrap());
    let mut count = 0;
    for (path, page) in pages() {
        for block in blocks(&page).into_iter().filter(|block| block.language == "yaml") {
            count += 1;
            let place = format!("{}, {}:\n{}", path.display(), block.heading, block.text);
            let top =
                keys(&parse(&block.text).unwrap_or_else(|problem| panic!("{problem}{place}")));
            if top.iter().all(|key| values.contains(key)) {
                continue;
            }
            if top == ["tests"] {
                // `jobs-gateway policy test` reads it: see policies/tests.
                let known = std::fs::read_to_string("policies/tests/access.yaml").unwrap();
                for line in block.text.lines().filter(|line| line.contains("caller:")) {
                    assert!(known.contains(line.trim()), "{place}");
                }
                continue;
            }
            let read = if top.contains(&"tenant".to_owned()) {
                load(&block.text, "")
            } else {
                load("", &block.text)
            };
            read.unwrap_or_else(|problem| panic!("{problem}{place}"));
        }
    }
    assert!(count > 2, "{count}");
}

#[test]
fn every_flow_mapping_that_the_pages_show_is_yaml_and_a_setting_of_its_file() {
    let mut count = 0;
    for (path, page) in pages() {
        for span in spans(&page) {
            let (key, value) = span
                .split_once(": {")
                .map_or(("", &*span), |(key, _)| (key, &span[key.len() + 2..]));
            let is_word = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if !(is_word && value.starts_with('{') && value.ends_with('}')) || span.contains('…')
            {
                continue;
            }
            let place = format!("{}: {span}", path.display());
            // Values of policy tests are those of a call.
            parse(value).unwrap_or_else(|problem| panic!("{problem}{place}"));
            if key.is_empty() || key == "caller" || value.contains(';') {
                continue;
            }
            count += 1;
            let read = load(&format!("{span}\n"), "").or_else(|of_policy| {
                load("", &format!("{span}\n")).map_err(|of_gateway| of_policy + &of_gateway)
            });
            read.unwrap_or_else(|problem| panic!("{place}\n{problem}"));
        }
    }
    assert!(count > 3, "{count}");
}
