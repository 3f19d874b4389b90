//! Forms made of other forms: optional values, lists, mappings.

use std::marker::PhantomData;

use super::declare::Settings;
use super::form::{Form, KeyText, Scalar};
use super::keys::Keys;
use super::{Section, Span, ValueKind};

/// A key that may be left out.
#[derive(Debug)]
pub struct Optional<F>(PhantomData<F>);

impl<F: Form> Form for Optional<F> {
    type Value = Option<F::Value>;

    fn kind() -> ValueKind {
        F::kind()
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        default: Option<Self::Value>,
    ) -> Option<Self::Value> {
        let is_set = section.node(key).is_some();
        Some(if is_set { F::read(section, key, None) } else { default.flatten() })
    }

    fn unset() -> Option<Self::Value> {
        Some(None)
    }

    fn show(value: &Self::Value) -> Option<String> {
        value.as_ref().and_then(F::show)
    }

    fn below(keys: &mut Keys, name: &'static str) {
        F::below(keys, name);
    }
}

/// A list of values.
#[derive(Debug)]
pub struct List<S>(PhantomData<S>);

impl<S: Scalar> Form for List<S> {
    type Value = Vec<S::Value>;

    fn kind() -> ValueKind {
        ValueKind::List(Box::new(S::kind()))
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        default: Option<Self::Value>,
    ) -> Option<Self::Value> {
        let Some(items) = section.items(key) else { return default.or_else(Self::unset) };
        Some(items.iter().filter_map(|item| section.scalar::<S>(key, item)).collect())
    }

    fn unset() -> Option<Self::Value> {
        Some(Vec::new())
    }

    fn show(value: &Self::Value) -> Option<String> {
        let items: Vec<_> = value.iter().filter_map(S::show).collect();
        (!items.is_empty()).then(|| format!("[{}]", items.join(", ")))
    }
}

/// A list that has a value in it, where it is given: an empty list of what is allowed may mean nothing or anything.
#[derive(Debug)]
pub struct SomeOf<S>(PhantomData<S>);

impl<S: Scalar> Form for SomeOf<S> {
    type Value = Vec<S::Value>;

    fn kind() -> ValueKind {
        List::<S>::kind()
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        default: Option<Self::Value>,
    ) -> Option<Self::Value> {
        if section.items(key).is_some_and(<[_]>::is_empty) {
            let message =
                format!("`{}` is empty: name what is allowed, or leave it out", section.name(key));
            section.context().error(&section.span_of(key), message);
        }
        List::<S>::read(section, key, default)
    }

    fn unset() -> Option<Self::Value> {
        List::<S>::unset()
    }

    fn show(value: &Self::Value) -> Option<String> {
        List::<S>::show(value)
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub struct Spanned<S>(PhantomData<S>);

impl<S: Scalar> Form for Spanned<S> {
    type Value = (S::Value, Span);

    fn kind() -> ValueKind {
        S::kind()
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        default: Option<Self::Value>,
    ) -> Option<Self::Value> {
        let span = section.node(key).map(|node| node.span.clone());
        let (default, unset) = default.unzip();
        Some((S::read(section, key, default)?, span.or(unset)?))
    }

    fn show((value, _): &Self::Value) -> Option<String> {
        S::show(value)
    }
}

/// A list of values and where each stands.
#[derive(Debug)]
pub struct SpannedList<S>(PhantomData<S>);

impl<S: Scalar> Form for SpannedList<S> {
    type Value = Vec<(S::Value, Span)>;

    fn kind() -> ValueKind {
        List::<S>::kind()
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        default: Option<Self::Value>,
    ) -> Option<Self::Value> {
        let Some(items) = section.items(key) else { return default.or_else(Self::unset) };
        let read = |item| Some((section.scalar::<S>(key, item)?, item.span.clone()));
        Some(items.iter().filter_map(read).collect())
    }

    fn unset() -> Option<Self::Value> {
        Some(Vec::new())
    }

    fn show(value: &Self::Value) -> Option<String> {
        let items: Vec<_> = value.iter().filter_map(|(item, _)| S::show(item)).collect();
        (!items.is_empty()).then(|| format!("[{}]", items.join(", ")))
    }
}

/// A mapping with keys of its own. One that is not there has its keys' defaults.
#[derive(Debug)]
pub struct Sub<S>(PhantomData<S>);

impl<S: Settings> Form for Sub<S> {
    type Value = S;

    fn kind() -> ValueKind {
        ValueKind::Section
    }

    fn read(section: &mut Section<'_, '_>, key: &'static str, _: Option<S>) -> Option<S> {
        section.below(key).read()
    }

    fn show(_: &S) -> Option<String> {
        None
    }

    fn below(keys: &mut Keys, name: &'static str) {
        keys.below(name, S::declare);
    }

    fn differences((one, other): (&S, &S), path: &str, found: &mut Vec<String>) {
        one.differences(other, &format!("{path}."), found);
    }
}

/// Keys that stand in the mapping above.
#[derive(Debug)]
pub struct Flat<S>(PhantomData<S>);

impl<S: Settings> Form for Flat<S> {
    type Value = S;

    fn kind() -> ValueKind {
        ValueKind::Section
    }

    fn read(section: &mut Section<'_, '_>, _: &'static str, _: Option<S>) -> Option<S> {
        S::read(section)
    }

    fn show(_: &S) -> Option<String> {
        None
    }

    fn declare(keys: &mut Keys, _: KeyText, _: Option<S>) {
        S::declare(keys);
    }

    fn differences((one, other): (&S, &S), path: &str, found: &mut Vec<String>) {
        let above = path.rfind('.').map_or("", |at| &path[..=at]);
        one.differences(other, above, found);
    }
}

/// A list of mappings.
#[derive(Debug)]
pub struct Items<S>(PhantomData<S>);

/// One of a list of mappings.
#[derive(Debug, Clone, PartialEq)]
pub struct Item<S> {
    /// Its keys.
    pub settings: S,
    /// The place of its beginning.
    pub span: Span,
}

impl<S: Settings> Form for Items<S> {
    type Value = Vec<Item<S>>;

    fn kind() -> ValueKind {
        ValueKind::List(Box::new(ValueKind::Section))
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        _: Option<Self::Value>,
    ) -> Option<Self::Value> {
        let nodes = section.items(key).unwrap_or_default();
        let read = |node| {
            let settings = section.item(key, node).read()?;
            Some(Item { settings, span: node.span.clone() })
        };
        Some(nodes.iter().filter_map(read).collect())
    }

    fn unset() -> Option<Self::Value> {
        Some(Vec::new())
    }

    fn show(_: &Self::Value) -> Option<String> {
        None
    }

    fn below(keys: &mut Keys, name: &'static str) {
        keys.below(&format!("{name}[]"), S::declare);
    }
}
