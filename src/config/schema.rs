//! JSON Schemas of gateway.yaml and of policies, for editors. They are not written down anywhere:
//! the readers run over a document that has every key, note what they ask for, and that is the
//! schema. What a key means comes from the tables in docs/.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::reader::{Form, Read};

/// What a reference to elsewhere looks like; it stands for any scalar.
const REFERENCE: &str = r"\$\{[^}]+\}";

/// Builds a schema from what readers asked for. `docs` holds tables whose rows are
/// "| `key` | default | meaning |".
#[must_use]
pub fn build(title: &str, reads: &[Read], docs: &str) -> Value {
    let mut tree = Branch::default();
    for read in reads {
        tree.insert(&read.path, read);
    }
    let meanings = meanings(docs);
    let mut schema = tree.object("", &meanings);
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), title.into());
    schema.into()
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

/// A scalar, by what its parser says would be right.
fn scalar(wanted: &str) -> Value {
    let reference = json!({"type": "string", "pattern": REFERENCE});
    let pattern = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let starts = |with: &str| wanted.starts_with(with);
    let own = if starts("must be a duration") {
        vec![json!({"const": 0}), pattern("^([0-9]+(ms|s|m|h|d)|0)$")]
    } else if starts("must be a size") {
        vec![json!({"type": "integer", "minimum": 1}), pattern("^[0-9]+(KiB|MiB|GiB)?$")]
    } else if starts("must be a rate") {
        vec![pattern("^[1-9][0-9]* */ *(s|min|h)$")]
    } else if starts("must be a percentage") {
        vec![pattern("^[0-9]+(\\.[0-9]+)?%$")]
    } else if starts("must be true or false") {
        vec![json!({"type": "boolean"})]
    } else if starts("must be a whole number of at least 1") {
        vec![json!({"type": "integer", "minimum": 1})]
    } else if starts("must be a whole number") {
        vec![json!({"type": "integer", "minimum": 0})]
    } else if starts("must be 64 hexadecimal digits") {
        // Digits alone are a number to YAML.
        vec![pattern("^[0-9a-fA-F]{64}$"), json!({"type": "integer"})]
    } else if let Some(names) = wanted.strip_prefix("must be one of ") {
        vec![json!({"enum": names.split(", ").collect::<Vec<_>>()})]
    } else if starts("must be `") {
        let quoted = wanted.split('`').skip(1).step_by(2);
        vec![json!({"enum": quoted.collect::<Vec<_>>()})]
    } else if wanted.is_empty() {
        // Any text; YAML reads some of them as something else.
        vec![json!({"type": ["string", "number", "boolean"]})]
    } else {
        vec![json!({"type": "string"})]
    };
    json!({"anyOf": own.into_iter().chain([reference]).collect::<Vec<_>>()})
}

/// What the tables say of each key.
fn meanings(docs: &str) -> BTreeMap<&str, String> {
    let row = |line| {
        let mut cells = str::split(line, '|').map(str::trim).skip(1);
        let key = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        let (default, meaning) = (cells.next()?, cells.next()?);
        let default =
            if default.is_empty() { String::new() } else { format!(" Default: {default}.") };
        Some((key, format!("{meaning}.{default}").replace('`', "")))
    };
    docs.lines().filter_map(row).collect()
}
