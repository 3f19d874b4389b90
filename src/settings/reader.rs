//! Walks a tree with typed readers: what is read is known, what is left is an unknown key. Every
//! problem becomes a diagnostic and reading goes on, so that all of them show at once.

use std::cell::RefCell;

use super::diagnostic::{Diagnostic, Diagnostics, Place, Severity};
use super::sources::Sources;
use super::yaml::{Key, Node, Value};

/// Which scalars may refer to a variable or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum References {
    /// All of them. What they refer to is the gateway's own.
    Everywhere,
    /// Secrets, and not to what is the gateway's own: the rest of the file is shown to tenants.
    InSecrets,
}

/// What readers share: where they read, and what they found.
pub struct Context<'a> {
    sources: &'a Sources<'a>,
    references: References,
    found: RefCell<Vec<Diagnostic>>,
    recording: Option<Recording>,
}

/// What readers asked for, and the blanks they were given.
struct Recording {
    reads: RefCell<Vec<Read>>,
    blank: (Key, Node),
}

/// A key that a reader knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Its full name; items of a list are below `name[]`.
    pub path: String,
    /// What it is read as.
    pub form: Form,
    /// Whether it must be set.
    pub is_required: bool,
}

/// What a key is read as. Scalars are told by what their parser says would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Anything.
    Any,
    /// One value.
    Scalar(String),
    /// A reference to a secret.
    Secret,
    /// A mapping whose keys the file chooses and whose values are references to secrets.
    Secrets {
        /// What the keys are.
        names: String,
    },
    /// A list of values.
    List(String),
    /// A list of mappings.
    Items,
    /// A mapping.
    Section,
    /// A mapping whose keys the file chooses.
    Members {
        /// What the keys are.
        names: Option<String>,
        /// What the values are lists of; `None` where they are mappings.
        values: Option<String>,
    },
}

impl<'a> Context<'a> {
    /// Nothing found yet. Each scalar may refer to a variable or a file.
    #[must_use]
    pub const fn new(sources: &'a Sources<'a>) -> Self {
        let references = References::Everywhere;
        Self { sources, references, found: RefCell::new(Vec::new()), recording: None }
    }

    /// The same where secrets alone may do so, and not to what gateway.yaml refers to.
    #[must_use]
    pub fn of_policies(sources: &'a Sources<'a>) -> Self {
        Self { references: References::InSecrets, ..Self::new(sources) }
    }

    /// Notes what is asked for, and gives blanks for it.
    #[must_use]
    pub fn recording(sources: &'a Sources<'a>, blank: (Key, Node)) -> Self {
        let recording = Recording { reads: RefCell::new(Vec::new()), blank };
        Self { recording: Some(recording), ..Self::new(sources) }
    }

    /// Everything that was asked for.
    #[must_use]
    pub fn reads(self) -> Vec<Read> {
        self.recording.map(|recording| recording.reads.into_inner()).unwrap_or_default()
    }

    fn note(&self, path: String, form: Form, is_required: bool) {
        let Some(recording) = &self.recording else { return };
        let mut reads = recording.reads.borrow_mut();
        match reads.iter_mut().find(|read| read.path == path) {
            // A reader may look at a key before it reads it.
            Some(known) if known.form == Form::Any => *known = Read { path, form, is_required },
            Some(_) => {}
            None => reads.push(Read { path, form, is_required }),
        }
    }

    /// Notes a finding.
    pub fn report(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    /// Notes a warning at a place.
    pub fn warning(&self, place: &Place, message: impl Into<String>) {
        self.report(Diagnostic::warning(message, Some(place.clone())));
    }

    /// Notes an error at a place.
    pub fn error(&self, place: &Place, message: impl Into<String>) {
        self.report(Diagnostic::error(message, Some(place.clone())));
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
            self.error(
                &node.place,
                format!("`{name}` must be a single value, not {}", node.kind()),
            );
            return None;
        };
        if self.references == References::InSecrets {
            if text.contains("${") {
                let message = format!("`{name}`: `${{…}}` is replaced in secrets alone");
                let problem = Diagnostic::error(message, Some(node.place.clone()));
                self.report(problem.help("write the value itself: tenants may see it"));
                return None;
            }
            return Some(text.clone());
        }
        match self.interpolate(text, &node.place) {
            Ok(text) => Some(text),
            Err(problem) => {
                self.error(&node.place, format!("`{name}`: {problem}"));
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
        let text = self.text(name, node)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(problem) => {
                // Not the text: it may be a secret.
                let message = format!("`{name}`: {problem}");
                self.report(Diagnostic::error(message, Some(node.place.clone())));
                None
            }
        }
    }

    /// Replaces `${NAME}` by a variable and `${file:path}` by a file's text without its last newline;
    /// the path is relative to the folder of the file it stands in.
    fn interpolate(&self, text: &str, place: &Place) -> Result<String, String> {
        let mut parts = text.split("${");
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').ok_or("`${` without `}`")?;
            whole.push_str(&self.referred(name, place)?);
            whole.push_str(rest);
        }
        Ok(whole)
    }

