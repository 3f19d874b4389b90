//! A policy's text with a key beside the one whose place it takes. Only what changes is written: comments, order and
//! layout stay.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use crate::model::{CredentialId, KeyHash, TenantId};
use crate::settings::{Node, Source, Span, Value, parse};

/// A key, and the one that takes its place.
pub struct Replacement<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The key that is there.
    pub old: &'a CredentialId,
    /// The time from which on it is refused, unless that is sooner already.
    pub old_ends: Timestamp,
    /// The id of the new key, if it is not to follow from the old one's.
    pub new: Option<&'a CredentialId>,
    /// The hash of the new key.
    pub hash: KeyHash,
    /// The end of the new key.
    pub expires: Option<Timestamp>,
}

/// A policy's new text.
#[derive(Debug)]
pub struct Rotated {
    /// The text.
    pub text: String,
    /// The id of the new key.
    pub new: String,
    /// The end of the old one.
    pub old_ends: Timestamp,
    /// True if the old one had an end before.
    pub had_end: bool,
}

/// Adds a key behind the one whose place it takes, and gives that an end. The new one has the old one's rights and
/// notes.
///
/// # Errors
/// When there is no such key, the new id is taken, or the text is laid out so that it cannot be changed here.
pub fn rotate(path: &Path, text: &str, replacement: &Replacement<'_>) -> Result<Rotated, String> {
    let shown = path.display();
    let source = Arc::new(Source { name: shown.to_string(), text: text.to_owned() });
    let root = parse(&source).map_err(|problem| problem.to_string().trim_end().to_owned())?;
    if !root.at(&["tenant"]).is_some_and(|name| name.is_scalar(replacement.tenant.as_str())) {
        return Err(format!("{shown} is no policy of tenant `{}`", replacement.tenant));
    }
    let none = format!("{shown} has no `auth.api_keys`");
    let list = root.at(&["auth", "api_keys"]).ok_or(none)?;
    let Value::List(keys) = &list.value else {
        return Err(format!("{shown}: `auth.api_keys` is no list"));
    };
    let ids: Vec<_> = keys.iter().filter_map(|key| scalar(key, "id")).collect();
    let old = keys
        .iter()
        .find(|key| scalar(key, "id") == Some(replacement.old.as_str()))
        .ok_or_else(|| format!("{shown} has no key `{}`: {}", replacement.old, ids.join(", ")))?;
    let new = match replacement.new {
        Some(new) => new.to_string(),
        None => next(replacement.old, &ids)?,
    };
    if ids.contains(&&*new) {
        return Err(format!("{shown} has a key `{new}` already: --new-id names another"));
    }
    let known_end = scalar(old, "expires").and_then(|end| end.parse::<Timestamp>().ok());
    let old_ends = known_end.map_or(replacement.old_ends, |end| end.min(replacement.old_ends));
    let item = new_item(old, &new, replacement);
    let edited = edited(text, list, old, &item, old_ends)
        .filter(|text| is_as_meant(&root, text, replacement.old, &item, old_ends));
    let had_end = known_end.is_some();
    edited.map(|text| Rotated { text, new: new.clone(), old_ends, had_end }).ok_or_else(|| {
        format!(
            "{shown} is laid out so that it cannot be changed here: make a key with `key new --id {new}`, and \
             write `expires: {old_ends}` beside `{}`",
            replacement.old
        )
    })
}

/// The members of a new key, in the order in which they are written.
type Item = Vec<(String, Json)>;

fn new_item(old: &Node, new: &str, replacement: &Replacement<'_>) -> Item {
    let mut item = vec![
        ("id".to_owned(), json!(new)),
        ("sha256".to_owned(), json!(replacement.hash.to_string())),
    ];
    item.extend(replacement.expires.map(|end| ("expires".to_owned(), json!(end.to_string()))));
    if let Value::Map(members) = &old.value {
        let kept = members
            .iter()
            .filter(|(key, _)| !["id", "sha256", "expires"].contains(&&*key.text))
            .map(|(key, node)| (key.text.clone(), plain(node)));
        item.extend(kept);
    }
    item
}

/// Returns the id with the next number: `main-2` after `main`, `main-3` after `main-2`.
fn next(old: &CredentialId, taken: &[&str]) -> Result<String, String> {
    let (name, number) = old.numbered();
    let mut ids = (number.saturating_add(1)..).map(|number| format!("{name}-{number}"));
    let id = ids.find(|id| !taken.contains(&&**id)).unwrap_or_default();
    CredentialId::parse(&id).map_err(|problem| format!("{problem}: --new-id names another"))?;
    Ok(id)
}

