//! What is written down beside the code says what the code does.

use std::fs;

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
        "stale: run `cargo run -- schema > schema/gateway.graphql`"
    );
}
