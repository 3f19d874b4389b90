//! Layers import downwards only, as ARCHITECTURE.md has it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules a module may import. `app`, `cli` and the sandbox's users see everything.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("json", &[]),
    ("model", &["settings"]),
    ("types", &["model"]),
    ("operation", &["settings", "model"]),
    ("telemetry", &["settings", "json", "model"]),
    ("supervision", &["telemetry"]),
    ("settings", &[]),
    ("index", &["settings", "model", "redb_file", "telemetry"]),
    (
        "config",
        &["settings", "model", "operation", "index", "telemetry", "audit", "upstream", "live"],
    ),
    ("policy", &["settings", "model", "config"]),
    ("upstream", &["settings", "json", "model", "types", "telemetry"]),
    ("auth", &["settings", "model", "config", "policy", "supervision", "telemetry"]),
    ("seal", &[]),
    ("redb_file", &[]),
    ("shared_state", &["model", "telemetry"]),
    ("cache", &["model", "shared_state"]),
    ("audit", &["settings", "json", "model", "telemetry"]),
    ("limit", &["model", "shared_state"]),
    ("jobs", &["json", "model", "types", "audit", "cache", "index", "upstream", "telemetry"]),
    ("live", &["settings", "model", "cache", "jobs", "telemetry"]),
    ("graphql", &["json", "model", "types", "upstream", "jobs", "operation"]),
    ("idempotency", &["model", "redb_file", "seal", "shared_state", "telemetry"]),
    ("http", &["model", "config", "audit", "auth", "limit", "jobs", "graphql", "telemetry"]),
    (
        "pipeline",
        &[
            "model",
            "config",
            "operation",
            "policy",
            "audit",
            "auth",
            "limit",
            "idempotency",
            "cache",
            "graphql",
            "telemetry",
            "http",
        ],
    ),
    (
        "webhooks",
        &[
            "model",
            "config",
            "policy",
            "redb_file",
            "shared_state",
            "audit",
            "auth",
            "limit",
            "jobs",
            "telemetry",
            "supervision",
            "pipeline",
        ],
    ),
    ("sandbox", &[]),
];

