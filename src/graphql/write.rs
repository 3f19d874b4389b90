//! Writes values as a caller selected them: by copying what Move sent, each leaf checked against its type, with
//! nulls and errors propagated as the GraphQL specification says (section 6.4.4).

use super::answer::PlacedError;
use super::errors::{ApiError, Segment};
use super::plan::{Step, Steps, Writing, is_job};
use super::roots::JobEvent;
use crate::jobs::present::{self, Part};
use crate::jobs::{Owned, Page, Source};
use crate::json::{self, JsonRef, Kind, Member};
use crate::model::{ErrorCode, Tenant};
use crate::operation::{Leaf, Shape};
use crate::upstream::{Entity, FieldError, PathSegment};

/// Longest answer, in bytes: aliases can make it many times as long as what Move sent.
pub const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// A value that could not be written: its parent becomes null, if it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nulled;

/// The way to a value, in the answer's keys and in Move's names.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    at: At<'a>,
}

#[derive(Debug, Clone, Copy)]
enum At<'a> {
    /// An entity, below which Move's paths begin.
    Base(&'a Step),
    Field(&'a Step),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The way to a root field.
    #[must_use]
    pub const fn root(step: &'a Step) -> Self {
        Self { parent: None, at: At::Base(step) }
    }

    /// The way to an entity in an object of the gateway's.
    #[must_use]
    pub const fn base(&'a self, step: &'a Step) -> Self {
        Self { parent: Some(self), at: At::Base(step) }
    }

    const fn field(&'a self, step: &'a Step) -> Self {
        Self { parent: Some(self), at: At::Field(step) }
    }

    /// The way to an item of this list.
    #[must_use]
    pub const fn item(&'a self, index: usize) -> Self {
        Self { parent: Some(self), at: At::Index(index) }
    }

    fn steps(&'a self) -> Vec<At<'a>> {
        let mut steps: Vec<_> =
            std::iter::successors(Some(self), |path| path.parent).map(|path| path.at).collect();
        steps.reverse();
        steps
    }

    /// In the answer's keys.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        let segment = |at| match at {
            At::Base(step) | At::Field(step) => Segment::Key(step.key.clone()),
            At::Index(index) => Segment::Index(index),
        };
        self.steps().into_iter().map(segment).collect()
    }

    /// Returns true if Move's error is about this value or about something in it.
    fn is_told_by(&self, error: &FieldError) -> bool {
        let is_below = |at: &At<'_>| !matches!(at, At::Base(_));
        let own: Vec<_> = self.steps().into_iter().filter(is_below).collect();
        own.len() <= error.path.len()
            && own.iter().zip(&error.path).all(|(own, theirs)| match (own, theirs) {
                (At::Field(step), PathSegment::Field(name)) => *step.name == **name,
                (At::Index(index), PathSegment::Index(other)) => index == other,
                _ => false,
            })
    }

    fn position(&self) -> Option<crate::operation::Pos> {
        std::iter::successors(Some(self), |path| path.parent).find_map(|path| match path.at {
            At::Base(step) | At::Field(step) => step.origin.position(),
            At::Index(_) => None,
        })
    }
}

/// Writes one answer.
#[derive(Debug)]
pub struct Writer<'a> {
    /// The text that is written so far.
    pub out: Vec<u8>,
    /// The values that could not be written, and why.
    pub errors: Vec<PlacedError>,
    tenant: &'a Tenant,
    /// Move's errors about the root field that is written: they are told already.
    told: &'a [FieldError],
    is_over: bool,
}

/// The source of an object's values.
#[derive(Debug, Clone, Copy)]
enum Object<'a> {
    /// An entity whose owner was checked.
    Owned(&'a Owned),
    /// Anything below one.
    Part(JsonRef<'a>),
}

impl<'a> Object<'a> {
    fn json(self) -> JsonRef<'a> {
        match self {
            Self::Owned(entity) => entity.json(),
            Self::Part(json) => json,
        }
    }
}

