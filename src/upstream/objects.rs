//! Objects as Move sends them: its own JSON, with the few members that the gateway itself reads.

use std::borrow::Cow;

use super::field_error::{FieldError, PathSegment};
use crate::json::{Json, JsonRef, Kind, Member};
use crate::model::Progress;

/// An object that a root field of Move's can be read as.
pub trait Object: Sized {
    /// True if it is all of an answer's data, and not the value of one root field.
    const IS_WHOLE: bool = false;

    /// Takes an object as it came.
    fn of(json: Json) -> Self;
}

/// Several entities of one answer, each under an alias of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch(Json);

impl Object for Batch {
    const IS_WHOLE: bool = true;

    fn of(json: Json) -> Self {
        Self(json)
    }
}

impl Batch {
    /// The alias of the entity that was asked for at a place.
    #[must_use]
    pub fn alias(index: usize) -> String {
        format!("e{index}")
    }

    /// The entity that was asked for at a place, if Move sent it.
    #[must_use]
    pub fn entity(&self, index: usize) -> Option<Entity> {
        let entity = self.0.root().get(&Self::alias(index))?;
        (entity.kind() == Kind::Object).then(|| Entity(entity.to_json()))
    }

    /// Returns the place of the entity that an error names, if it names one.
    #[must_use]
    pub fn place(error: &FieldError) -> Option<usize> {
        let PathSegment::Field(alias) = error.path.first()? else { return None };
        alias.strip_prefix('e')?.parse().ok()
    }

    /// The errors about it, with their paths below it; also those that name no place.
    pub fn errors_of(errors: &[FieldError], index: usize) -> impl Iterator<Item = FieldError> {
        let alias = Self::alias(index);
        errors.iter().filter_map(move |error| match error.path.as_slice() {
            [] => Some(error.clone()),
            [PathSegment::Field(name), below @ ..] if *name == alias => {
                Some(FieldError { path: below.to_vec(), ..error.clone() })
            }
            _ => None,
        })
    }
}

macro_rules! objects {
    ($($(#[$doc:meta])+ $name:ident;)+) => {
        $(
            $(#[$doc])+
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct $name(Json);

            impl $name {
                /// All of it.
                #[must_use]
                pub const fn json(&self) -> &Json {
                    &self.0
                }
            }

            impl Object for $name {
                fn of(json: Json) -> Self {
                    Self(json)
                }
            }
        )+
    };
}

objects! {
    /// An entity.
    Entity;
    /// A page of entities.
    EntityPage;
    /// A type of the schema, by introspection.
    Described;
}

impl Entity {
    /// Reads a text that Move sent as an entity before. `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let json = Json::parse(text).ok()?;
        (json.root().kind() == Kind::Object).then_some(Self(json))
    }

    /// Its id, if Move sent one.
    #[must_use]
    pub fn id(&self) -> Option<Cow<'_, str>> {
        self.0.root().text_of("id")
    }

    /// Its metadata: see [`metadata`].
    #[must_use]
    pub fn metadata(&self) -> Option<Cow<'_, str>> {
        metadata(self.0.root())
    }

    /// Returns the moment at which it was created, as Move writes it.
    #[must_use]
    pub fn created(&self) -> Option<Cow<'_, str>> {
        self.0.root().text_of("created")
    }

    /// Its state, as Move writes it.
    #[must_use]
    pub fn state(&self) -> Option<Cow<'_, str>> {
        self.0.root().text_of("state")
    }

    /// Every URL in it that may be signed and end: those of its files.
    #[must_use]
    pub fn signed_urls(&self) -> Vec<Cow<'_, str>> {
        let mut urls = Vec::new();
        signed_urls(self.0.root(), &mut urls);
        urls
    }

    /// The state of its progress, as Move writes it.
    #[must_use]
    pub fn progress(&self) -> Option<Cow<'_, str>> {
        self.0.root().get("progress")?.text_of("state")
    }

    /// The progress of the job, as far as Move was asked for it.
    #[must_use]
    pub fn job_progress(&self) -> Progress {
        let state = self.state().or_else(|| self.progress());
        let percent =
            self.json().root().get("progress").and_then(|own| own.get("percentageComplete"));
        let percent = percent.and_then(|percent| percent.raw().parse().ok());
        Progress { state: state.map(|state| state.into_owned().into()), percent }
    }

    /// The ids of the files that it holds itself: not those of what it refers to.
    #[must_use]
    pub fn file_ids(&self) -> Vec<Cow<'_, str>> {
        let root = self.0.root();
        let lists = ["outputs", "additionalFiles", "sources"].into_iter();
        let lists =
            lists.filter_map(|name| root.get(name)).filter(|list| list.kind() == Kind::Array);
        let files = lists.flat_map(JsonRef::items).filter_map(|item| object(item)?.get("file"));
        let files = files.chain(root.get("videoFile"));
        files.filter_map(|file| object(file)?.text_of("id")).collect()
    }

    /// The entity alone, without the rest of the answer that it came in.
    #[must_use]
    pub fn alone(&self) -> Self {
        Self(self.0.root().to_json())
    }
}

/// The place where a listing goes on after a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After<'a> {
    /// With the page of this cursor, JSON text.
    Cursor(Cow<'a, str>),
    /// Nowhere: this page is the last.
    Last,
    /// Move's answer does not say: the cursor is missing or no text.
    Lost,
}

impl EntityPage {
    /// Its items, null where Move sent none; nothing if there is no list.
    #[must_use]
    pub fn items(&self) -> Option<impl Iterator<Item = Option<Entity>>> {
        let items = self.0.root().get("items").filter(|items| items.kind() == Kind::Array)?;
        let entity =
            |item: JsonRef<'_>| (item.kind() == Kind::Object).then(|| Entity(self.0.part(item)));
        Some(items.items().map(entity))
    }

    /// Returns the place at which its listing goes on.
    #[must_use]
    pub fn after(&self) -> After<'_> {
        let after = match self.0.root().member("after") {
            Member::One(value) if value.is_null() => return After::Last,
            Member::One(value) => value.text(),
            Member::Absent | Member::Repeated => None,
        };
        match after {
            // AWSJSON's null.
            Some(text) if text == "null" => After::Last,
            Some(text) => After::Cursor(text),
            None => After::Lost,
        }
    }
}

/// The metadata of an object that Move was asked for: text, or null. What is missing, no text, or there twice reads
/// as a text that is no JSON, never as none: nobody may take such an object for one without an owner.
#[must_use]
pub fn metadata(object: JsonRef<'_>) -> Option<Cow<'_, str>> {
    match object.member("metadata") {
        Member::One(value) if value.is_null() => None,
        Member::One(value) => Some(value.text().unwrap_or_default()),
        Member::Absent | Member::Repeated => Some(Cow::default()),
    }
}

/// An object, if it is one.
fn object(value: JsonRef<'_>) -> Option<JsonRef<'_>> {
    (value.kind() == Kind::Object).then_some(value)
}

fn signed_urls<'a>(value: JsonRef<'a>, urls: &mut Vec<Cow<'a, str>>) {
    match value.kind() {
        Kind::Array => value.items().for_each(|item| signed_urls(item, urls)),
        Kind::Object => {
            for (name, value) in value.members() {
                if name.is("presignedUrl") || name.is("thumbnailUrl") {
                    urls.extend(value.text());
                } else {
                    signed_urls(value, urls);
                }
            }
        }
        _ => {}
    }
}