/// Returns the text with the new key and the old one's end; `None` where it does not see how.
fn edited(text: &str, list: &Node, old: &Node, item: &Item, old_ends: Timestamp) -> Option<String> {
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let start = offset(text, &old.span)?;
    let is_flow = text[start..].starts_with('{');
    let mut edits = vec![end_of_old(text, old, is_flow, old_ends, line_end)?];
    let written: Vec<_> =
        item.iter().map(|(key, value)| format!("{key}: {}", yaml(value))).collect();
    if text[offset(text, &list.span)?..].starts_with('[') {
        edits.push((start..start, format!("{{ {} }}, ", written.join(", "))));
    } else {
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let before = &text[line_start..start];
        let dash = before.find('-').filter(|_| before.trim() == "-")?;
        let indent = &before[..dash];
        let new = if is_flow {
            format!("{indent}- {{ {} }}", written.join(", "))
        } else {
            let deeper = " ".repeat(before.chars().count());
            format!("{indent}- {}", written.join(&format!("{line_end}{deeper}")))
        };
        let at = end_of_item(text, old, dash);
        let is_last_line_open = at == text.len() && !text.ends_with('\n');
        let new =
            if is_last_line_open { format!("{line_end}{new}") } else { format!("{new}{line_end}") };
        edits.push((at..at, new));
    }
    // From the end, so that places before stay what they are. At one place the later edit comes first.
    edits.sort_by_key(|(range, _)| range.start);
    let mut text = text.to_owned();
    for (range, new) in edits.into_iter().rev() {
        text.replace_range(range, &new);
    }
    Some(text)
}

type Edit = (std::ops::Range<usize>, String);

/// The edit that gives the old key its end.
fn end_of_old(
    text: &str,
    old: &Node,
    is_flow: bool,
    ends: Timestamp,
    line_end: &str,
) -> Option<Edit> {
    if let Some(known) = old.at(&["expires"]) {
        let start = offset(text, &known.span)?;
        let end = start + bytes(&text[start..], known.span.width);
        return Some((start..end, ends.to_string()));
    }
    let hash = &old.at(&["sha256"])?.span;
    let start = offset(text, hash)?;
    let end = start + bytes(&text[start..], hash.width);
    if is_flow {
        return Some((end..end, format!(", expires: {ends}")));
    }
    let line = text[end..].find('\n').map_or(text.len(), |at| end + at);
    let line = line - usize::from(text[..line].ends_with('\r'));
    let deeper = " ".repeat(old.span.column - 1);
    Some((line..line, format!("{line_end}{deeper}expires: {ends}")))
}

/// The place behind an item of a block list: behind its last line, and those below it that are indented more than the
/// item's dash.
fn end_of_item(text: &str, item: &Node, dash: usize) -> usize {
    let last = last_line(item);
    let (mut at, mut end) = (0, 0);
    for (n, line) in text.split_inclusive('\n').enumerate() {
        at += line.len();
        let indent = line.len() - line.trim_start().len();
        let is_within = !line.trim().is_empty() && indent > dash;
        if n < last || is_within {
            end = at;
        } else if !line.trim().is_empty() {
            break;
        }
    }
    end
}

/// The last line, from 1, on which a value of the node begins.
fn last_line(node: &Node) -> usize {
    let below = match &node.value {
        Value::Scalar { .. } => None,
        Value::List(items) => items.iter().map(last_line).max(),
        Value::Map(members) => members.iter().map(|(_, node)| last_line(node)).max(),
    };
    below.unwrap_or(0).max(node.span.line)
}

/// Returns true if a text says what the policy said, and the new key and the old one's end, and nothing else.
fn is_as_meant(
    before: &Node,
    text: &str,
    old: &CredentialId,
    item: &Item,
    ends: Timestamp,
) -> bool {
    let source = Arc::new(Source { name: String::new(), text: text.to_owned() });
    let Ok(after) = parse(&source) else { return false };
    let (mut before, mut after) = (plain(before), plain(&after));
    let item = Json::Object(item.iter().cloned().collect());
    let (Some(known), Some(keys)) =
        (before["auth"]["api_keys"].as_array_mut(), after["auth"]["api_keys"].as_array_mut())
    else {
        return false;
    };
    for key in known.iter_mut().filter(|key| key["id"] == old.as_str()) {
        key["expires"] = json!(ends.to_string());
    }
    let Some(at) = keys.iter().position(|key| *key == item) else { return false };
    keys.remove(at);
    before == after
}

