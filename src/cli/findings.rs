//! Findings in forms that other programs read.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::settings::{Diagnostic, Diagnostics, Severity};

/// The form in which findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people: the line, a caret, a hint.
    Text,
    /// A JSON object.
    Json,
    /// SARIF 2.1.0, which code hosts show beside the lines of a change.
    Sarif,
    /// JUnit's XML, which CI servers show as tests.
    Junit,
}

/// Writes findings as a JSON object.
pub fn json(found: &Diagnostics) -> Value {
    let finding = |finding: &Diagnostic| {
        let span = finding.span.as_ref();
        json!({
            "severity": level(finding.severity),
            "message": finding.message,
            "help": finding.help,
            "file": span.map(|span| &span.source.name),
            "line": span.map(|span| span.line),
            "column": span.map(|span| span.column),
        })
    };
    json!({
        "errors": found.count(Severity::Error),
        "warnings": found.count(Severity::Warning),
        "findings": found.0.iter().map(finding).collect::<Vec<_>>(),
    })
}

/// Writes findings as SARIF 2.1.0.
pub fn sarif(found: &Diagnostics) -> Value {
    let result = |finding: &Diagnostic| {
        let locations = finding.span.iter().map(|span| {
            let region = json!({
                "startLine": span.line,
                "startColumn": span.column,
                "endColumn": span.column + span.width,
            });
            json!({"physicalLocation": {
                "artifactLocation": {"uri": span.source.name},
                "region": region,
            }})
        });
        json!({
            "ruleId": "configuration",
            "level": level(finding.severity),
            "message": {"text": text(finding)},
            "locations": locations.collect::<Vec<_>>(),
        })
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "jobs-gateway", "rules": [{"id": "configuration"}]}},
            "results": found.0.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

/// Writes findings as JUnit's XML: one test, which fails with all errors.
pub fn junit(found: &Diagnostics) -> String {
    let failures = found.count(Severity::Error);
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuite name=\"jobs-gateway check\" tests=\"1\" failures=\"{}\">\n\
         <testcase name=\"configuration\" classname=\"jobs-gateway\">\n",
        usize::from(failures > 0)
    );
    for finding in &found.0 {
        let place = finding.span.as_ref().map_or_else(String::new, |span| format!("{span}: "));
        let told = escaped(&format!("{place}{}", text(finding)));
        let _ = match finding.severity {
            Severity::Error => writeln!(xml, "<failure message=\"{told}\"/>"),
            Severity::Warning => writeln!(xml, "<system-out>warning: {told}</system-out>"),
        };
    }
    xml.push_str("</testcase>\n</testsuite>\n");
    xml
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn text(finding: &Diagnostic) -> String {
    match &finding.help {
        Some(help) => format!("{}: {help}", finding.message),
        None => finding.message.clone(),
    }
}

/// A text as it may stand in an attribute or between tags (XML 1.0, sections 2.2 and 2.4).
pub fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}
