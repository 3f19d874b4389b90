//! A mapping that is being read: what is read is known, what is left is an unknown key.

use std::path::Path;
use std::sync::Arc;

use super::declare::Settings;
use super::diagnostic::{Diagnostic, Source, Span};
use super::form::Scalar;
use super::yaml::{Key, Node, Value};
use super::{Context, ValueKind};

/// A mapping that is being read.
pub struct Section<'c, 'a> {
    context: &'c Context<'a>,
    path: String,
    span: Span,
    members: &'c [(Key, Node)],
    known: Vec<&'static str>,
}

impl<'c, 'a> Section<'c, 'a> {
    /// Begins to read a mapping. Anything else is reported and read as an empty one.
    pub fn new(context: &'c Context<'a>, path: &str, node: &'c Node) -> Self {
        let members = match &node.value {
            Value::Map(members) => members.as_slice(),
            _ if node.is_null() => &[],
            _ => {
                let message = format!("`{path}` must be a mapping, not {}", node.kind());
                context.error(&node.span, message);
                &[]
            }
        };
        let span = node.span.clone();
        Self { context, path: path.to_owned(), span, members, known: Vec::new() }
    }

    /// A mapping in which nothing is set.
    pub fn empty(context: &'c Context<'a>) -> Self {
        let source = Source { name: String::new(), text: String::new() };
        let span = Span::start_of(&Arc::new(source));
        Self { context, path: String::new(), span, members: &[], known: Vec::new() }
    }

    /// Reads all keys; what is left then is unknown.
    #[must_use]
    pub fn read<S: Settings>(mut self) -> Option<S> {
        let read = S::read(&mut self);
        self.finish();
        read
    }

    /// The full name of a key of this section.
    #[must_use]
    pub fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The beginning of the section.
    #[must_use]
    pub const fn span(&self) -> &Span {
        &self.span
    }

    /// The place of a key's value; that of the section where it is not set.
    #[must_use]
    pub fn span_of(&self, key: &str) -> Span {
        let set = self.members.iter().find(|(own, _)| own.text == key);
        set.map_or_else(|| self.span.clone(), |(_, node)| node.span.clone())
    }

    /// The context, for findings.
    #[must_use]
    pub const fn context(&self) -> &'c Context<'a> {
        self.context
    }

    /// The folder that relative paths start from.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.span.source.folder()
    }

    /// The node of a key; `None` if it is not set, or set to null.
    pub fn node(&mut self, key: &'static str) -> Option<&'c Node> {
        self.node_or_null(key).filter(|node| !node.is_null())
    }

    /// The node of a key, also if it is set to null.
    pub fn node_or_null(&mut self, key: &'static str) -> Option<&'c Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.members.iter().find(|(own, _)| own.text == key).map(|(_, node)| node)
    }

    /// Reports that a key is not set.
    pub fn missing(&self, key: &str) {
        self.context.error(&self.span, format!("`{}` must be set", self.name(key)));
    }

    /// Reads a scalar at a key, or in its list; `None` after reporting what would be right.
    pub fn scalar<S: Scalar>(&self, key: &str, node: &Node) -> Option<S::Value> {
        let name = self.name(key);
        let value = match S::kind() {
            ValueKind::Secret => self.context.secret(&name, node, S::parse),
            ValueKind::Hash => self.context.hash(&name, node, S::parse),
            _ => self.context.scalar(&name, node, S::parse),
        };
        value.map(|value| S::within(value, node.span.source.folder()))
    }

    /// A key's list of nodes.
    pub fn items(&mut self, key: &'static str) -> Option<&'c [Node]> {
        let node = self.node(key)?;
        if let Value::List(items) = &node.value {
            return Some(items);
        }
        let message = format!("`{}` must be a list, not {}", self.name(key), node.kind());
        self.context.error(&node.span, message);
        None
    }

    /// One of a key's list as a section of its own.
    #[must_use]
    pub fn item(&self, key: &str, node: &'c Node) -> Self {
        Self::new(self.context, &self.name(&format!("{key}[]")), node)
    }

    /// A key's mapping as a section of its own; an empty one if it is not set.
    #[must_use]
    pub fn below(&mut self, key: &'static str) -> Self {
        let path = self.name(key);
        match self.node(key) {
            Some(node) => Self::new(self.context, &path, node),
            None => Self { path, span: self.span.clone(), ..Self::empty(self.context) },
        }
    }

    /// A key's mapping, whose keys the file chooses.
    pub fn members(&mut self, key: &'static str) -> &'c [(Key, Node)] {
        self.below(key).members
    }

    /// Ends the section: what was not read is unknown.
    pub fn finish(self) {
        for (key, value) in self.members {
            if self.known.contains(&key.text.as_str()) {
                continue;
            }
            let message = format!("unknown key `{}`", key.text);
            let diagnostic = Diagnostic::error(message, Some(key.span.clone()));
            let help = match nearest(&key.text, self.known.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            // It may be a secret, as it would be under the key that was meant.
            let diagnostic = match value.value {
                Value::Scalar { .. } => diagnostic.concealing(&value.span),
                Value::List(_) | Value::Map(_) => diagnostic,
            };
            self.context.report(diagnostic.help(help));
        }
    }
}

/// The known word that is most like an unknown one, if one is like it.
#[must_use]
pub fn nearest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    known
        .map(|known| (strsim::jaro_winkler(word, known), known))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}