    /// What a reference refers to.
    fn referred(&self, name: &str, place: &Place) -> Result<String, String> {
        let path = name.strip_prefix("file:").map(|path| place.source.folder().join(path));
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

/// A mapping that is being read.
pub struct Section<'c, 'a> {
    context: &'c Context<'a>,
    path: String,
    place: Place,
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
                context
                    .error(&node.place, format!("`{path}` must be a mapping, not {}", node.kind()));
                &[]
            }
        };
        let place = node.place.clone();
        Self { context, path: path.to_owned(), place, members, known: Vec::new() }
    }

    /// The full name of a key of this section.
    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where the section begins.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// A key's node; `None` if it is not set, or set to null.
    pub fn node(&mut self, key: &'static str) -> Option<&'c Node> {
        self.known.push(key);
        if let Some(recording) = &self.context.recording {
            self.context.note(self.name(key), Form::Any, false);
            return Some(&recording.blank.1);
        }
        let (_, node) = self.members.iter().find(|(own, _)| own.text == key)?;
        (!node.is_null()).then_some(node)
    }

    /// A key's scalar, if it is set.
    pub fn get<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.note(key, Form::Scalar(wanted(&parse)), false);
        let node = self.node(key)?;
        self.context.scalar(&self.name(key), node, parse)
    }

    /// A key's scalar that must be set; `None` after reporting that it is not.
    pub fn need<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.note(key, Form::Scalar(wanted(&parse)), true);
        let Some(node) = self.node(key) else {
            self.missing(key);
            return None;
        };
        self.context.scalar(&self.name(key), node, parse)
    }

    fn missing(&self, key: &str) {
        self.context.error(&self.place, format!("`{}` must be set", self.name(key)));
    }

    /// A key's secret that must be set; see [`Section::secret`].
    pub fn need_secret<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.note(key, Form::Secret, true);
        if self.node(key).is_none() {
            self.missing(key);
        }
        self.secret(key, parse)
    }

    /// A key's secret, which must come from elsewhere: `${NAME}` or `${file:/path}`. Findings name
    /// its place and do not show the line.
    pub fn secret<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.note(key, Form::Secret, false);
        let node = self.node(key)?;
        self.reference(&self.name(key), node, parse)
    }

    /// A key's mapping, whose keys the file chooses and whose values are secrets; see
    /// [`Section::secret`].
    pub fn secrets<K, T>(
        &mut self,
        key: &'static str,
        parse_name: impl Fn(&str) -> Result<K, String>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<(K, T)> {
        self.note(key, Form::Secrets { names: wanted(&parse_name) }, false);
        let mut secrets = Vec::new();
        for (own, node) in self.members(key).unwrap_or_default() {
            let name = format!("{}.{}", self.name(key), own.text);
            let secret = self.reference(&name, node, &parse);
            match parse_name(&own.text) {
                Ok(own) => secrets.extend(secret.map(|secret| (own, secret))),
                Err(problem) => {
                    let message = format!("`{name}` at {}: {problem}", own.place);
                    self.context.report(Diagnostic::error(message, None));
                }
            }
        }
        secrets
    }

    fn reference<T>(
        &self,
        name: &str,
        node: &Node,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let report = |problem: &str| {
            let message = format!("`{name}` at {}: {problem}", node.place);
            self.context.report(Diagnostic::error(message, None));
        };
        let Value::Scalar { text, .. } = &node.value else {
            report("must be a single value");
            return None;
        };
        if !(text.starts_with("${") && text.ends_with('}')) {
            report("a secret does not stand in the file: write ${NAME} or ${file:/path}");
            return None;
        }
        match self.context.interpolate(text, &node.place).and_then(|text| parse(&text)) {
            Ok(secret) => Some(secret),
            Err(problem) => {
                report(&problem);
                None
            }
        }
    }

    /// A key's list, each item read by `parse`.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let items = self.placed_list(key, parse)?;
        Some(items.into_iter().map(|(item, _)| item).collect())
    }

    /// A key's list, each item read by `parse`, with its place.
    pub fn placed_list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<(T, Place)>> {
        self.note(key, Form::List(wanted(&parse)), false);
        let name = self.name(key);
        let read =
            |item: &Node| Some((self.context.scalar(&name, item, &parse)?, item.place.clone()));
        let items = self.items(key)?;
        Some(items.iter().filter_map(read).collect())
    }

    /// A key's list of nodes.
    pub fn items(&mut self, key: &'static str) -> Option<&'c [Node]> {
        self.note(key, Form::Items, false);
        let node = self.node(key)?;
        if self.context.recording.is_some() {
            return Some(std::slice::from_ref(node));
        }
        if let Value::List(items) = &node.value {
            return Some(items);
        }
        let message = format!("`{}` must be a list, not {}", self.name(key), node.kind());
        self.context.error(&node.place, message);
        None
    }

    /// A key's mapping as a section of its own; `None` if it is not set.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'c, 'a>> {
        self.note(key, Form::Section, false);
        let node = self.node(key)?;
        Some(Section::new(self.context, &self.name(key), node))
    }

    /// A key's mapping, whose keys the file chooses.
    pub fn members(&mut self, key: &'static str) -> Option<&'c [(Key, Node)]> {
        self.note(key, Form::Members { names: None, values: None }, false);
        let node = self.node(key)?;
        if let Some(recording) = &self.context.recording {
            return Some(std::slice::from_ref(&recording.blank));
        }
        Some(Section::new(self.context, &self.name(key), node).members)
    }

    /// Says what a key is read as, where its reader does not ask for it by a parser.
    pub fn note(&self, key: &'static str, form: Form, is_required: bool) {
        self.context.note(self.name(key), form, is_required);
    }

    /// Ends the section: what was not read is unknown.
    pub fn finish(self) {
        for (key, _) in self.members {
            if self.known.contains(&key.text.as_str()) {
                continue;
            }
            let message = format!("unknown key `{}`", key.text);
            let diagnostic = Diagnostic::error(message, Some(key.place.clone()));
            let help = match nearest(&key.text, self.known.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.context.report(diagnostic.help(help));
        }
    }
}

/// What a parser says would be right, asked with what nothing takes.
fn wanted<T>(parse: impl Fn(&str) -> Result<T, String>) -> String {
    parse("\0").err().unwrap_or_default()
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
