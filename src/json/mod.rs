//! JSON as it came: the text, and an index of the values in it. Nothing is printed anew. What the gateway says by
//! itself in JSON, line by line, goes through a [`JsonPrinter`].
//!
//! One answer is one `tape`: a text and a flat list of nodes. A [`Json`] is one value of it and keeps the
//! whole tape; a [`JsonRef`] is the same, borrowed. Depth, size and the number of values are bounded while the
//! text is read, and reading it does not recurse.
//!
//! ```
//! use jobs_gateway::json::Json;
//!
//! let job = Json::parse(r#"{"id":"job-1","name":"Clip \ud83d"}"#)?;
//! assert_eq!(job.root().text_of("id").as_deref(), Some("job-1"));
//! // Half an emoji is no text, and is still JSON that can be passed on.
//! assert_eq!(job.root().text_of("name"), None);
//! assert_eq!(job.root().get("name").map(|name| name.raw()), Some(r#""Clip \ud83d""#));
//! # Ok::<(), jobs_gateway::json::Malformed>(())
//! ```

mod print;
mod read;
mod tape;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

pub use print::JsonPrinter;
pub use read::Malformed;
use tape::Node;

/// The kind of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `null`
    Null,
    /// `true`
    True,
    /// `false`
    False,
    /// A number without fraction and exponent.
    Integer,
    /// Any other number.
    Float,
    /// A string without escapes.
    String,
    /// A string with escapes; not each of them is text (half a surrogate pair).
    Escaped,
    /// A list.
    Array,
    /// An object; members may repeat.
    Object,
}

impl Kind {
    /// All of them, in order; as many as four bits can tell.
    const ALL: [Self; 16] = {
        use Kind::{Array, Escaped, False, Float, Integer, Null, Object, String, True};
        let rest = Null;
        [
            Null, True, False, Integer, Float, String, Escaped, Array, Object, rest, rest, rest,
            rest, rest, rest, rest,
        ]
    };
}

/// A JSON value. A clone shares the text.
#[derive(Clone)]
pub struct Json {
    tape: Arc<str>,
    at: u32,
}

/// A JSON value, borrowed.
#[derive(Clone, Copy)]
pub struct JsonRef<'a> {
    tape: &'a str,
    at: u32,
    node: Node,
}

/// The name of a member: what stands between the value before it and its own, which is white space, a comma, the
/// name and a colon.
#[derive(Debug, Clone, Copy)]
pub struct Name<'a>(&'a str);

impl<'a> Name<'a> {
    /// Its text; `None` if it is none (half a surrogate pair).
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        text_of(self.quoted())
    }

    /// Returns true if it is this text.
    #[must_use]
    pub fn is(self, text: &str) -> bool {
        let quoted = self.quoted();
        match quoted.len().cmp(&(text.len() + 2)) {
            Ordering::Less => false,
            Ordering::Equal => quoted[1..].starts_with(text),
            // An escape is longer than what it stands for.
            Ordering::Greater => {
                quoted.as_bytes().contains(&b'\\') && self.text().is_some_and(|own| own == text)
            }
        }
    }

    /// It as a JSON string, to the letter.
    fn quoted(self) -> &'a str {
        // As Move writes it.
        let name = self.0.strip_prefix(',').unwrap_or(self.0).strip_suffix(':');
        if let Some(name) = name.filter(|name| name.starts_with('"') && name.ends_with('"')) {
            return name;
        }
        let (start, end) = (self.0.find('"'), self.0.rfind('"'));
        &self.0[start.unwrap_or(0)..end.map_or(0, |end| end + 1)]
    }
}

/// The text of a JSON string; `None` if it is none.
fn text_of(raw: &str) -> Option<Cow<'_, str>> {
    if raw.contains('\\') {
        return serde_json::from_str(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(&raw[1..raw.len() - 1]))
}

/// The member of an object under a name.
#[derive(Debug, Clone, Copy)]
pub enum Member<'a> {
    /// Nothing.
    Absent,
    /// One value.
    One(JsonRef<'a>),
    /// Several values: none of them is the one.
    Repeated,
}

/// Writes a text as a JSON string.
#[must_use]
#[expect(clippy::expect_used, reason = "every text is a JSON string")]
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a JSON string")
}

