//! The plan: what is wanted of Move and how the answer is written, worked out once for each normal form.

use crate::jobs::{Source, Wanted, source_of};
use crate::model::{EntityKind, Selection, Subscription};
use crate::operation::{Below, Field, Form, Leaf, Object, Origin, Root, RootKind, Shape};

/// A plan for one normal form.
#[derive(Debug)]
pub struct Plan {
    /// Its root fields, in the answer's order.
    pub roots: Vec<RootPlan>,
    fields: usize,
}

/// A plan for one root field.
#[derive(Debug)]
pub struct RootPlan {
    /// The kind of the root field.
    pub asked: RootKind,
    /// The step that writes its value.
    pub step: Step,
    /// The fields that are wanted of each kind of entity that its value may hold: of the one that is read or written, or of each
    /// of a page.
    pub wanted: Vec<Wanted>,
    /// The fields that are wanted of a value that is no entity.
    pub plain: Selection,
}

/// A step of the plan: it writes one field.
#[derive(Debug)]
pub struct Step {
    /// Its key in the answer. A GraphQL name: nothing in it needs an escape.
    pub key: Box<str>,
    /// Its name in the schema, and in what Move sends.
    pub name: Box<str>,
    /// The source of its value.
    pub source: Source,
    /// Lists and nulls.
    pub shape: Shape,
    /// The part of it that is written.
    pub below: Writing,
    /// Its origin in the document.
    pub origin: Origin,
}

/// The part of a value that is written.
#[derive(Debug)]
pub enum Writing {
    /// All of it.
    Leaf(Leaf),
    /// These fields.
    Object(Steps),
    /// The fields of the type that the value names.
    OneOf(Vec<Steps>),
}

/// The fields of an object.
#[derive(Debug)]
pub struct Steps {
    /// The object's type.
    pub type_name: Box<str>,
    /// True if such an object has an owner, which its metadata names.
    pub has_owner: bool,
    /// Its fields, in the answer's order.
    pub fields: Vec<Step>,
}

impl Plan {
    /// Makes the plan.
    #[must_use]
    pub fn for_form(form: &Form) -> Self {
        let roots = form.roots.iter().map(|root| {
            let mut plain = Selection::default();
            if root.field.objects().iter().any(|object| object.type_name == "ShareCode") {
                root.field.objects().iter().for_each(|object| collect(object, &mut plain));
            }
            let wanted = if root.asked == RootKind::Subscription(Subscription::JobsUpdated) {
                vec![of_events(root)]
            } else {
                let wanted = entities_below(&root.field).map(|(object, kind)| {
                    let mut selection = Selection::default();
                    collect(object, &mut selection);
                    Wanted::of(kind, selection)
                });
                wanted.collect()
            };
            RootPlan { asked: root.asked, step: step(form, &root.field, ""), wanted, plain }
        });
        Self { roots: roots.collect(), fields: form.count() }
    }

    /// Approximate size in bytes: each field is a step, and stands in what is wanted and in what is asked of Move.
    #[must_use]
    pub const fn weight(&self) -> usize {
        const FIELD: usize = 500;
        FIELD * (self.fields + 1)
    }
}

/// Gives what is wanted of the jobs that events tell of: under all aliases, and their take where only one's are told.
fn of_events(root: &Root) -> Wanted {
    let mut selection = Selection::default();
    let events = root.field.objects().iter().flat_map(|event| &event.fields);
    for job in events.filter(|field| is_job(&field.name)) {
        job.objects().iter().for_each(|object| collect(object, &mut selection));
    }
    if root.is_given("takeId") {
        selection.field("take").field("id");
    }
    // Each event is judged by how far its job has come.
    selection.field("state");
    Wanted::of(EntityKind::Job, selection)
}

/// Returns true for the field of a `JobEvent` that is a job.
pub(super) fn is_job(name: &str) -> bool {
    name == "job"
}

/// Selected objects that are entities, each with its kind: the root's own value, or a page's items.
fn entities_below(root: &Field) -> impl Iterator<Item = (&Object, EntityKind)> {
    let own = root.objects().iter();
    let all = own.flat_map(|object| {
        let items = object.fields.iter().filter(|field| &*field.name == "items");
        let items: Vec<&Object> = items.flat_map(Field::objects).collect();
        let is_listing = matches!(&*object.type_name, "JobsPage" | "TakesPage" | "VolumePage");
        if is_listing { items } else { vec![object] }
    });
    all.filter_map(|object| Some((object, EntityKind::from_type_name(&object.type_name)?)))
}

/// Adds what Move is asked for: names alone, each once.
fn collect(object: &Object, into: &mut Selection) {
    for field in object.fields.iter().filter(|field| &*field.name != "__typename") {
        let own = into.field(&field.name);
        match &field.below {
            Below::Leaf(_) | Below::Library => {}
            Below::Object(object) => {
                collect(object, own);
                ask_whose(object, own);
                // Move takes no object of which nothing is selected.
                if own.is_empty() {
                    own.field("__typename");
                }
            }
            Below::OneOf(objects) => {
                own.field("__typename");
                for object in objects {
                    let mut selection = Selection::default();
                    collect(object, &mut selection);
                    ask_whose(object, &mut selection);
                    if !selection.is_empty() {
                        own.field(&format!("... on {}", object.type_name)).merge(&selection);
                    }
                }
            }
        }
    }
}

/// Asks also for what tells the owner of an entity that stands inside another.
fn ask_whose(object: &Object, into: &mut Selection) {
    if has_owner(&object.type_name) {
        into.field("metadata");
    }
}

fn has_owner(type_name: &str) -> bool {
    EntityKind::from_type_name(type_name).is_some_and(EntityKind::has_owner)
}

fn step(form: &Form, field: &Field, parent: &str) -> Step {
    let below = match &field.below {
        Below::Leaf(leaf) => Writing::Leaf(leaf.clone()),
        // Written by the library, never by a step.
        Below::Library => Writing::Leaf(Leaf::Text),
        Below::Object(object) => Writing::Object(steps(form, object)),
        Below::OneOf(objects) => {
            Writing::OneOf(objects.iter().map(|object| steps(form, object)).collect())
        }
    };
    Step {
        key: field.key.as_str().into(),
        name: field.name.as_str().into(),
        source: source_of(parent, &field.name),
        shape: field.shape.clone(),
        below,
        origin: form.origin(field),
    }
}

fn steps(form: &Form, object: &Object) -> Steps {
    let fields = object.fields.iter().map(|field| step(form, field, &object.type_name));
    let has_owner = has_owner(&object.type_name);
    Steps { type_name: object.type_name.as_str().into(), has_owner, fields: fields.collect() }
}

impl RootPlan {
    /// Gives what is wanted of entities of a kind.
    #[must_use]
    pub fn wanted(&self, kind: EntityKind) -> Option<&Wanted> {
        self.wanted.iter().find(|wanted| wanted.kind() == kind)
    }

    /// Returns true if a listing is to be counted.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        let fields = self.step.objects().iter().flat_map(|object| &object.fields);
        fields.into_iter().any(|field| &*field.name == "totalCount")
    }
}

impl Step {
    /// Returns the steps that write the value's fields, for each type that it may be of.
    #[must_use]
    pub fn objects(&self) -> &[Steps] {
        match &self.below {
            Writing::Leaf(_) => &[],
            Writing::Object(steps) => std::slice::from_ref(steps),
            Writing::OneOf(objects) => objects,
        }
    }
}
