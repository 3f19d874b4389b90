//! Keys as people and editors read about them.

use super::ValueKind;

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredKey {
    /// Its full name; items of a list are below `name[]`.
    pub path: String,
    /// The kind of its value.
    pub kind: ValueKind,
    /// False if it has a default.
    pub is_required: bool,
    /// The value that holds if it is not set, as Markdown; empty if none does.
    pub default: String,
    /// Its meaning.
    pub meaning: &'static str,
}

/// The keys that were declared so far.
#[derive(Debug, Default)]
pub struct Keys {
    path: String,
    pub(super) found: Vec<DeclaredKey>,
}

impl Keys {
    /// Adds one key.
    pub fn add(&mut self, name: &str, key: DeclaredKey) {
        let path = format!("{}{name}", self.path);
        self.found.push(DeclaredKey { path, ..key });
    }

    /// Adds keys below a name, such as `server` or `issuers[]`.
    pub fn below(&mut self, name: &str, declare: impl FnOnce(&mut Self)) {
        let above = self.path.len();
        self.path.push_str(&format!("{name}."));
        declare(self);
        self.path.truncate(above);
    }
}
