//! The context of reading a file: every problem becomes a diagnostic and reading goes on, so that all of
//! them show at once.

use std::cell::RefCell;

use super::diagnostic::{Diagnostic, Diagnostics, Severity, Span};
use super::sources::Sources;
use super::yaml::{Node, Value};

/// The scalars that may refer to a variable or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum References {
    /// All of them. What they refer to is the gateway's own.
    Everywhere,
    /// Secrets, and not to what is the gateway's own: the rest of the file is shown to tenants.
    InSecrets,
}

/// The state that readers share: their sources, and their findings.
pub struct Context<'a> {
    sources: &'a Sources<'a>,
    references: References,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'a> Context<'a> {
    /// Nothing found yet. Each scalar may refer to a variable or a file.
    #[must_use]
    pub const fn new(sources: &'a Sources<'a>) -> Self {
        let references = References::Everywhere;
        Self { sources, references, found: RefCell::new(Vec::new()) }
    }

    /// The same where secrets alone may do so, and not to what gateway.yaml refers to.
    #[must_use]
    pub fn of_policies(sources: &'a Sources<'a>) -> Self {
        Self { references: References::InSecrets, ..Self::new(sources) }
    }

    /// Notes a finding.
    pub fn report(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    /// Notes a warning at a place.
    pub fn warning(&self, span: &Span, message: impl Into<String>) {
        self.report(Diagnostic::warning(message, Some(span.clone())));
    }

    /// Notes an error at a place.
    pub fn error(&self, span: &Span, message: impl Into<String>) {
        self.report(Diagnostic::error(message, Some(span.clone())));
    }

    /// True once an error was noted.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Everything that was found, in the files' order, each finding once.
    #[must_use]
    pub fn finish(self) -> Diagnostics {
        Diagnostics::in_order(self.found.into_inner())
    }

    /// A scalar's text with `${NAME}` and `${file:/path}` replaced, where that may be; `None` after
    /// reporting why not.
    pub fn text(&self, name: &str, node: &Node) -> Option<String> {
        let Value::Scalar { text, .. } = &node.value else {
            self.error(&node.span, format!("`{name}` must be a single value, not {}", node.kind()));
            return None;
        };
        if self.references == References::InSecrets {
            if text.contains("${") {
                let message = format!("`{name}`: `${{…}}` is replaced in secrets alone");
                let problem = Diagnostic::error(message, Some(node.span.clone()));
                self.report(problem.help("write the value itself: tenants may see it"));
                return None;
            }
            return Some(text.clone());
        }
        match self.interpolate(text, &node.span) {
            Ok(text) => Some(text),
            Err(problem) => {
                self.error(&node.span, format!("`{name}`: {problem}"));
                None
            }
        }
    }

    /// A scalar read by `parse`, whose error says what would be right.
    pub fn scalar<T>(
        &self,
        name: &str,
        node: &Node,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        // A URL may hold a secret.
        self.parsed(name, node, parse, |text| text.contains(['@', '?']))
    }

    /// A scalar that is no secret itself and may be mistaken for one: a finding does not show it.
    pub fn hash<T>(
        &self,
        name: &str,
        node: &Node,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.parsed(name, node, parse, |_| true)
    }

    fn parsed<T>(
        &self,
        name: &str,
        node: &Node,
        parse: impl Fn(&str) -> Result<T, String>,
        is_concealed: impl Fn(&str) -> bool,
    ) -> Option<T> {
        let text = self.text(name, node)?;
        let report = |problem| {
            let message = format!("`{name}`: {problem}");
            let finding = Diagnostic::error(message, Some(node.span.clone()));
            self.report(if is_concealed(&text) { finding.concealed() } else { finding });
        };
        parse(&text).map_err(report).ok()
    }

    /// A secret, which must come from elsewhere: `${NAME}` or `${file:/path}`. Findings name its place and where it was
    /// read, and do not show the line.
    pub fn secret<T>(
        &self,
        name: &str,
        node: &Node,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let report = |problem: &str| {
            let message = format!("`{name}` at {}: {problem}", node.span);
            self.report(Diagnostic::error(message, None));
        };
        let Value::Scalar { text, .. } = &node.value else {
            report("must be a single value");
            return None;
        };
        if !(text.starts_with("${") && text.ends_with('}')) {
            report("a secret does not stand in the file: write ${NAME} or ${file:/path}");
            return None;
        }
        let parsed = self.interpolate(text, &node.span).and_then(|secret| {
            parse(&secret).map_err(|problem| format!("{problem}{}", origin(text, &node.span)))
        });
        match parsed {
            Ok(secret) => Some(secret),
            Err(problem) => {
                report(&problem);
                None
            }
        }
    }

    /// Replaces `${NAME}` by a variable and `${file:path}` by a file's text without its last newline;
    /// the path is relative to the folder of the file it stands in.
    fn interpolate(&self, text: &str, span: &Span) -> Result<String, String> {
        let mut parts = text.split("${");
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').ok_or("`${` without `}`")?;
            whole.push_str(&self.referred(name, span)?);
            whole.push_str(rest);
        }
        Ok(whole)
    }

    /// Reads the target of a reference.
    fn referred(&self, name: &str, span: &Span) -> Result<String, String> {
        let path = name.strip_prefix("file:").map(|path| span.source.folder().join(path));
        let reference = path
            .as_ref()
            .map_or_else(|| name.to_owned(), |path| format!("file:{}", path.display()));
        match self.references {
            References::Everywhere => self.sources.reserve(&reference),
            // Whoever writes a policy chooses where the secret is sent.
            References::InSecrets if self.sources.is_reserved(&reference) => {
                return Err(format!("{name} is the gateway's own: gateway.yaml uses it"));
            }
            References::InSecrets => {}
        }
        match path {
            Some(path) => match self.sources.text(&path) {
                Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => Err(format!("cannot read the file {}: {error}", path.display())),
            },
            None if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
                Err("`${…}` holds the name of a variable, of letters, digits and _ alone"
                    .to_owned())
            }
            None => {
                self.sources.variable(name).ok_or_else(|| format!("the variable {name} is not set"))
            }
        }
    }

    /// A tree as JSON: plain scalars by YAML's core schema, texts with `${…}` replaced.
    pub fn json(&self, name: &str, node: &Node) -> Option<serde_json::Value> {
        Some(match &node.value {
            Value::Scalar { plain: true, .. } if node.is_null() => serde_json::Value::Null,
            Value::Scalar { plain: true, text } if matches!(text.as_str(), "true" | "false") => {
                (text == "true").into()
            }
            Value::Scalar { text, plain } => {
                let number = text.parse::<serde_json::Number>().ok().filter(|_| *plain);
                match number {
                    Some(number) => number.into(),
                    None => self.text(name, node)?.into(),
                }
            }
            Value::List(items) => {
                items.iter().map(|item| self.json(name, item)).collect::<Option<Vec<_>>>()?.into()
            }
            Value::Map(members) => members
                .iter()
                .map(|(key, value)| Some((key.text.clone(), self.json(name, value)?)))
                .collect::<Option<serde_json::Map<_, _>>>()?
                .into(),
        })
    }
}

/// Tells where a secret came from that is only a reference; nothing of one that is put together.
fn origin(reference: &str, span: &Span) -> String {
    let name = reference.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let name = name.filter(|name| !name.contains("${"));
    match name.map(|name| (name, name.strip_prefix("file:"))) {
        Some((_, Some(path))) => {
            format!(" (it was read from {})", span.source.folder().join(path).display())
        }
        Some((name, None)) => format!(" (it is the variable {name})"),
        None => String::new(),
    }
}
