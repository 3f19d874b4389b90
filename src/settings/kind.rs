//! Kinds of values: a word for people, a JSON Schema for editors.

use serde_json::{Value, json};

/// The pattern of a reference to elsewhere, which stands for any scalar.
pub(super) const REFERENCE: &str = r"\$\{[^}]+\}";

/// The kind of a key's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueKind {
    /// Any mapping.
    Anything,
    /// Any single value, taken as a text.
    Text,
    /// A text that follows rules, such as a URL.
    Word,
    /// `true` or `false`
    Boolean,
    /// A whole number from this one on.
    Number(u32),
    /// `15s`
    Duration,
    /// `256KiB`
    Size,
    /// `200/s`
    Rate,
    /// `20%`
    Percentage,
    /// 64 hexadecimal digits.
    Hash,
    /// One of some words.
    OneOf(Vec<&'static str>),
    /// A reference to a secret.
    Secret,
    /// A list.
    List(Box<Self>),
    /// A mapping whose keys are declared.
    Section,
    /// A mapping whose keys the file chooses.
    Members {
        /// The kind of its keys.
        names: Box<Self>,
        /// The kind of its values.
        values: Box<Self>,
    },
}

impl ValueKind {
    /// The kind in a word or two.
    #[must_use]
    pub fn word(&self) -> String {
        let word = match self {
            Self::Anything | Self::Section => "mapping",
            Self::Text | Self::Word => "text",
            Self::Boolean => "boolean",
            Self::Number(0) => "number",
            Self::Number(least) => return format!("number, {least} or more"),
            Self::Duration => "duration",
            Self::Size => "size",
            Self::Rate => "rate",
            Self::Percentage => "percentage",
            Self::Hash => "hash",
            Self::OneOf(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                return quoted.join(", ");
            }
            Self::Secret => "secret",
            Self::List(_) => "list",
            Self::Members { values, .. } => return format!("mapping of {}s", values.word()),
        };
        word.to_owned()
    }

    /// The schema of a value; `section` is that of the declared keys below.
    pub(super) fn schema(&self, section: &dyn Fn() -> Value) -> Value {
        match self {
            Self::Anything => json!({}),
            Self::Secret => json!({"type": "string", "pattern": format!("^{REFERENCE}$")}),
            Self::Section => section(),
            Self::List(items) => json!({"type": "array", "items": items.schema(section)}),
            Self::Members { names, values } => {
                let values = values.schema(section);
                let mut schema = json!({"type": "object", "additionalProperties": values});
                if **names != Self::Text {
                    schema["propertyNames"] = names.schema(section);
                }
                schema
            }
            _ => {
                let reference = json!({"type": "string", "pattern": REFERENCE});
                let choices: Vec<_> = self.choices().into_iter().chain([reference]).collect();
                json!({"anyOf": choices})
            }
        }
    }

    /// The schemas of a single value, of which one must fit.
    fn choices(&self) -> Vec<Value> {
        let pattern = |pattern: &str| json!({"type": "string", "pattern": pattern});
        match self {
            // YAML reads some texts as something else.
            Self::Text => vec![json!({"type": ["string", "number", "boolean"]})],
            Self::Boolean => vec![json!({"type": "boolean"})],
            Self::Number(least) => vec![json!({"type": "integer", "minimum": least})],
            Self::Duration => vec![json!({"const": 0}), pattern("^([0-9]+(ms|s|m|h|d)|0)$")],
            Self::Size => {
                vec![json!({"type": "integer", "minimum": 1}), pattern("^[0-9]+(KiB|MiB|GiB)?$")]
            }
            Self::Rate => vec![pattern("^[1-9][0-9]* */ *(s|min|h)$")],
            Self::Percentage => vec![pattern("^[0-9]+%$")],
            // Digits alone are a number to YAML.
            Self::Hash => vec![pattern("^[0-9a-fA-F]{64}$"), json!({"type": "integer"})],
            Self::OneOf(words) => vec![json!({"enum": words})],
            _ => vec![json!({"type": "string"})],
        }
    }
}
