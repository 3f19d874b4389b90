//! Findings in a file, each with its place: compiler-style.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The beginning of the keys that the gateway makes, by which scanners for leaked secrets find one.
pub const KEY_PREFIX: &str = "jgw_";

/// A file that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path as it is shown.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// The folder that relative paths in the file start from.
    #[must_use]
    pub fn folder(&self) -> &Path {
        Path::new(&self.name).parent().unwrap_or(Path::new(""))
    }
}

/// A stretch of one line in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub source: Arc<Source>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The characters it covers on that line; at least 1.
    pub width: usize,
}

impl Span {
    /// The beginning of a file.
    #[must_use]
    pub fn start_of(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), line: 1, column: 1, width: 1 }
    }

    /// Returns true if both are the same place.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source, &other.source)
            && (self.line, self.column) == (other.line, other.column)
    }
}

/// `file:line:column`
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.name, self.line, self.column)
    }
}

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a look; nothing stops.
    Warning,
    /// Stops a start or a reload.
    Error,
}

/// One finding.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// The severity of a finding.
    pub severity: Severity,
    /// The problem.
    pub message: String,
    /// Its place, if it has one.
    pub span: Option<Span>,
    /// A hint at what would be right, shown under the place.
    pub help: Option<String>,
    /// A stretch of the same line that may be a secret: it is not shown.
    pub conceals: Option<Span>,
}

impl Diagnostic {
    /// An error at a place.
    #[must_use]
    pub fn error(message: impl Into<String>, span: Option<Span>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span,
            help: None,
            conceals: None,
        }
    }

    /// A warning at a place.
    #[must_use]
    pub fn warning(message: impl Into<String>, span: Option<Span>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message, span) }
    }

    /// With what stands at its place concealed.
    #[must_use]
    pub fn concealed(self) -> Self {
        Self { conceals: self.span.clone(), ..self }
    }

    /// With another stretch of its line concealed.
    #[must_use]
    pub fn concealing(self, stretch: &Span) -> Self {
        Self { conceals: Some(stretch.clone()), ..self }
    }

    /// With words on what would be right.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{severity}: {}", self.message)?;
        let help = self.help.as_deref().unwrap_or_default();
        let Some(span) = &self.span else {
            return if help.is_empty() { Ok(()) } else { writeln!(f, "  = help: {help}") };
        };
        let number = span.line.to_string();
        let margin = " ".repeat(number.len());
        let line = span.source.text.lines().nth(span.line - 1).unwrap_or_default();
        let line =
            without_secrets(line, self.conceals.as_ref().filter(|hidden| hidden.line == span.line));
        let (before, carets) = (" ".repeat(span.column - 1), "^".repeat(span.width.max(1)));
        writeln!(f, "{margin}--> {span}")?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {line}")?;
        writeln!(f, "{}", format!("{margin} | {before}{carets} {help}").trim_end())
    }
}

/// Findings, in the order of the files. Holds at least one error where it is returned as one.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// In the order of files and lines. A finding in the defaults is met by every tenant and told
    /// once.
    #[must_use]
    pub fn in_order(mut found: Vec<Diagnostic>) -> Self {
        let key = |diagnostic: &Diagnostic| {
            let span = diagnostic.span.as_ref();
            span.map(|span| (span.source.name.clone(), span.line, span.column))
        };
        found.sort_by_key(key);
        found.dedup_by(|one, other| one.message == other.message && key(one) == key(other));
        Self(found)
    }

    /// Returns true if any of them stops a start.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Counts those of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|diagnostic| writeln!(f, "{diagnostic}"))
    }
}

impl std::error::Error for Diagnostics {}

/// A line with a `*` in the place of each character of keys, of what stands in URLs before an `@` and behind a `?`, and
/// of a stretch of it.
fn without_secrets(line: &str, stretch: Option<&Span>) -> String {
    let mut secrets: Vec<Range<usize>> = Vec::new();
    for (at, _) in line.match_indices(KEY_PREFIX) {
        let is_of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let length = line[at..].find(|c| !is_of_key(c)).unwrap_or(line.len() - at);
        secrets.push(at..at + length);
    }
    let is_end = |c: char| c.is_whitespace() || "\"',{}[]".contains(c);
    let mut at = 0;
    for word in line.split_inclusive(is_end) {
        let scheme = word.find("://").map(|at| at + 3).or_else(|| word.find(':').map(|at| at + 1));
        if let (Some(from), Some(to)) = (scheme, word.rfind('@')) {
            secrets.push(at + from..at + to);
        }
        if let Some(query) = word.find('?') {
            secrets.push(at + query + 1..at + word.trim_end_matches(is_end).len());
        }
        at += word.len();
    }
    let stretch = stretch.map_or(0..0, |span| span.column - 1..span.column - 1 + span.width);
    let shown = line.char_indices().enumerate().map(|(n, (at, c))| {
        let is_secret = stretch.contains(&n) || secrets.iter().any(|secret| secret.contains(&at));
        if is_secret { '*' } else { c }
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_shows_no_key_and_no_password_and_is_as_long_as_the_line() {
        for (line, shown) in [
            ("key: jgw_acme-01_Ab, id: ü", "key: **************, id: ü"),
            ("a: jgw_1 # jgw_2", "a: ***** # *****"),
            ("proxy: http://n\u{fc}:p@s/s@proxy.test", "proxy: http://********@proxy.test"),
            ("url: {a: 'redis//:pw@a.test?b=c'}", "url: {a: 'redis//:**@a.test?***'}"),
            ("url: 'https://a.test/x' # to@b.test", "url: 'https://a.test/x' # to@b.test"),
        ] {
            assert_eq!(without_secrets(line, None), shown);
        }
        let source = Arc::new(Source { name: "a.yaml".into(), text: "ü: 1234567 # b".into() });
        let span = Span { source, line: 1, column: 4, width: 7 };
        let told = Diagnostic::error("no", Some(span)).concealed().to_string();
        assert!(told.contains("ü: ******* # b") && !told.contains("1234"), "{told}");
    }
}
