//! The normal form of an operation: what is left when its fragments are written out, `@skip` and `@include`
//! decided and equal keys merged. What is permitted, charged, recorded and executed is this one list.

use std::sync::atomic::{AtomicU64, Ordering};

use apollo_compiler::ast::{Type, Value};
use apollo_compiler::parser::{SourceMap, SourceSpan};
use apollo_compiler::schema::FieldDefinition;
use apollo_compiler::{Name, Node};

use super::error::Pos;
use crate::model::{Kind, RootField, Subscription};

/// An operation in its normal form.
#[derive(Debug)]
pub struct Form {
    /// Process-unique. Other caches use it as their key.
    pub id: FormId,
    /// Query or mutation.
    pub kind: Kind,
    /// The root fields, each key once, in the answer's order.
    pub roots: Vec<Root>,
    sources: SourceMap,
}

/// Names a form in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FormId(u64);

/// A root field.
#[derive(Debug)]
pub struct Root {
    /// The kind of the root field.
    pub asked: RootKind,
    /// Its key, its type and what is selected of it.
    pub field: Field,
    pub(super) arguments: Vec<Given>,
    pub(super) definition: Node<FieldDefinition>,
}

/// The kind of a root field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootKind {
    /// An operation of the Jobs API.
    Operation(RootField),
    /// A subscription.
    Subscription(Subscription),
    /// Entities by their keys, for a federated graph: to policy each is what the query of its kind does.
    Entities,
    /// The schema: `__schema` or `__type`.
    Introspection,
    /// The schema's definition, for a federated graph: `_service`.
    Service,
    /// `__typename`
    Typename,
}

/// An argument as it stands in the document.
#[derive(Debug)]
pub(super) struct Given {
    pub name: Name,
    pub value: Node<Value>,
}

/// A field of an answer.
#[derive(Debug)]
pub struct Field {
    /// Its key in the answer: the alias, or the name. A GraphQL name: nothing in it needs an escape in JSON.
    pub key: Name,
    /// Its name in the schema.
    pub name: Name,
    /// Lists and nulls.
    pub shape: Shape,
    /// The selection below it.
    pub below: Below,
    span: Option<SourceSpan>,
}

/// The origin of a field: where it stands in its document. Only an error tells it, so lines are counted then.
#[derive(Debug, Clone)]
pub struct Origin {
    span: Option<SourceSpan>,
    sources: SourceMap,
}

/// The places of lists and nulls in a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// The value itself.
    One {
        /// True if it may be null.
        nullable: bool,
    },
    /// A list.
    List {
        /// True if it may be null.
        nullable: bool,
        /// Its items.
        item: Box<Shape>,
    },
}

/// The selection below a field.
#[derive(Debug)]
pub enum Below {
    /// A scalar or an enum, whole.
    Leaf(Leaf),
    /// An object of a known type.
    Object(Object),
    /// An object that says its type itself: what is selected of each that it may be.
    OneOf(Vec<Object>),
    /// Introspection, which the library answers.
    Library,
}

/// The selection of an object.
#[derive(Debug)]
pub struct Object {
    /// Its type.
    pub type_name: Name,
    /// Its fields, each key once, in the answer's order.
    pub fields: Vec<Field>,
}

/// A scalar or an enum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// `Int`
    Int,
    /// `Float`
    Float,
    /// `Boolean`
    Boolean,
    /// `AWSDateTime`: a time as RFC 3339 writes it.
    DateTime,
    /// `String`, `ID` and the other scalars that are strings on the wire.
    Text,
    /// One of these.
    Enum(Box<[Name]>),
}

impl Form {
    pub(super) fn new(kind: Kind, roots: Vec<Root>, sources: SourceMap) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = FormId(NEXT.fetch_add(1, Ordering::Relaxed));
        Self { id, kind, roots, sources }
    }

    /// Returns a field's origin in the document; the first one, if several were merged.
    #[must_use]
    pub fn origin(&self, field: &Field) -> Origin {
        Origin { span: field.span, sources: SourceMap::clone(&self.sources) }
    }

    /// Returns the number of fields it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.roots.iter().map(|root| root.field.count()).sum()
    }
}

impl Root {
    /// Returns true if it is given an argument of that name.
    #[must_use]
    pub fn is_given(&self, argument: &str) -> bool {
        self.arguments.iter().any(|given| given.name == argument)
    }
}

impl Origin {
    /// Returns its place in the document.
    #[must_use]
    pub fn position(&self) -> Option<Pos> {
        Pos::from_span(self.span, &self.sources)
    }
}

impl Field {
    pub(super) const fn new(
        key: Name,
        name: Name,
        shape: Shape,
        below: Below,
        span: Option<SourceSpan>,
    ) -> Self {
        Self { key, name, shape, below, span }
    }

    /// Returns the selection of it, for each type that it may be of.
    #[must_use]
    pub fn objects(&self) -> &[Object] {
        match &self.below {
            Below::Leaf(_) | Below::Library => &[],
            Below::Object(object) => std::slice::from_ref(object),
            Below::OneOf(objects) => objects,
        }
    }

    /// Returns the number of fields it is, with those below it.
    #[must_use]
    pub fn count(&self) -> usize {
        let below = self.objects().iter().flat_map(|object| &object.fields);
        1 + below.map(Self::count).sum::<usize>()
    }
}

impl Shape {
    /// The shape of a type.
    #[must_use]
    pub fn from_type(ty: &Type) -> Self {
        let nullable = !ty.is_non_null();
        match ty {
            Type::Named(_) | Type::NonNullNamed(_) => Self::One { nullable },
            Type::List(item) | Type::NonNullList(item) => {
                Self::List { nullable, item: Box::new(Self::from_type(item)) }
            }
        }
    }

    /// Returns true if null may stand here.
    #[must_use]
    pub const fn is_nullable(&self) -> bool {
        match self {
            Self::One { nullable } | Self::List { nullable, .. } => *nullable,
        }
    }
}