/// The modules in which a crate stays.
const STAYS_IN: &[(&str, &[&str])] = &[
    ("ahash", &["cache", "limit", "operation", "policy", "telemetry"]),
    ("apollo_compiler", &["operation", "sandbox"]),
    ("arc_swap", &["app", "audit", "auth", "http", "pipeline", "upstream"]),
    ("async_graphql", &["types"]),
    ("axum", &["http", "pipeline", "webhooks", "app"]),
    ("backon", &["upstream"]),
    ("chacha20poly1305", &["cache", "jobs", "seal"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("equivalent", &["operation"]),
    ("flate2", &["audit", "http"]),
    ("granit_parser", &["settings"]),
    ("httpdate", &["upstream"]),
    ("hyper", &["http", "sandbox"]),
    ("hyper_util", &["http", "sandbox"]),
    ("indicatif", &["cli"]),
    ("ipnet", &["settings", "http", "auth", "cli", "model"]),
    ("jsonwebtoken", &["auth"]),
    ("moka", &["auth", "cache", "graphql", "jobs", "limit", "operation"]),
    ("notify", &["reload"]),
    // Its ids are the ids of traces everywhere; what else it has is `telemetry`'s.
    ("opentelemetry", &["audit", "model", "telemetry", "upstream"]),
    ("opentelemetry_appender_tracing", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("opentelemetry_prometheus", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("prometheus", &["telemetry"]),
    ("redb", &["idempotency", "index", "redb_file", "webhooks"]),
    ("redis", &["shared_state", "cache", "limit", "idempotency", "webhooks"]),
    ("reqwest", &["upstream", "auth", "audit", "telemetry", "app", "cli", "reload", "sandbox"]),
    ("rustix", &["app", "audit", "cli", "http", "telemetry"]),
    ("rustls", &["http"]),
    ("standardwebhooks", &["sandbox", "webhooks"]),
    ("strsim", &["settings", "operation"]),
    ("subtle", &["auth", "webhooks"]),
    ("tempfile", &["cli"]),
    ("tokio_rustls", &["http"]),
    ("tracing_appender", &["telemetry"]),
    ("x509_parser", &["http"]),
];

/// Two files of a room that hold each other: a connection has a place, and a place its connection.
const HAND_IN_HAND: (&str, &str) = ("connection", "places");

/// Crates of the table of dependencies that are everywhere.
const EVERYWHERE: [&str; 1] = ["serde_json"];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of each top-level module, comments and unit tests left out, by module.
fn code() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut code: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let module = inside.components().next().unwrap().as_os_str().to_string_lossy();
        let module = module.trim_end_matches(".rs").to_owned();
        if inside.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests")) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.entry(module).or_default().push((file.clone(), lines.collect::<Vec<_>>().join("\n")));
    }
    code
}

/// Every `crate::x` of a text.
fn imports(text: &str) -> impl Iterator<Item = &str> {
    text.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

#[test]
fn modules_import_only_what_lies_below_them() {
    let code = code();
    for (module, allowed) in MAY_IMPORT {
        for (file, text) in code.get(*module).into_iter().flatten() {
            for import in imports(text).filter(|import| code.contains_key(*import)) {
                assert!(
                    import == *module || allowed.contains(&import),
                    "{}: `{module}` may not import `{import}`",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn every_module_has_its_place_in_the_table() {
    for module in code().keys() {
        let known = MAY_IMPORT.iter().any(|(name, _)| name == module);
        assert!(
            known || matches!(module.as_str(), "app" | "cli" | "lib" | "main" | "reload"),
            "{module}"
        );
    }
}

#[test]
fn libraries_stay_where_they_belong() {
    for (library, modules) in STAYS_IN {
        for (module, files) in code() {
            for (file, text) in files {
                assert!(
                    modules.contains(&module.as_str()) || !uses(&text, library),
                    "{}: `{library}` stays in {modules:?}",
                    file.display()
                );
            }
        }
    }
}

/// Returns true if a text names something of a crate.
fn uses(text: &str, library: &str) -> bool {
    let path = format!("{library}::");
    text.match_indices(&path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && before != '_' && before != ':')
    })
}

#[test]
fn every_library_of_the_architecture_has_its_modules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let table = text.split("## Dependencies beyond the obvious").nth(1).unwrap();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let mut found = 0;
    for row in table.lines().filter_map(|line| line.strip_prefix("| `")) {
        let crates = row.split('|').next().unwrap().split('`').step_by(2);
        for name in crates.filter(|name| manifest.contains(&format!("\n{name} = "))) {
            let library = name.replace('-', "_");
            let has_modules = STAYS_IN.iter().any(|(known, _)| *known == library);
            assert!(has_modules || EVERYWHERE.contains(&library.as_str()), "{name}");
            found += 1;
        }
    }
    assert!(found > 20, "{found} crates of the table are in Cargo.toml");
}

#[test]
fn every_module_of_a_library_uses_it() {
    let code = code();
    for (library, modules) in STAYS_IN {
        for module in *modules {
            let is_used = code[*module]
                .iter()
                .any(|(_, text)| uses(text, library) || uses_plainly(text, library));
            assert!(is_used, "`{module}` does not use `{library}` any more");
        }
    }
}

/// Returns true if a text imports a crate by its name alone.
fn uses_plainly(text: &str, library: &str) -> bool {
    text.contains(&format!("use {library};"))
}

/// The first names after each `super::` of a text: what a file names of its own room.
fn siblings(text: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first = |text: &'_ str| text.find(|c| !is_name(c)).unwrap_or(text.len());
    let mut named = Vec::new();
    for (at, found) in text.match_indices("super::") {
        let rest = &text[at + found.len()..];
        if text[..at].ends_with("super::") || rest.starts_with("super::") {
            continue;
        }
        let Some(group) = rest.strip_prefix('{') else {
            named.push(&rest[..first(rest)]);
            continue;
        };
        let (mut depth, mut is_first) = (0, true);
        for (at, c) in group.char_indices() {
            match c {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => is_first = true,
                _ if is_first && is_name(c) => {
                    named.push(&group[at..][..first(&group[at..])]);
                    is_first = false;
                }
                _ => {}
            }
        }
    }
    named
}

#[test]
fn the_files_of_a_room_do_not_import_each_other_in_a_circle() {
    let mut rooms: BTreeMap<PathBuf, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for (file, text) in code().into_values().flatten() {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if name != "mod" {
            let named = siblings(&text).into_iter().map(str::to_owned).collect();
            rooms.entry(file.parent().unwrap().to_owned()).or_default().insert(name, named);
        }
    }
    let mut edges = 0;
    for (room, files) in rooms {
        for (name, named) in &files {
            let (mut seen, mut next) = (Vec::<&String>::new(), named.iter().collect::<Vec<_>>());
            while let Some(other) = next.pop() {
                let Some(more) = files.get(other).filter(|_| !seen.contains(&other)) else {
                    continue;
                };
                edges += 1;
                assert!(
                    other != name || [HAND_IN_HAND.0, HAND_IN_HAND.1].contains(&&**name),
                    "{}: `{name}` imports what imports it: {seen:?}",
                    room.display()
                );
                seen.push(other);
                next.extend(more);
            }
        }
    }
    assert!(edges > 200, "{edges} ways from file to file");
}