impl Json {
    /// Reads a text that is one JSON value (RFC 8259).
    ///
    /// # Errors
    /// When it is no JSON, or larger or deeper than the bounds of this module.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let nodes = read::nodes(text)?;
        Ok(Self { tape: tape::tape(text, nodes.into_iter()), at: 0 })
    }

    /// The value, borrowed.
    #[must_use]
    pub fn root(&self) -> JsonRef<'_> {
        JsonRef { tape: &self.tape, at: self.at, node: tape::node(&self.tape, self.at) }
    }

    /// A value of the same text.
    #[must_use]
    pub fn part(&self, part: JsonRef<'_>) -> Self {
        debug_assert!(std::ptr::eq(part.tape, &raw const *self.tape), "a part of another text");
        Self { tape: Arc::clone(&self.tape), at: part.at }
    }

    /// Approximate size in memory, in bytes, of the text that it keeps and its index.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.tape.len()
    }
}

impl<'a> JsonRef<'a> {
    /// Another value of the same text.
    fn at(self, at: u32) -> Self {
        Self { at, node: tape::node(self.tape, at), ..self }
    }

    /// The kind of the value.
    #[must_use]
    pub const fn kind(self) -> Kind {
        self.node.kind
    }

    /// Returns true for `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// The value's text, to the letter.
    #[must_use]
    pub fn raw(self) -> &'a str {
        &self.tape[self.node.start as usize..self.node.end as usize]
    }

    /// A string's text; `None` for what is no string or no text.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        let raw = self.raw();
        match self.kind() {
            Kind::String => Some(Cow::Borrowed(&raw[1..raw.len() - 1])),
            Kind::Escaped => serde_json::from_str(raw).ok().map(Cow::Owned),
            _ => None,
        }
    }

    /// Returns the member of an object under a name; nothing for what is no object.
    #[must_use]
    pub fn member(self, name: &str) -> Member<'a> {
        let mut found = Member::Absent;
        let mut before = self.node.start as usize + 1;
        for value in self.inside(Kind::Object) {
            let between = before..value.node.start as usize;
            before = value.node.end as usize;
            // Two quotes and a colon more. Of an object's names, many are too short.
            if between.len() >= name.len() + 3 && Name(&self.tape[between]).is(name) {
                match found {
                    Member::Absent => found = Member::One(value),
                    Member::One(_) | Member::Repeated => return Member::Repeated,
                }
            }
        }
        found
    }

    /// The one value that an object has under a name.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Self> {
        match self.member(name) {
            Member::One(value) => Some(value),
            Member::Absent | Member::Repeated => None,
        }
    }

    /// The text that an object has under a name.
    #[must_use]
    pub fn text_of(self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name)?.text()
    }

    /// An object's names and values, in their order.
    pub fn members(self) -> impl Iterator<Item = (Name<'a>, Self)> {
        let mut before = self.node.start as usize + 1;
        self.inside(Kind::Object).map(move |value| {
            let Node { start, end, .. } = value.node;
            let between = before..start as usize;
            before = end as usize;
            (Name(&value.tape[between]), value)
        })
    }

    /// A list's items.
    pub fn items(self) -> impl Iterator<Item = Self> {
        self.inside(Kind::Array)
    }

    fn inside(self, kind: Kind) -> impl Iterator<Item = Self> {
        let end = if self.kind() == kind { self.node.next } else { self.at };
        let mut at = self.at + 1;
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let value = self.at(at);
                at = value.node.next;
                value
            })
        })
    }

    /// A value of its own, which does not keep the rest of the text.
    #[must_use]
    pub fn to_json(self) -> Json {
        let Node { start, next, .. } = self.node;
        let nodes = (0..next - self.at).map(|index| {
            let node = tape::node(self.tape, self.at + index);
            Node {
                start: node.start - start,
                end: node.end - start,
                next: node.next - self.at,
                ..node
            }
        });
        Json { tape: tape::tape(self.raw(), nodes), at: 0 }
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.root().raw() == other.root().raw()
    }
}

impl Eq for Json {}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.root().raw())
    }
}

impl fmt::Debug for JsonRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.raw())
    }
}

#[cfg(test)]
mod tests;
