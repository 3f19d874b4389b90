//! The style of docs/style.md, as far as a machine can hold it. (clippy holds the length of functions: clippy.toml.)

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The most lines that a file may have.
const LONGEST_FILE: usize = 500;

/// Words with which no item's documentation begins.
const OPENINGS: [&str; 5] = ["What", "How", "Whether", "Where", "When"];

/// The module whose documentation has other readers: it is the schema's descriptions.
const FOR_OTHERS: &str = "src/types/";

/// Names that several public types have, each the obvious one in its module: it is read with the module's name.
const SHARED_NAMES: &[&str] = &[
    "Args", "Error", "Form", "Issuers", "Key", "Keys", "Kind", "Object", "Place", "Root",
    "Settings", "Slot", "Source",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below these folders, with their paths from the root.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                if is_rust(&name) {
                    found.push((name, fs::read_to_string(&path).unwrap()));
                }
            }
        }
    }
    found.sort();
    found
}

fn is_rust(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "rs")
}

/// The text of a line of documentation.
fn documentation(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).map(str::trim_start)
}

#[test]
fn no_file_is_longer_than_anybody_reads() {
    for (file, text) in sources(&["src", "tests/it", "benches"]) {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{file} has {lines} lines");
    }
}

#[test]
fn documentation_opens_with_a_noun_or_a_verb() {
    let mut wrong = Vec::new();
    for (file, text) in sources(&["src", "tests/it", "benches"]) {
        if file.starts_with(FOR_OTHERS) {
            continue;
        }
        let mut is_within = false;
        for (n, line) in text.lines().enumerate() {
            let opening = documentation(line).filter(|_| !is_within);
            is_within = documentation(line).is_some();
            let word = opening.and_then(|text| text.split(|c: char| !c.is_alphanumeric()).next());
            if word.is_some_and(|word| OPENINGS.contains(&word)) {
                wrong.push(format!("{file}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "say what it is or does:\n{}", wrong.join("\n"));
}

/// The name of the public type that a line begins.
fn public_type(line: &str) -> Option<&str> {
    let declared = line.strip_prefix("pub ")?;
    let (kind, rest) = declared.split_once(' ')?;
    let is_type = ["struct", "enum", "trait", "type"].contains(&kind);
    is_type.then(|| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()).flatten()
}

#[test]
fn a_public_type_has_a_name_of_its_own() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in sources(&["src"]) {
        // The sandbox has Move's types under Move's names, as the schema has, and `ocsf` OCSF's.
        if ["src/sandbox/", "src/types/", "src/audit/ocsf.rs"]
            .iter()
            .any(|own| file.starts_with(own))
        {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for name in code.lines().filter_map(public_type) {
            places.entry(name.to_owned()).or_default().push(file.clone());
        }
    }
    for (name, files) in &places {
        let is_shared = SHARED_NAMES.contains(&name.as_str());
        assert!(files.len() == 1 || is_shared, "`{name}` is in {files:?}");
    }
    for name in SHARED_NAMES {
        assert!(places[*name].len() > 1, "`{name}` is in one place alone: take it off the list");
    }
}

#[test]
fn each_walk_of_the_architecture_passes_files_that_exist_and_none_twice() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let walks = text.split("## An outsider's walk").nth(1).unwrap();
    let walks = walks.split("\n## ").next().unwrap();
    let walks: Vec<&str> = walks.split("\n**").skip(1).collect();
    assert_eq!(walks.len(), 4, "getJob, createJob, a policy change, an audit record");
    for walk in walks {
        let mut passed = Vec::new();
        for file in walk.split('`').skip(1).step_by(2).filter(|name| is_rust(name)) {
            assert!(root().join("src").join(file).is_file(), "{file} is not there");
            assert!(!passed.contains(&file), "{file} is passed twice");
            passed.push(file);
        }
        assert!(passed.len() >= 8, "{passed:?}");
    }
}
