//! YAML into a tree that knows where everything stands. Scalars stay text: a hash of digits is not
//! a number here, and each reader decides what it takes.

use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span as Stretch};

use super::diagnostic::{Diagnostic, Source, Span};

/// The deepest nesting of a file.
const MAX_DEPTH: usize = 32;

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// The place of its beginning.
    pub span: Span,
    /// Its value.
    pub value: Value,
}

/// A YAML value.
#[derive(Debug, Clone)]
pub enum Value {
    /// A scalar's text.
    Scalar {
        /// The text, quotes and escapes resolved.
        text: String,
        /// True if it stood without quotes, and so could also be a number, a boolean or null.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in its order.
    Map(Vec<(Key, Node)>),
}

/// A mapping's key.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its text.
    pub text: String,
    /// Its place.
    pub span: Span,
}

impl Node {
    /// Returns true if it is `null`, `~` or nothing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Returns true if it is a scalar of this text.
    #[must_use]
    pub fn is_scalar(&self, text: &str) -> bool {
        matches!(&self.value, Value::Scalar { text: own, .. } if own == text)
    }

    /// The value below these keys.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        let Value::Map(members) = &self.value else { return None };
        members.iter().find(|(key, _)| key.text == *first)?.1.at(rest)
    }

    /// Its kind, for a message.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.value {
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// `over` laid over `self`: mappings are merged key by key, everything else is replaced.
    #[must_use]
    pub fn merged_under(&self, over: &Self) -> Self {
        let (Value::Map(base), Value::Map(own)) = (&self.value, &over.value) else {
            return over.clone();
        };
        let mut merged = own.clone();
        for (key, value) in base {
            match merged.iter_mut().find(|(own, _)| own.text == key.text) {
                Some((_, own)) => *own = value.merged_under(own),
                None => merged.push((key.clone(), value.clone())),
            }
        }
        Self { span: over.span.clone(), value: Value::Map(merged) }
    }
}

/// Reads a file of one document. An empty file is an empty mapping.
///
/// # Errors
/// A place that is not YAML, or uses what configuration has no use for: anchors and several documents.
pub fn parse(source: &Arc<Source>) -> Result<Node, Diagnostic> {
    let mut events = Events { source, parser: Parser::new_from_str(&source.text) };
    let mut root = None;
    loop {
        match events.next()? {
            (Event::StreamEnd, _) => break,
            (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
            (_, span) if root.is_some() => {
                return Err(events.error("one document is expected", &span));
            }
            event => root = Some(events.node(event, 0)?),
        }
    }
    let empty = || Node { span: Span::start_of(source), value: Value::Map(Vec::new()) };
    Ok(root.filter(|node| !node.is_null()).unwrap_or_else(empty))
}

/// Advice on a line that is not YAML.
fn advice(problem: &str, line: &str) -> &'static str {
    if problem.contains("tab") {
        "YAML is indented with spaces: there is a tab here or in the next line"
    } else if line.contains("${") {
        "inside { } and [ ] a reference needs quotes: '${NAME}'"
    } else if line.contains("[*") || line.contains(": *") || line.contains("- *") {
        "a star needs quotes: \"*\""
    } else {
        "is this line, or the one before, indented like those it belongs to?"
    }
}

struct Events<'a> {
    source: &'a Arc<Source>,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Stretch), Diagnostic> {
        loop {
            match self.parser.next() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(event)) => return Ok(event),
                Some(Err(error)) => {
                    let (line, column) = (error.marker().line(), error.marker().col() + 1);
                    let (source, problem) = (Arc::clone(self.source), error.info());
                    let text = source.text.lines().nth(line.max(1) - 1).unwrap_or_default();
                    let help = advice(&problem, text);
                    let span = Span { source, line: line.max(1), column, width: 1 };
                    let problem = format!("not YAML: {problem}");
                    return Err(Diagnostic::error(problem, Some(span)).help(help));
                }
                None => {
                    let span = Span::start_of(self.source);
                    return Err(Diagnostic::error("the file breaks off", Some(span)));
                }
            }
        }
    }

    fn node(
        &mut self,
        (event, at): (Event<'a>, Stretch),
        depth: usize,
    ) -> Result<Node, Diagnostic> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deep", &at));
        }
        let span = self.span(&at);
        let value = match event {
            Event::Scalar(text, style, ..) => {
                Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        event => items.push(self.node(event, depth + 1)?),
                    }
                }
                Value::List(items)
            }
            Event::MappingStart(..) => Value::Map(self.members(depth)?),
            _ => return Err(self.error("anchors and aliases are not taken here", &at)),
        };
        Ok(Node { span, value })
    }

    fn members(&mut self, depth: usize) -> Result<Vec<(Key, Node)>, Diagnostic> {
        let mut members: Vec<(Key, Node)> = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(members),
                (Event::Scalar(text, ..), span) => {
                    Key { text: text.into_owned(), span: self.span(&span) }
                }
                (_, span) => return Err(self.error("a key must be a single value", &span)),
            };
            if members.iter().any(|(known, _)| known.text == key.text) {
                let message = format!("`{}` is set twice", key.text);
                return Err(Diagnostic::error(message, Some(key.span)));
            }
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            members.push((key, value));
        }
    }

    fn span(&self, at: &Stretch) -> Span {
        let (start, end) = (&at.start, &at.end);
        let width =
            if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
        Span {
            source: Arc::clone(self.source),
            line: start.line().max(1),
            column: start.col() + 1,
            width: width.max(1),
        }
    }

    fn error(&self, message: &str, at: &Stretch) -> Diagnostic {
        Diagnostic::error(message, Some(self.span(at)))
    }
}
