//! The arguments of a root field.

use apollo_compiler::resolvers::FieldError;
use apollo_compiler::response::{JsonMap, JsonValue};
use serde_json::{Value, json};

use super::super::store::Account;
use super::super::store::table::{Range, Row};
use super::super::store::take::Source;
use super::{invalid, not_found};

/// The size of a page for which none is asked.
const DEFAULT_PAGE: i64 = 50;

/// The largest size of a page.
const MAX_PAGE: i64 = 100;

/// A field's arguments, coerced.
#[derive(Clone, Copy)]
pub struct Arguments<'a>(pub &'a JsonMap);

impl<'a> Arguments<'a> {
    /// A text; empty if it is missing or null, as the schema makes sure of where it counts.
    pub fn text(self, name: &str) -> &'a str {
        self.given(name).unwrap_or_default()
    }

    /// A text, unless it is missing or null.
    pub fn given(self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(JsonValue::as_str)
    }

    /// A text that is not empty: Move's Python client says "" for what its caller did not give.
    pub fn name(self, name: &str) -> Option<String> {
        self.given(name).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Any value, as JSON.
    pub fn plain(self, name: &str) -> Value {
        self.0.get(name).and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default()
    }

    /// Writes `metadata` and `name` where they are given: null leaves what is there.
    pub fn update(self, metadata: &mut Option<String>, name: &mut Option<String>) {
        if let Some(text) = self.given("metadata") {
            *metadata = Some(text.to_owned());
        }
        if self.given("name").is_some() {
            *name = self.name("name");
        }
    }

    /// The films of a take or volume. Their files have to be there, though not their bytes.
    pub fn sources(self, account: &Account) -> Result<Vec<Source>, FieldError> {
        let sources = self.plain("sources");
        let sources = sources.as_array().filter(|sources| !sources.is_empty());
        let sources = sources.ok_or_else(|| invalid("sources must not be empty"))?;
        let source = |source: &Value| {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let file = source["fileId"].as_str().unwrap_or_default();
            account.files.get(file).ok_or_else(not_found)?;
            Ok(Source {
                device_label: text(&source["deviceLabel"]).unwrap_or_default(),
                format: text(&source["format"]).unwrap_or_default(),
                lens: text(&source["cameraSettings"]["lens"]),
                file: file.to_owned(),
            })
        };
        sources.iter().map(source).collect()
    }

    /// The page that is asked for.
    pub fn paging(self) -> Result<Paging, FieldError> {
        let first = self.0.get("first").and_then(JsonValue::as_i64).unwrap_or(DEFAULT_PAGE);
        if !(1..=MAX_PAGE).contains(&first) {
            return Err(invalid("first must be from 1 to 100"));
        }
        let after = match self.given("after") {
            Some(text) if text.trim() != "null" => {
                let key: Value = serde_json::from_str(text).unwrap_or_default();
                Some(key["id"].as_str().ok_or_else(|| invalid("after"))?.to_owned())
            }
            _ => None,
        };
        Ok(Paging { first, after, ascending: self.given("sortDirection") == Some("ASC") })
    }
}

/// The page of a listing that is asked for.
pub struct Paging {
    /// The number of entities.
    pub first: i64,
    after: Option<String>,
    ascending: bool,
}

impl Paging {
    /// The same for a table.
    pub fn range(&self) -> Range<'_> {
        Range {
            first: usize::try_from(self.first).unwrap_or(1),
            after: self.after.as_deref(),
            ascending: self.ascending,
        }
    }
}

/// The cursor that begins behind an entity: its key in Move's store.
pub fn cursor(last: &impl Row) -> String {
    json!({"id": last.id(), "created": last.created().to_string()}).to_string()
}
