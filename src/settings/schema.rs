//! JSON Schemas of gateway.yaml and of policies, for editors, and the same as tables for people. They
//! are not written down anywhere: the readers run over a document that has every key, note what they
//! ask for, and that is the schema. Beside the readers stands what each key means.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::reader::{Form, Read};

/// What a reference to elsewhere looks like; it stands for any scalar.
const REFERENCE: &str = r"\$\{[^}]+\}";

/// A key as people read about it.
#[derive(Debug, Clone, Copy)]
pub struct Described {
    /// Its full name.
    pub key: &'static str,
    /// What holds if it is not set; empty where nothing does.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// `"key" ["default"] "meaning";` for each key.
macro_rules! describe {
    ($($key:literal [$default:literal] $meaning:literal;)*) => {
        &[$($crate::settings::Described { key: $key, default: $default, meaning: $meaning }),*]
    };
}
pub(crate) use describe;

/// Builds a schema from what readers asked for.
#[must_use]
pub fn build(title: &str, reads: &[Read], keys: &[Described]) -> Value {
    let mut tree = Branch::default();
    for read in reads {
        tree.insert(&read.path, read);
    }
    let meanings = keys.iter().map(|key| (key.key, key.text())).collect();
    let mut schema = tree.object("", &meanings);
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), title.into());
    schema.into()
}

/// The same as a table, for docs/. A key that is described and never read has no row.
#[must_use]
pub fn table(reads: &[Read], keys: &[Described]) -> String {
    let mut text = "| key | type | default | meaning |\n|---|---|---|---|\n".to_owned();
    for Described { key, default, meaning } in keys {
        if let Some(read) = reads.iter().find(|read| read.path == *key) {
            let kind = kind(&read.form);
            let default = if default.is_empty() && read.is_required { "required" } else { default };
            text.push_str(&format!("| `{key}` | {kind} | {default} | {meaning} |\n"));
        }
    }
    text
}

impl Described {
    /// As editors show it.
    fn text(&self) -> String {
        let default = match self.default {
            "" | "required" => String::new(),
            default => format!(" Default: {default}."),
        };
        format!("{}.{default}", self.meaning).replace('`', "")
    }
}

/// A key and the keys below it.
#[derive(Default)]
struct Branch<'a> {
    read: Option<&'a Read>,
    below: BTreeMap<&'a str, Branch<'a>>,
}

impl<'a> Branch<'a> {
    fn insert(&mut self, path: &'a str, read: &'a Read) {
        match path.split_once('.') {
            Some((first, rest)) => {
                self.below.entry(first.trim_end_matches("[]")).or_default().insert(rest, read);
            }
            None => self.below.entry(path).or_default().read = Some(read),
        }
    }

    /// A mapping of exactly the keys below.
    fn object(&self, path: &str, meanings: &BTreeMap<&str, String>) -> Map<String, Value> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (key, branch) in &self.below {
            let path = if path.is_empty() { (*key).to_owned() } else { format!("{path}.{key}") };
            properties.insert((*key).to_owned(), branch.value(&path, meanings));
            if branch.read.is_some_and(|read| read.is_required) {
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

    fn value(&self, path: &str, meanings: &BTreeMap<&str, String>) -> Value {
        let Some(read) = self.read else { return self.object(path, meanings).into() };
        let value = match &read.form {
            Form::Any => json!({}),
            Form::Scalar(wanted) => scalar(wanted),
            Form::Secret => json!({"type": "string", "pattern": format!("^{REFERENCE}$")}),
            Form::Secrets { names } => json!({
                "type": "object",
                "propertyNames": scalar(names),
                "additionalProperties": {"type": "string", "pattern": format!("^{REFERENCE}$")},
            }),
            Form::List(wanted) => json!({"type": "array", "items": scalar(wanted)}),
            Form::Items => {
                let item = self.object(&format!("{path}[]"), meanings);
                json!({"type": "array", "items": item})
            }
            Form::Section => self.object(path, meanings).into(),
            Form::Members { names, values } => {
                let value = match values {
                    Some(wanted) => json!({"type": "array", "items": scalar(wanted)}),
                    None => self.object(path, meanings).into(),
                };
                let mut members = json!({"type": "object", "additionalProperties": value});
                if let Some(names) = names {
                    members["propertyNames"] = scalar(names);
                }
                members
            }
        };
        // `key:` and `key: null` are as good as leaving it out.
        let mut value = match (read.is_required, value) {
            (false, Value::Object(value)) if !value.is_empty() => {
                json!({"anyOf": [{"type": "null"}, value]})
            }
            (_, value) => value,
        };
        if let Some(meaning) = meanings.get(path) {
            value["description"] = meaning.clone().into();
        }
        value
    }
}

/// What a key takes, in a word.
fn kind(form: &Form) -> String {
    match form {
        Form::Any | Form::Section => "mapping".to_owned(),
        Form::Scalar(wanted) => shape(wanted).0,
        Form::Secret => "secret".to_owned(),
        Form::Secrets { .. } => "mapping of secrets".to_owned(),
        Form::List(_) | Form::Items => "list".to_owned(),
        Form::Members { values: Some(_), .. } => "mapping of lists".to_owned(),
        Form::Members { values: None, .. } => "mapping of mappings".to_owned(),
    }
}

/// A scalar.
fn scalar(wanted: &str) -> Value {
    let reference = json!({"type": "string", "pattern": REFERENCE});
    json!({"anyOf": shape(wanted).1.into_iter().chain([reference]).collect::<Vec<_>>()})
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

/// A scalar in a word and as schemas, by what its parser says would be right.
fn shape(wanted: &str) -> (String, Vec<Value>) {
    let pattern = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let starts = |with: &str| wanted.starts_with(with);
    let one_of = |names: Vec<&str>| {
        let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        (quoted.join(", "), vec![json!({"enum": names})])
    };
    let (word, schemas) = if starts("must be a duration") {
        ("duration", vec![json!({"const": 0}), pattern("^([0-9]+(ms|s|m|h|d)|0)$")])
    } else if starts("must be a size") {
        ("size", vec![json!({"type": "integer", "minimum": 1}), pattern("^[0-9]+(KiB|MiB|GiB)?$")])
    } else if starts("must be a rate") {
        ("rate", vec![pattern("^[1-9][0-9]* */ *(s|min|h)$")])
    } else if starts("must be a percentage") || starts("must be a whole percentage") {
        ("percentage", vec![pattern("^[0-9]+(\\.[0-9]+)?%$")])
    } else if starts("must be true or false") {
        ("boolean", vec![json!({"type": "boolean"})])
    } else if starts("must be a whole number of at least 1") {
        ("number, 1 or more", vec![json!({"type": "integer", "minimum": 1})])
    } else if starts("must be a whole number") {
        ("number", vec![json!({"type": "integer", "minimum": 0})])
    } else if starts("must be 64 hexadecimal digits") {
        // Digits alone are a number to YAML.
        ("hash", vec![pattern("^[0-9a-fA-F]{64}$"), json!({"type": "integer"})])
    } else if let Some(names) = wanted.strip_prefix("must be one of ") {
        return one_of(names.split(", ").collect());
    } else if starts("must be `") {
        return one_of(wanted.split('`').skip(1).step_by(2).collect());
    } else if wanted.is_empty() {
        // Any text; YAML reads some of them as something else.
        ("text", vec![json!({"type": ["string", "number", "boolean"]})])
    } else {
        ("text", vec![json!({"type": "string"})])
    };
    (word.to_owned(), schemas)
}