impl<'a> Writer<'a> {
    /// Writes to this tenant.
    #[must_use]
    pub fn new(tenant: &'a Tenant) -> Self {
        // More than most jobs take.
        let out = Vec::with_capacity(2_048);
        Self { out, errors: Vec::new(), tenant, told: &[], is_over: false }
    }

    /// To whom it writes.
    #[must_use]
    pub const fn tenant(&self) -> &'a Tenant {
        self.tenant
    }

    /// From now on, what these errors of Move's tell is not told again.
    pub const fn begin_root(&mut self, told: &'a [FieldError]) {
        self.told = told;
        self.is_over = false;
    }

    /// Adds bytes, if there is room for them.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Nulled> {
        if self.out.len() + bytes.len() > MAX_ANSWER {
            self.is_over = true;
            return Err(Nulled);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Reports that a root field's value would be too large, if that is why it was given up.
    pub fn report_size(&mut self, root: &Step) {
        if self.is_over {
            let message = format!(
                "The answer would be larger than {} MiB. Select less, or fewer jobs a page.",
                MAX_ANSWER / 1024 / 1024
            );
            self.report(&Path::root(root), ErrorCode::OperationTooComplex, message);
        }
    }

    fn report(&mut self, path: &Path<'_>, code: ErrorCode, message: impl Into<String>) {
        self.failed(path, ApiError::new(code, message.into()));
    }

    fn failed(&mut self, path: &Path<'_>, api: ApiError) {
        let locations = path.position().into_iter().collect();
        self.errors.push(PlacedError { api, path: path.segments(), locations, cursor: None });
    }

    /// Reports what Move got wrong, if it did not tell it itself.
    fn malformed(&mut self, path: &Path<'_>, what: &str) -> Nulled {
        if !self.told.iter().any(|error| path.is_told_by(error)) {
            self.report(path, ErrorCode::UpstreamError, format!("Move's answer {what}."));
        }
        Nulled
    }

    /// Writes what `write` does or, where that fails and null is allowed, null.
    pub fn nullable(
        &mut self,
        is_nullable: bool,
        write: impl FnOnce(&mut Self) -> Result<(), Nulled>,
    ) -> Result<(), Nulled> {
        let start = self.out.len();
        let written = write(self);
        if written.is_ok() {
            return Ok(());
        }
        self.out.truncate(start);
        // What is too large stays so.
        if is_nullable && !self.is_over { self.raw(b"null") } else { Err(Nulled) }
    }

    /// Writes a list by its items.
    pub fn list<T>(
        &mut self,
        items: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Self, usize, T) -> Result<(), Nulled>,
    ) -> Result<(), Nulled> {
        self.raw(b"[")?;
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.raw(b",")?;
            }
            write(self, index, item)?;
        }
        self.raw(b"]")
    }

    /// Writes a job by a step whose value it is.
    pub fn entity(&mut self, step: &Step, entity: &Owned, path: &Path<'_>) -> Result<(), Nulled> {
        let object = Object::Owned(entity);
        match step.objects() {
            [steps] => self.object(steps, object, path),
            several => {
                let own = entity.kind().type_name();
                match several.iter().find(|steps| *steps.type_name == *own) {
                    Some(steps) => self.object(steps, object, path),
                    None => Err(self.malformed(path, "holds an object of an unknown type")),
                }
            }
        }
    }

    /// Writes what belongs to an entity that was checked.
    pub fn plain(&mut self, step: &Step, plain: &Entity, path: &Path<'_>) -> Result<(), Nulled> {
        match step.objects() {
            [steps] => self.object(steps, Object::Part(plain.json().root()), path),
            _ => Err(self.malformed(path, "holds an object of an unknown type")),
        }
    }

    /// Writes a page by the step of a listing.
    pub fn page(&mut self, step: &Step, page: &Page, path: &Path<'_>) -> Result<(), Nulled> {
        let [Steps { type_name, fields, .. }] = step.objects() else { return Err(Nulled) };
        self.raw(b"{")?;
        for (index, step) in fields.iter().enumerate() {
            self.key(step, index)?;
            let path = path.field(step);
            match &*step.name {
                "__typename" => self.text(type_name)?,
                "first" => self.raw(page.first.to_string().as_bytes())?,
                "after" => match &page.after {
                    Some(after) => self.text(after)?,
                    None => self.raw(b"null")?,
                },
                "totalCount" => match &page.total {
                    Some(Ok(total)) => self.raw(total.to_string().as_bytes())?,
                    Some(Err(error)) => {
                        self.failed(&path, error.clone().into());
                        self.raw(b"null")?;
                    }
                    None => self.raw(b"null")?,
                },
                "items" => self.list(page.items.iter(), |writer, index, item| {
                    let path = path.item(index);
                    writer.nullable(true, |writer| writer.entity(step, item, &path))
                })?,
                _ => self.raw(b"null")?,
            }
        }
        self.raw(b"}")
    }

    /// Writes an event by the step of a subscription.
    pub fn event(&mut self, step: &Step, event: &JobEvent, path: &Path<'_>) -> Result<(), Nulled> {
        let [Steps { type_name, fields, .. }] = step.objects() else { return Err(Nulled) };
        self.raw(b"{")?;
        for (index, step) in fields.iter().enumerate() {
            self.key(step, index)?;
            match &*step.name {
                "__typename" => self.text(type_name)?,
                name if is_job(name) => self.entity(step, &event.job, &path.base(step))?,
                _ => self.text(&event.cursor)?,
            }
        }
        self.raw(b"}")
    }

    /// Returns the text of the job that an event tells of, by the step of a subscription.
    pub fn text_of_job(tenant: &'a Tenant, step: &Step, event: &JobEvent) -> Vec<u8> {
        let mut writer = Self::new(tenant);
        let (steps, path) = (step.objects().iter().flat_map(|own| &own.fields), Path::root(step));
        for step in steps.filter(|step| is_job(&step.name)) {
            let _ = writer.entity(step, &event.job, &path.base(step));
        }
        writer.out
    }

    /// Writes a text as a JSON string.
    pub fn text(&mut self, text: &str) -> Result<(), Nulled> {
        self.raw(json::quoted(text).as_bytes())
    }

    fn key(&mut self, step: &Step, index: usize) -> Result<(), Nulled> {
        self.raw(if index > 0 { b",\"" } else { b"\"" })?;
        self.raw(step.key.as_bytes())?;
        self.raw(b"\":")
    }

    fn object(&mut self, steps: &Steps, object: Object<'_>, path: &Path<'_>) -> Result<(), Nulled> {
        self.raw(b"{")?;
        for (index, step) in steps.fields.iter().enumerate() {
            self.key(step, index)?;
            let path = path.field(step);
            match step.source {
                Source::Typename => {
                    self.raw(b"\"")?;
                    self.raw(steps.type_name.as_bytes())?;
                    self.raw(b"\"")?;
                }
                Source::Portal => {
                    let portal = self.tenant.client.portal.as_str();
                    self.text(portal)?;
                }
                Source::ClientMetadata => {
                    let metadata = &self.tenant.client.metadata;
                    self.text(metadata)?;
                }
                Source::Metadata => self.metadata(step, object, &path)?,
                Source::PercentageComplete => {
                    let progress = match object.json().member("progress") {
                        Member::One(progress) => progress.member(&step.name),
                        none_or_many => none_or_many,
                    };
                    self.member(step, progress, &path)?;
                }
                Source::Member => self.member(step, object.json().member(&step.name), &path)?,
            }
        }
        self.raw(b"}")
    }

    /// Writes an entity that stands inside one that was checked. Another tenant's is not there for this one.
    fn part_with_owner(
        &mut self,
        steps: &Steps,
        part: JsonRef<'_>,
        path: &Path<'_>,
    ) -> Result<(), Nulled> {
        match present::part(self.tenant, part) {
            Part::Shown => self.object(steps, Object::Part(part), path),
            Part::Foreign => Err(Nulled),
            Part::Unknown => Err(self.malformed(path, "does not tell whose an object is")),
        }
    }

    /// Writes the tenant's own value of a metadata.
    fn metadata(&mut self, step: &Step, object: Object<'_>, path: &Path<'_>) -> Result<(), Nulled> {
        if let Object::Owned(entity) = object {
            return match entity.shown_metadata() {
                Some(quoted) => self.raw(quoted.as_bytes()),
                None => self.raw(b"null"),
            };
        }
        match object.json().member(&step.name) {
            Member::One(json) if matches!(json.kind(), Kind::String | Kind::Escaped) => {
                match present::metadata_of(self.tenant, json) {
                    Some(shown) => self.text(&shown),
                    None => self.raw(b"null"),
                }
            }
            other => self.member(step, other, path),
        }
    }

    fn member(&mut self, step: &Step, member: Member<'_>, path: &Path<'_>) -> Result<(), Nulled> {
        let value = match member {
            Member::One(value) => Some(value),
            Member::Absent => None,
            Member::Repeated => {
                return self.nullable(step.shape.is_nullable(), |writer| {
                    Err(writer.malformed(path, "holds a member twice"))
                });
            }
        };
        self.value(step, &step.shape, value, path)
    }

    fn value(
        &mut self,
        step: &Step,
        shape: &Shape,
        value: Option<JsonRef<'_>>,
        path: &Path<'_>,
    ) -> Result<(), Nulled> {
        self.nullable(shape.is_nullable(), |writer| {
            let Some(value) = value.filter(|value| !value.is_null()) else {
                return if shape.is_nullable() {
                    writer.raw(b"null")
                } else {
                    Err(writer.malformed(path, "lacks a value that the schema promises"))
                };
            };
            match shape {
                Shape::One { .. } => writer.one(step, value, path),
                Shape::List { item, .. } if value.kind() == Kind::Array => writer
                    .list(value.items(), |writer, index, value| {
                        writer.value(step, item, Some(value), &path.item(index))
                    }),
                Shape::List { .. } => {
                    Err(writer.malformed(path, "holds no list where one belongs"))
                }
            }
        })
    }

    fn one(&mut self, step: &Step, value: JsonRef<'_>, path: &Path<'_>) -> Result<(), Nulled> {
        let steps = match &step.below {
            Writing::Leaf(leaf) => {
                return match wrong(leaf, value) {
                    None => self.raw(value.raw().as_bytes()),
                    Some(wrong) => Err(self.malformed(path, wrong)),
                };
            }
            _ if value.kind() != Kind::Object => {
                return Err(self.malformed(path, "holds no object where one belongs"));
            }
            Writing::Object(steps) => Some(steps),
            Writing::OneOf(objects) => {
                let name = value.text_of("__typename");
                objects.iter().find(|steps| name.as_deref() == Some(&*steps.type_name))
            }
        };
        match steps {
            Some(steps) if steps.has_owner => self.part_with_owner(steps, value, path),
            Some(steps) => self.object(steps, Object::Part(value), path),
            None => {
                Err(self.malformed(path, "holds an object of a type that the schema does not know"))
            }
        }
    }
}

/// Finds what is wrong with a value as a leaf, if anything is.
pub fn wrong(leaf: &Leaf, value: JsonRef<'_>) -> Option<&'static str> {
    let is_right = match (leaf, value.kind()) {
        (Leaf::Int, Kind::Integer) => value.raw().parse::<i32>().is_ok(),
        (Leaf::Float, Kind::Integer | Kind::Float)
        | (Leaf::Boolean, Kind::True | Kind::False)
        | (Leaf::Text, Kind::String | Kind::Escaped) => true,
        (Leaf::DateTime, Kind::String | Kind::Escaped) => {
            let text = value.text();
            if text.is_none_or(|text| text.parse::<jiff::Timestamp>().is_err()) {
                return Some("holds no time where one belongs");
            }
            true
        }
        (Leaf::Enum(values), Kind::String | Kind::Escaped) => {
            let text = value.text();
            if !values.iter().any(|known| text.as_deref() == Some(known.as_str())) {
                return Some("holds an enum value that the schema does not know");
            }
            true
        }
        _ => false,
    };
    (!is_right).then_some("holds a value of another type than the schema's")
}
