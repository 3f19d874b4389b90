//! Forms that policies alone have.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{FieldCoordinate, Group, Namespace, Rate, RootField, RootFields, TenantId};
use crate::scalars;
use crate::settings::forms::hidden;
use crate::settings::{
    Context, DeclaredKey, Diagnostic, Form, KeyText, Keys, Node, Section, Value, ValueKind,
    nearest, values,
};

scalars! {
    /// The name of a tenant.
    TenantName(TenantId): ValueKind::Word, |text| named(TenantId::parse(text)), hidden;
    /// The name of a namespace.
    NamespaceName(Namespace): ValueKind::Word, |text| named(Namespace::parse(text)), hidden;
    /// A point in time (RFC 3339).
    Expiry(Timestamp): ValueKind::Word, values::parsed("a time such as 2030-01-01T00:00:00Z"), hidden;
    /// A type and its field.
    Coordinate(FieldCoordinate): ValueKind::Word, coordinate, hidden;
}

fn named<T, E: ToString>(name: Result<T, E>) -> Result<T, String> {
    name.map_err(|error| error.to_string())
}

fn coordinate(text: &str) -> Result<FieldCoordinate, String> {
    let is_name = |name: &str| {
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty()
    };
    match text.split_once('.') {
        Some((type_name, field)) if is_name(type_name) && is_name(field) => {
            Ok(FieldCoordinate { type_name: type_name.to_owned(), field: field.to_owned() })
        }
        _ => Err("must be a type and its field, such as File.thumbnailUrl".to_owned()),
    }
}

/// A list of operations and groups of them; `"*"` is [`RootFields::STAR`]. One that is null holds none.
#[derive(Debug)]
pub enum Operations {}

impl Operations {
    /// The root fields and the groups of them, by name.
    fn names() -> impl Iterator<Item = &'static str> {
        let groups = Group::ALL.into_iter().map(Group::name);
        RootField::ALL.into_iter().map(RootField::name).chain(groups)
    }

    /// The words that an item may be.
    fn words() -> Vec<&'static str> {
        Self::names().chain(["*"]).collect()
    }

    fn of_items(context: &Context<'_>, name: &str, items: &[Node]) -> RootFields {
        let mut fields = RootFields::NONE;
        for item in items {
            let Some(text) = context.text(name, item) else { continue };
            if text == "*" {
                fields = fields.union(RootFields::STAR);
            } else if let Some(group) = Group::from_name(&text) {
                fields = fields.union(group.fields());
            } else if let Some(field) = RootField::from_name(&text) {
                fields = fields.union([field].into_iter().collect());
            } else {
                let message = format!("unknown operation `{text}`");
                let problem = Diagnostic::error(message, Some(item.span.clone()));
                context.report(match nearest(&text, Self::names()) {
                    Some(known) => problem.help(format!("did you mean `{known}`?")),
                    None => problem.help("`\"*\"` is nearly all of them"),
                });
            }
        }
        fields
    }
}

impl Form for Operations {
    type Value = RootFields;

    fn kind() -> ValueKind {
        ValueKind::List(Box::new(ValueKind::OneOf(Self::words())))
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        default: Option<RootFields>,
    ) -> Option<RootFields> {
        let Some(node) = section.node_or_null(key) else { return default };
        if node.is_null() {
            return Some(RootFields::NONE);
        }
        let name = section.name(key);
        let items = section.items(key);
        items.map_or(default, |items| Some(Self::of_items(section.context(), &name, items)))
    }

    fn show(fields: &RootFields) -> Option<String> {
        let names: Vec<_> = fields.iter().map(RootField::name).collect();
        Some(format!("[{}]", names.join(", ")))
    }
}

/// A mapping of scopes to the operations they grant.
#[derive(Debug)]
pub enum Scopes {}

impl Form for Scopes {
    type Value = Vec<(String, RootFields)>;

    fn kind() -> ValueKind {
        let (names, values) = (Box::new(ValueKind::Text), Box::new(Operations::kind()));
        ValueKind::Members { names, values }
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        _: Option<Self::Value>,
    ) -> Option<Self::Value> {
        let mut scopes = Vec::new();
        for (scope, node) in section.members(key) {
            if let Value::List(items) = &node.value {
                let granted = Operations::of_items(section.context(), key, items);
                scopes.push((scope.text.clone(), granted));
            } else {
                section.context().error(&node.span, "a scope grants a list of operations");
            }
        }
        Some(scopes)
    }

