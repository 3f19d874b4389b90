//! The documents beside the code say what the code does.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use jobs_gateway::cli::Cli;
use jobs_gateway::model::ErrorCode;

fn read(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn the_table_of_error_codes_is_the_codes() {
    let table: Vec<String> = read("docs/errors.md")
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(Into::into)
        .collect();
    let codes: Vec<String> = ErrorCode::ALL
        .iter()
        .map(|code| {
            let (status, error_type) = (code.status(), code.error_type());
            format!("| `{code}` | {status} | `{error_type}` | {} |", code.meaning())
        })
        .collect();
    assert_eq!(table, codes, "docs/errors.md");
}

#[test]
fn the_exported_schema_is_current() {
    assert!(
        read("schema/gateway.graphql") == jobs_gateway::graphql::sdl(false),
        "stale: run scripts/generate"
    );
}

/// All pages: their paths and texts.
pub fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["", "docs", "docs/runbooks"].map(|folder| root.join(folder));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// Returns what follows `jobs-gateway` where a page shows it as a command.
fn commands(page: &str) -> Vec<String> {
    let page = page.replace("\\\n", " ");
    let shown = ["`jobs-gateway ", "$ jobs-gateway ", "\njobs-gateway ", " /jobs-gateway "];
    let starts = shown.iter().flat_map(|start| page.match_indices(start));
    starts
        .map(|(at, start)| page[at + start.len()..].split(['`', '\n', '>', '|']).next().unwrap())
        .map(Into::into)
        .collect()
}

#[test]
fn commands_that_the_pages_show_exist_with_these_flags() {
    let mut count = 0;
    for (path, page) in pages() {
        for line in commands(&page) {
            count += 1;
            let mut command = Cli::command();
            command.build();
            let mut words = line.split_whitespace().peekable();
            while let Some(below) = words.peek().and_then(|word| command.find_subcommand(word)) {
                command = below.clone();
                words.next();
            }
            let place = format!("{}: jobs-gateway {line}", path.display());
            let is_whole =
                !command.has_subcommands() || line.starts_with("--") || line.contains('…');
            assert!(is_whole, "{place}");
            for flag in words.filter_map(|word| word.trim_matches(['[', ']']).strip_prefix("--")) {
                let is_known = command.get_arguments().any(|arg| arg.get_long() == Some(flag));
                assert!(is_known, "{place}: --{flag}");
            }
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn links_between_pages_lead_somewhere() {
    for (path, page) in pages() {
        for target in page.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            let is_there = target.contains("://")
                || target.is_empty()
                || path.parent().unwrap().join(target).exists();
            assert!(is_there, "{}: {target}", path.display());
        }
    }
}
