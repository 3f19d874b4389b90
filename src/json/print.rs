//! JSON that is put together by hand, for lines of which most is the same each time.

use std::fmt::Display;
use std::io::Write as _;

use serde::Serialize;

/// JSON on its way to the end of a buffer; whoever writes it sees to it that the pieces make JSON.
#[derive(Debug)]
pub struct JsonPrinter<'a>(pub &'a mut Vec<u8>);

impl JsonPrinter<'_> {
    /// Writes JSON, as it stands.
    pub fn json(&mut self, json: &str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    /// Writes a value as serde does, such as any text. By `Display`, the numbers of an audit record take 2,658
    /// instructions more.
    pub fn value(&mut self, value: impl Serialize) -> &mut Self {
        // Writing into memory does not fail.
        let _ = serde_json::to_writer(&mut *self.0, &value);
        self
    }

    /// Writes a text in which nothing needs an escape, without quotation marks.
    pub fn plain(&mut self, value: impl Display) -> &mut Self {
        // Nor does this.
        let _ = write!(self.0, "{value}");
        self
    }

    /// Writes a word of the code's own, in which nothing needs an escape.
    pub fn word(&mut self, word: &'static str) -> &mut Self {
        self.json("\"").json(word).json("\"")
    }

    /// Writes a member, `name` its name and all before it, if it has a value.
    pub fn maybe(&mut self, name: &str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.json(name).value(value);
        }
    }

    /// Writes a member, as [`JsonPrinter::maybe`] does, whose value is a word of the code's own.
    pub fn maybe_word(&mut self, name: &str, word: Option<&'static str>) {
        if let Some(word) = word {
            self.json(name).word(word);
        }
    }
}
