//! Wrappers for what an answer of Move may lack or get wrong.

use std::borrow::Cow;

use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::{
    ContextSelectionSet, InputType, OutputType, Positioned, ServerError, ServerResult, Value,
};
use serde::{Deserialize, Serialize};

/// A field that the schema promises (`T!`). It is absent where nobody selected it; selected and
/// absent is a fault of the upstream's answer, and an error of that field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Required<T>(Option<T>);

impl<T> Required<T> {
    /// The value, if it was selected.
    pub const fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }

    /// The value to change, if it was selected.
    pub const fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()
    }
}

impl<T> Default for Required<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> From<T> for Required<T> {
    fn from(value: T) -> Self {
        Self(Some(value))
    }
}

impl<'a, T> From<&'a Required<T>> for Option<&'a T> {
    fn from(required: &'a Required<T>) -> Self {
        required.get()
    }
}

/// What Move's answer got wrong, as the source of a field's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A promised value is missing.
    #[error("Move's answer lacks a value that the schema promises.")]
    Missing,
    /// An enum's value is none of the schema's.
    #[error("Move's answer holds an enum value that the schema does not know.")]
    UnknownEnumValue,
}

fn malformed(fault: Malformed, field: &Positioned<Field>) -> ServerError {
    let mut error = ServerError::new(fault.to_string(), Some(field.pos));
    error.source = Some(std::sync::Arc::new(fault));
    error
}

impl<T: OutputType> OutputType for Required<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        match &self.0 {
            Some(value) => value.resolve(ctx, field).await,
            None => Err(ctx.set_error_path(malformed(Malformed::Missing, field))),
        }
    }
}

/// An enum's value in an answer: Move may add values that this schema does not have yet. Such a
/// value is an error of its own field and spoils nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MaybeKnown<E> {
    /// One of the schema's values.
    Known(E),
    /// Any other, as it came.
    Unknown(String),
}

impl<E: OutputType + InputType> OutputType for MaybeKnown<E> {
    fn type_name() -> Cow<'static, str> {
        <E as OutputType>::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <E as OutputType>::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        match self {
            Self::Known(value) => value.resolve(ctx, field).await,
            Self::Unknown(_) => {
                Err(ctx.set_error_path(malformed(Malformed::UnknownEnumValue, field)))
            }
        }
    }
}
