//! The form in which a key's value is written.

use std::marker::PhantomData;
use std::path::Path;

use super::keys::{DeclaredKey, Keys};
use super::{Section, ValueKind};

/// A key as its declaration names it.
#[derive(Debug, Clone, Copy)]
pub struct KeyText {
    /// Its name in its mapping.
    pub name: &'static str,
    /// Its meaning.
    pub meaning: &'static str,
    /// Its default in words, where the value does not tell.
    pub words: &'static str,
}

impl KeyText {
    /// The text of a declaration; its meaning is a doc comment.
    #[must_use]
    pub const fn new(name: &'static str, meaning: &'static str, words: &'static str) -> Self {
        Self { name, meaning: meaning.trim_ascii_start(), words }
    }
}

/// The way the value of a key is written, read and shown.
pub trait Form {
    /// The value.
    type Value: PartialEq;

    /// Describes what is written, for a schema.
    fn kind() -> ValueKind;

    /// Reads a key; `default` holds where it is not set. `None` only after an error was reported.
    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        default: Option<Self::Value>,
    ) -> Option<Self::Value>;

    /// The value of a key that is not set and declares no default; `None` where it must be set.
    #[must_use]
    fn unset() -> Option<Self::Value> {
        None
    }

    /// Writes a value as a file would; `None` if it stands for nothing.
    fn show(value: &Self::Value) -> Option<String>;

    /// Tells the keys below.
    fn below(_: &mut Keys, _: &'static str) {}

    /// Tells the key and those below.
    fn declare(keys: &mut Keys, key: KeyText, default: Option<Self::Value>) {
        let default = default.or_else(Self::unset);
        let is_required = default.is_none() && Self::kind() != ValueKind::Section;
        let shown = match (key.words, &default) {
            ("", None) => String::new(),
            ("", Some(value)) => {
                Self::show(value).map_or_else(|| "none".to_owned(), |value| format!("`{value}`"))
            }
            (words, _) => words.to_owned(),
        };
        let KeyText { name, meaning, .. } = key;
        let (path, kind) = (String::new(), Self::kind());
        keys.add(name, DeclaredKey { path, kind, is_required, default: shown, meaning });
        Self::below(keys, name);
    }

    /// Tells the keys that differ: this one, or those below it.
    fn differences(
        (one, other): (&Self::Value, &Self::Value),
        path: &str,
        found: &mut Vec<String>,
    ) {
        if one != other {
            found.push(path.to_owned());
        }
    }
}

/// A value in one piece of text.
pub trait Scalar {
    /// The value.
    type Value: PartialEq;

    /// Describes what is written, for a schema.
    fn kind() -> ValueKind;

    /// Reads a text.
    ///
    /// # Errors
    /// A text that says what would be right: `must be …`.
    fn parse(text: &str) -> Result<Self::Value, String>;

    /// Writes a value as a file would; `None` if it is a secret.
    fn show(value: &Self::Value) -> Option<String>;

    /// Starts from a folder, if it is a relative path.
    fn within(value: Self::Value, _: &Path) -> Self::Value {
        value
    }
}

impl<S: Scalar> Form for S {
    type Value = S::Value;

    fn kind() -> ValueKind {
        S::kind()
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        default: Option<S::Value>,
    ) -> Option<S::Value> {
        let node = section.node(key);
        if node.is_none() && default.is_none() {
            section.missing(key);
        }
        node.and_then(|node| section.scalar::<S>(key, node)).or(default)
    }

    fn show(value: &S::Value) -> Option<String> {
        S::show(value)
    }
}

/// A choice among words.
pub trait Choice: Copy + PartialEq + 'static {
    /// The words and what they choose.
    const WORDS: &'static [(&'static str, Self)];
}

/// One of the words of a [`Choice`].
#[derive(Debug)]
pub struct OneOf<C>(PhantomData<C>);

impl<C: Choice> Scalar for OneOf<C> {
    type Value = C;

    fn kind() -> ValueKind {
        ValueKind::OneOf(C::WORDS.iter().map(|(word, _)| *word).collect())
    }

    fn parse(text: &str) -> Result<C, String> {
        let chosen = C::WORDS.iter().find(|(word, _)| *word == text);
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = C::WORDS.iter().map(|(word, _)| format!("`{word}`")).collect();
            format!("must be {}", words.join(" or "))
        })
    }

    fn show(value: &C) -> Option<String> {
        C::WORDS.iter().find(|(_, known)| known == value).map(|(word, _)| (*word).to_owned())
    }
}