/// The text of a member that is a single value.
fn scalar<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match &node.at(&[key])?.value {
        Value::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

/// A value without its place. Scalars are texts, as settings read them.
fn plain(node: &Node) -> Json {
    match &node.value {
        _ if node.is_null() => Json::Null,
        Value::Scalar { text, .. } => json!(text),
        Value::List(items) => items.iter().map(plain).collect(),
        Value::Map(members) => {
            let members = members.iter().map(|(key, node)| (key.text.clone(), plain(node)));
            Json::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// Writes a value in flow style. JSON's strings are YAML's.
fn yaml(value: &Json) -> String {
    match value {
        Json::Array(items) => {
            format!("[{}]", items.iter().map(yaml).collect::<Vec<_>>().join(", "))
        }
        Json::String(text) if is_bare(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns true if a text needs no quotes in YAML: letters, digits and a few signs, beginning with a letter or a
/// digit, and no word that some readers take for something else.
fn is_bare(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric();
    let is_word = ["null", "true", "false", "yes", "no", "on", "off"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    let is_plain = |c: char| is_letter(c) || "-_./:".contains(c);
    text.starts_with(is_letter) && text.chars().all(is_plain) && !text.ends_with(':') && !is_word
}

/// The byte at which a place begins.
fn offset(text: &str, span: &Span) -> Option<usize> {
    let line = text.split_inclusive('\n').take(span.line - 1).map(str::len).sum::<usize>();
    Some(line + bytes(text.get(line..)?, span.column - 1))
}

/// The length in bytes of the first characters of a text.
fn bytes(text: &str, characters: usize) -> usize {
    text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: Timestamp = Timestamp::constant(1_900_000_000, 0);

    fn rotated(text: &str, old: &str) -> Result<Rotated, String> {
        let (tenant, old) = (TenantId::parse("acme"), CredentialId::parse(old));
        let replacement = Replacement {
            tenant: &tenant.unwrap(),
            old: &old.unwrap(),
            old_ends: ENDS,
            new: None,
            hash: KeyHash([0xab; 32]),
            expires: None,
        };
        rotate(Path::new("acme.yaml"), text, &replacement)
    }

    #[test]
    fn only_what_changes_is_written_and_comments_stay() {
        let before = "# Animation.\ntenant: acme\nauth:\n  api_keys:\n    # The farm's.\n    - id: farm\n      \
                      sha256: 00   # old\n      operations: [\"*\"]\n      description: \"a: b\"\n\n    \
                      - id: other\n      sha256: 11\noperations: [getJob]\n";
        let after = format!(
            "# Animation.\ntenant: acme\nauth:\n  api_keys:\n    # The farm's.\n    - id: farm\n      \
             sha256: 00   # old\n      expires: {ENDS}\n      operations: [\"*\"]\n      description: \"a: b\"\n    \
             - id: farm-2\n      sha256: {hash}\n      operations: [\"*\"]\n      description: \"a: b\"\n\n    \
             - id: other\n      sha256: 11\noperations: [getJob]\n",
            hash = "ab".repeat(32)
        );
        let rotated = rotated(before, "farm").unwrap();
        assert_eq!((rotated.new.as_str(), rotated.old_ends), ("farm-2", ENDS));
        assert_eq!(rotated.text, after);
        // A second time: the one that has an end keeps it, and the next one follows.
        let again = super::tests::rotated(&rotated.text, "farm-2").unwrap();
        assert_eq!(again.new, "farm-3");
    }

    #[test]
    fn flow_style_and_files_without_a_last_newline_are_edited_too() {
        for text in [
            "tenant: acme\nauth: { api_keys: [{ id: farm, sha256: '00' }, { id: b, sha256: \"11\" }] }",
            "tenant: acme\nauth:\n  api_keys:\n  - { id: b, sha256: 11 }\n  - { id: farm, sha256: 00 }",
            "tenant: acme\r\nauth:\r\n  api_keys:\r\n    - sha256: 00\r\n      id: farm\r\n",
            "tenant: acme\nauth:\n  api_keys:\n  - id: farm\n    sha256: 00\n    description: |\n      two\n\n      \
             lines\n  # The end.\n",
        ] {
            let rotated =
                rotated(text, "farm").unwrap_or_else(|problem| panic!("{problem}\n{text}"));
            assert!(rotated.text.contains(&format!("expires: {ENDS}")), "{}", rotated.text);
            assert_eq!(rotated.text.contains('\r'), text.contains('\r'));
        }
    }

    #[test]
    fn an_end_that_is_sooner_stays() {
        let text = "tenant: acme\nauth: { api_keys: [{ id: a, sha256: 00, expires: 2020-01-01T00:00:00Z }] }\n";
        assert_eq!(rotated(text, "a").unwrap().old_ends.to_string(), "2020-01-01T00:00:00Z");
        let later = text.replace("2020", "2099");
        assert_eq!(rotated(&later, "a").unwrap().old_ends, ENDS);
    }

    #[test]
    fn a_policy_that_cannot_be_changed_is_left_alone() {
        for (text, told) in [
            (
                "tenant: globex\nauth: { api_keys: [{ id: a, sha256: 00 }] }\n",
                "no policy of tenant `acme`",
            ),
            ("tenant: acme\n", "has no `auth.api_keys`"),
            (
                "tenant: acme\nauth: { api_keys: [{ id: b, sha256: 00 }, { id: c }] }\n",
                "no key `a`: b, c",
            ),
            (
                "tenant: acme\nauth:\n  api_keys:\n  -\n    id: a\n    sha256: 00\n",
                "cannot be changed here",
            ),
            ("tenant: [\n", "not YAML"),
        ] {
            let problem = rotated(text, "a").unwrap_err();
            assert!(problem.contains(told), "{problem}");
        }
    }
}