    fn unset() -> Option<Self::Value> {
        Some(Vec::new())
    }

    fn show(_: &Self::Value) -> Option<String> {
        None
    }
}

/// A rate and a burst; null is no limit.
#[derive(Debug)]
pub enum Limit {}

impl Limit {
    /// Reads a limit that is set.
    fn of(mut section: Section<'_, '_>, default: Option<Rate>) -> Option<Rate> {
        let rate = RateForm::read(&mut section, "rate", default.map(|rate| (rate.units, rate.per)));
        let burst = section.node("burst").map(|node| section.scalar::<Burst>("burst", node));
        section.finish();
        let (units, per) = rate?;
        let by_default = default.map_or(units, |rate| rate.burst);
        Some(Rate { units, per, burst: burst.flatten().unwrap_or(by_default) })
    }
}

scalars! {
    /// Units in a time.
    RateForm((NonZeroU32, Duration)): ValueKind::Rate, values::rate, hidden;
    /// Units that may be spent at once.
    Burst(NonZeroU32): ValueKind::Number(1), values::burst, NonZeroU32::to_string;
}

impl Form for Limit {
    type Value = Option<Rate>;

    fn kind() -> ValueKind {
        ValueKind::Section
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        default: Option<Self::Value>,
    ) -> Option<Self::Value> {
        let default = default.flatten();
        Some(match section.node_or_null(key) {
            None => default,
            Some(node) if node.is_null() => None,
            Some(_) => Self::of(section.below(key), default),
        })
    }

    fn unset() -> Option<Self::Value> {
        Some(None)
    }

    fn show(_: &Self::Value) -> Option<String> {
        None
    }

    fn declare(keys: &mut Keys, key: KeyText, default: Option<Self::Value>) {
        declare_limit(keys, key, ValueKind::Section, default.flatten());
    }
}

/// Tells the two keys of a limit.
fn declare_limit(keys: &mut Keys, key: KeyText, kind: ValueKind, default: Option<Rate>) {
    let section = DeclaredKey {
        path: String::new(),
        kind,
        is_required: false,
        default: String::new(),
        meaning: key.meaning,
    };
    let or_words = |value: Option<String>, words: &str| match (value, key.words) {
        (Some(value), _) => format!("`{value}`"),
        (None, "") => words.to_owned(),
        (None, own) => own.to_owned(),
    };
    let (rate, burst) = (default.map(|r| r.to_string()), default.map(|r| r.burst.to_string()));
    let rate = DeclaredKey {
        kind: ValueKind::Rate,
        is_required: default.is_none(),
        default: or_words(rate, "none"),
        ..section.clone()
    };
    let burst = DeclaredKey {
        kind: ValueKind::Number(1),
        default: or_words(burst, "as many units as `rate` names"),
        meaning: "Units at once, 1,000,000 at most.",
        ..section.clone()
    };
    keys.add(key.name, section);
    keys.below(key.name, |keys| {
        keys.add("rate", rate);
        keys.add("burst", burst);
    });
}

/// A mapping of operations to their limits.
#[derive(Debug)]
pub enum OperationLimits {}

impl Form for OperationLimits {
    type Value = Vec<(RootField, Rate)>;

    fn kind() -> ValueKind {
        let names = ValueKind::OneOf(RootField::ALL.into_iter().map(RootField::name).collect());
        ValueKind::Members { names: Box::new(names), values: Box::new(ValueKind::Section) }
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        _: Option<Self::Value>,
    ) -> Option<Self::Value> {
        let (context, name) = (section.context(), section.name(key));
        let mut limits = Vec::new();
        for (operation, node) in section.members(key) {
            let rate = Limit::of(Section::new(context, &name, node), None);
            if let Some(field) = RootField::from_name(&operation.text) {
                limits.extend(rate.map(|rate| (field, rate)));
            } else {
                let message = format!("unknown operation `{}`", operation.text);
                context.error(&operation.span, message);
            }
        }
        Some(limits)
    }

    fn unset() -> Option<Self::Value> {
        Some(Vec::new())
    }

    fn show(_: &Self::Value) -> Option<String> {
        None
    }

    fn declare(keys: &mut Keys, key: KeyText, _: Option<Self::Value>) {
        declare_limit(keys, key, Self::kind(), None);
    }
}
