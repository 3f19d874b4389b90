//! JSON Schemas of files for editors, and the same as tables for people, made from the declared keys.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::keys::DeclaredKey;
use super::kind::REFERENCE;

/// Builds the schema of a file.
#[must_use]
pub fn build(title: &str, keys: &[DeclaredKey]) -> Value {
    let mut tree = Branch::default();
    for key in keys {
        tree.insert(&key.path, key);
    }
    let mut schema = tree.object();
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), title.into());
    schema.into()
}

/// The same as a table, for docs/: a row for each key that holds no other keys.
#[must_use]
pub fn table(keys: &[DeclaredKey]) -> String {
    let mut text = "| key | type | default | meaning |\n|---|---|---|---|\n".to_owned();
    for (at, DeclaredKey { path, kind, is_required, default, meaning }) in keys.iter().enumerate() {
        if keys.get(at + 1).is_some_and(|next| is_below(&next.path, path)) {
            continue;
        }
        let default = if default.is_empty() && *is_required { "required" } else { default };
        let meaning = meaning.trim_end_matches('.');
        text.push_str(&format!("| `{path}` | {} | {default} | {meaning} |\n", kind.word()));
    }
    text
}

/// Returns true for `server.listen` and `server`, `issuers[].name` and `issuers`.
fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with(['.', '[']))
}

impl DeclaredKey {
    /// The description that editors show.
    fn description(&self) -> String {
        let default = match &*self.default {
            "" => String::new(),
            default => format!(" Default: {default}."),
        };
        format!("{}{default}", self.meaning).replace('`', "")
    }
}

/// A key and the keys below it.
#[derive(Default)]
struct Branch<'a> {
    key: Option<&'a DeclaredKey>,
    below: BTreeMap<&'a str, Branch<'a>>,
}

impl<'a> Branch<'a> {
    fn insert(&mut self, path: &'a str, key: &'a DeclaredKey) {
        match path.split_once('.') {
            Some((first, rest)) => {
                self.below.entry(first.trim_end_matches("[]")).or_default().insert(rest, key);
            }
            None => self.below.entry(path).or_default().key = Some(key),
        }
    }

    /// A mapping of exactly the keys below.
    fn object(&self) -> Map<String, Value> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (key, branch) in &self.below {
            properties.insert((*key).to_owned(), branch.value());
            if branch.key.is_some_and(|key| key.is_required) {
                required.push(*key);
            }
        }
        let mut object = Map::new();
        object.insert("type".into(), "object".into());
        object.insert("additionalProperties".into(), false.into());
        object.insert("properties".into(), properties.into());
        if !required.is_empty() {
            object.insert("required".into(), required.into());
        }
        object
    }

    fn value(&self) -> Value {
        let Some(key) = self.key else { return self.object().into() };
        // `key:` and `key: null` are as good as leaving it out.
        let mut value = match (key.is_required, key.kind.schema(&|| self.object().into())) {
            (false, Value::Object(value)) if !value.is_empty() => {
                json!({"anyOf": [{"type": "null"}, value]})
            }
            (_, value) => value,
        };
        value["description"] = key.description().into();
        value
    }
}

/// Takes the references to elsewhere out of a schema, but those of secrets.
pub fn without_references(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
                choices.retain(|choice| choice.get("pattern") != Some(&REFERENCE.into()));
            }
            members.values_mut().for_each(without_references);
        }
        Value::Array(items) => items.iter_mut().for_each(without_references),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_below_another_by_whole_names() {
        assert!(is_below("server.listen", "server") && is_below("issuers[].name", "issuers"));
        assert!(!is_below("servers.listen", "server") && !is_below("server", "server"));
    }
}
