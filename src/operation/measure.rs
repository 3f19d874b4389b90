//! Measures a parsed document with its fragments expanded, without expanding them.

use std::collections::HashMap;

use apollo_compiler::ast::{Definition, Document, FragmentDefinition, Selection};

use super::Error;
use crate::settings;
use crate::settings::forms::Whole;

settings! {
    /// The largest GraphQL request, whoever sends it.
    #[derive(Eq)]
    pub struct Limits: Default {
        /// Levels of fields of one request; introspection does not count.
        depth: Whole<u64> = 15,
        /// Fields under an alias, fragments expanded.
        aliases: Whole<u64> = 30,
        /// Root fields, fragments expanded.
        root_fields: Whole<u64> = 20,
        /// Lexical tokens; also the most fields a document may expand to.
        tokens: Whole<u64> = 2000,
        /// Jobs that one request may ask for by `_entities`, each of which costs what a `getJob` costs.
        representations: Whole<u64> = 100,
        /// Directives, fragments expanded.
        directives: Whole<u64> = 20,
    }
}

/// The number of times a list may nest in an introspection: a list of types with their fields with their
/// arguments is three. Each level more multiplies the answer by the size of the schema.
const MAX_INTROSPECTION_LISTS: u64 = 3;

/// Refuses a document of which any operation is over a limit.
pub fn check(document: &Document, limits: &Limits) -> Result<(), Error> {
    let mut fragments = HashMap::new();
    for definition in &document.definitions {
        if let Definition::FragmentDefinition(fragment) = definition {
            fragments.insert(fragment.name.as_str(), &**fragment);
        }
    }
    let mut measuring = Measuring { fragments, known: HashMap::new() };
    for definition in &document.definitions {
        let Definition::OperationDefinition(operation) = definition else { continue };
        let mut size = measuring.selection(&operation.selection_set)?;
        size.directives += operation.directives.len() as u64;
        for variable in &operation.variables {
            size.directives += variable.directives.len() as u64;
        }
        for (what, got, max, set_by) in [
            ("levels", size.depth, limits.depth, Some("limits.depth")),
            ("aliases", size.aliases, limits.aliases, Some("limits.aliases")),
            ("root fields", size.own_fields, limits.root_fields, Some("limits.root_fields")),
            ("directives", size.directives, limits.directives, Some("limits.directives")),
            ("fields", size.fields, limits.tokens, Some("limits.tokens")),
            ("introspection lists in each other", size.lists, MAX_INTROSPECTION_LISTS, None),
        ] {
            if got > max {
                return Err(Error::TooComplex { what, got, max, set_by });
            }
        }
    }
    Ok(())
}

/// The size of a selection set with its fragments expanded.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    own_fields: u64,
    fields: u64,
    aliases: u64,
    directives: u64,
    depth: u64,
    lists: u64,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.own_fields = self.own_fields.saturating_add(other.own_fields);
        self.fields = self.fields.saturating_add(other.fields);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
        self.depth = self.depth.max(other.depth);
        self.lists = self.lists.max(other.lists);
    }
}

struct Measuring<'a> {
    fragments: HashMap<&'a str, &'a FragmentDefinition>,
    /// A fragment is measured once; `None` while it is being measured.
    known: HashMap<&'a str, Option<Size>>,
}

impl<'a> Measuring<'a> {
    fn selection(&mut self, items: &'a [Selection]) -> Result<Size, Error> {
        let mut size = Size::default();
        for item in items {
            match item {
                Selection::Field(field) => {
                    size.directives += field.directives.len() as u64;
                    let name = field.name.as_str();
                    let mut below = self.selection(&field.selection_set)?;
                    below.own_fields = 1;
                    below.fields = below.fields.saturating_add(1);
                    below.aliases = below.aliases.saturating_add(field.alias.is_some().into());
                    below.depth =
                        if matches!(name, "__schema" | "__type") { 0 } else { below.depth + 1 };
                    below.lists += u64::from(is_introspection_list(name));
                    size.add(below);
                }
                Selection::InlineFragment(fragment) => {
                    size.directives += fragment.directives.len() as u64;
                    size.add(self.selection(&fragment.selection_set)?);
                }
                Selection::FragmentSpread(spread) => {
                    size.directives += spread.directives.len() as u64;
                    size.add(self.fragment(&spread.fragment_name)?);
                }
            }
        }
        Ok(size)
    }

    fn fragment(&mut self, name: &'a str) -> Result<Size, Error> {
        // An unknown fragment is validation's to name.
        let Some(fragment) = self.fragments.get(name).copied() else {
            return Ok(Size::default());
        };
        match self.known.get(name) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return Err(Error::FragmentCycle(name.to_owned())),
            None => {}
        }
        self.known.insert(name, None);
        let mut size = self.selection(&fragment.selection_set)?;
        size.directives += fragment.directives.len() as u64;
        self.known.insert(name, Some(size));
        Ok(size)
    }
}

/// The lists that lead from types to types. `inputFields` of this schema is one too; no field of
/// the Jobs types has such a name.
fn is_introspection_list(name: &str) -> bool {
    matches!(name, "fields" | "inputFields" | "interfaces" | "possibleTypes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Document {
        Document::parse(text, "test").expect("GraphQL")
    }

    fn refused(text: &str) -> Option<&'static str> {
        let document = parse(text);
        match check(&document, &Limits::default()) {
            Ok(()) => None,
            Err(Error::TooComplex { what, .. }) => Some(what),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn each_limit_is_named_when_it_is_passed() {
        let many = |one: &str, n: usize| format!("{{ {} }}", one.repeat(n));
        assert_eq!(refused(&many("getJob ", 20)), None);
        assert_eq!(refused(&many("getJob ", 21)), Some("root fields"));
        assert_eq!(refused(&format!("{{ a {} }}", many("x: id ", 31))), Some("aliases"));
        assert_eq!(refused(&format!("{{ a {} }}", many("id @x ", 21))), Some("directives"));
        let deep = format!("{}{}", "{ a ".repeat(16), "}".repeat(16));
        assert_eq!(refused(&deep), Some("levels"));
    }

    #[test]
    fn fragments_that_multiply_are_measured_at_once_and_refused() {
        let mut text = String::from("{ a { ...F0 } }");
        for i in 0..100 {
            text.push_str(&format!("fragment F{i} on T {{ ...F{n} ...F{n} }} ", n = i + 1));
        }
        text.push_str("fragment F100 on T { id }");
        assert_eq!(refused(&text), Some("fields"));
    }

    #[test]
    fn a_fragment_that_spreads_itself_is_refused_before_the_engine_follows_it() {
        let text = "{ a { ...F } } fragment F on T { ...G } fragment G on T { ...F ...F }";
        let document = parse(text);
        let refusal = check(&document, &Limits::default());
        assert!(matches!(refusal, Err(Error::FragmentCycle(_))), "{refusal:?}");
    }

    #[test]
    fn introspection_has_no_depth_but_its_lists_may_not_multiply() {
        let type_ref = format!("{}{}", "ofType { ".repeat(20), "} ".repeat(20)).replace("{ }", "");
        assert_eq!(
            refused(&format!(
                "{{ __schema {{ types {{ fields {{ type {{ {type_ref} }} }} }} }} }}"
            )),
            None
        );
        let nested = "fields { type { ".repeat(4) + "name" + &"} }".repeat(4);
        assert_eq!(
            refused(&format!("{{ __schema {{ types {{ {nested} }} }} }}")),
            Some("introspection lists in each other")
        );
    }
}
