//! The documents that are sent to Move. `schema/move.graphql` states everything they may name.

use std::fmt::Display;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::model::{JobId, Kind, RootField, Selection, TakeId};
use crate::types::{ClipWindowInput, OptionsInput, OutputType, SortDirection};

/// One root field of Move's, its arguments and what is wanted of the answer.
#[derive(Debug, Clone)]
pub struct Call {
    /// The root field.
    pub field: &'static str,
    /// Query or mutation: a mutation is never sent twice.
    pub kind: Kind,
    /// The document: one operation with one root field.
    pub document: Arc<str>,
    /// The values of its variables.
    pub variables: Map<String, Value>,
}

/// The arguments of a creation.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The take to process.
    pub take: TakeId,
    /// JSON text; already enveloped when it gets here.
    pub metadata: Option<String>,
    /// The job's name.
    pub name: Option<String>,
    /// The part of the video to process.
    pub clip_window: Option<ClipWindowInput>,
    /// The options of its processing.
    pub options: Option<OptionsInput>,
    /// The files to make.
    pub outputs: Option<Vec<Option<OutputType>>>,
    /// The number of actors to look for (several cameras only).
    pub number_of_actors: Option<i32>,
    /// The rig to use (several cameras only).
    pub rig: Option<String>,
}

impl NewJob {
    /// A job with nothing but its take.
    #[must_use]
    pub const fn on(take: TakeId) -> Self {
        Self {
            take,
            metadata: None,
            name: None,
            clip_window: None,
            options: None,
            outputs: None,
            number_of_actors: None,
            rig: None,
        }
    }
}

/// The arguments of a listing.
#[derive(Debug, Clone)]
pub struct Listing<'a> {
    /// The number of jobs a page may hold.
    pub first: i32,
    /// The cursor of the page before, as Move gave it.
    pub after: Option<&'a str>,
    /// The order.
    pub sort_direction: Option<SortDirection>,
    /// Only jobs of this take.
    pub take: Option<&'a TakeId>,
}

/// The document that asks for one job: the same for every job of which the same is wanted.
#[derive(Debug, Clone)]
pub struct JobDocument(Arc<str>);

impl JobDocument {
    /// Writes it.
    #[must_use]
    pub fn new(selection: &Selection) -> Self {
        // Any id: the document holds none.
        let arguments = Arguments::default().add("jobId", "ID!", "");
        Self(arguments.call(RootField::GetJob, selection).document)
    }
}

impl Call {
    /// Asks for one job.
    #[must_use]
    pub fn get_job(id: &JobId, document: &JobDocument) -> Self {
        let field = RootField::GetJob;
        let variables = Map::from_iter([("jobId".to_owned(), id.as_str().into())]);
        let document = Arc::clone(&document.0);
        Self { field: field.name(), kind: field.kind(), document, variables }
    }

    /// Asks for one take.
    #[must_use]
    pub fn get_take(id: &TakeId, selection: impl Display) -> Self {
        Arguments::default().add("takeId", "ID!", id.as_str()).query("getTake", selection)
    }

    /// Asks for one page of jobs.
    #[must_use]
    pub fn list_jobs(listing: &Listing<'_>, selection: impl Display) -> Self {
        Arguments::default()
            .add("first", "Int", listing.first)
            .maybe("after", "AWSJSON", listing.after)
            .maybe("sortDirection", "SortDirection", listing.sort_direction)
            .maybe("takeId", "String", listing.take.map(TakeId::as_str))
            .call(RootField::ListJobs, selection)
    }

    /// Creates a job by one of the three mutations. Arguments that the mutation does not have are
    /// left out.
    #[must_use]
    pub fn create_job(field: RootField, job: &NewJob, selection: impl Display) -> Self {
        let mut arguments = Arguments::default().add("takeId", "String!", job.take.as_str()).maybe(
            "metadata",
            "AWSJSON",
            job.metadata.as_deref(),
        );
        if field != RootField::CreateJob {
            arguments = arguments
                .maybe("name", "String", job.name.as_deref())
                .maybe("clipWindow", "ClipWindowInput", job.clip_window)
                .maybe("options", "OptionsInput", job.options)
                .maybe("outputs", "[OutputType]", job.outputs.as_ref());
        }
        if field == RootField::CreateMultiCamJob {
            arguments = arguments.maybe("numberOfActors", "Int", job.number_of_actors).maybe(
                "rig",
                "String",
                job.rig.as_deref(),
            );
        }
        arguments.call(field, selection)
    }

    /// Changes a job's name or metadata; what is `None` stays as it is.
    #[must_use]
    pub fn update_job(
        id: &JobId,
        metadata: Option<&str>,
        name: Option<&str>,
        selection: impl Display,
    ) -> Self {
        Arguments::default()
            .add("id", "String!", id.as_str())
            .maybe("metadata", "AWSJSON", metadata)
            .maybe("name", "String", name)
            .call(RootField::UpdateJob, selection)
    }

    /// Asks which mutations Move has, those included that it would rather not be asked for.
    #[must_use]
    pub fn mutation_names() -> Self {
        Self {
            field: "__type",
            kind: Kind::Query,
            document: r#"query mutations { __type(name: "Mutation")
                { fields(includeDeprecated: true) { name } } }"#
                .into(),
            variables: Map::new(),
        }
    }
}

/// Variables as they are gathered: each is declared, passed on and given a value.
#[derive(Default)]
struct Arguments {
    declared: String,
    passed: String,
    values: Map<String, Value>,
}

impl Arguments {
    fn add(mut self, name: &str, r#type: &str, value: impl Serialize) -> Self {
        let separator = if self.declared.is_empty() { "" } else { ", " };
        self.declared.push_str(&format!("{separator}${name}: {type}"));
        self.passed.push_str(&format!("{separator}{name}: ${name}"));
        // Texts, numbers, enums and flat structs: nothing here can fail to become JSON.
        self.values.insert(name.into(), serde_json::to_value(value).unwrap_or_default());
        self
    }

    fn maybe(self, name: &str, r#type: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.add(name, r#type, value),
            None => self,
        }
    }

    fn call(self, field: RootField, selection: impl Display) -> Call {
        self.build(field.kind(), field.name(), selection)
    }

    fn query(self, field: &'static str, selection: impl Display) -> Call {
        self.build(Kind::Query, field, selection)
    }

    fn build(self, kind: Kind, field: &'static str, selection: impl Display) -> Call {
        let keyword = match kind {
            Kind::Query => "query",
            Kind::Mutation => "mutation",
        };
        let Self { declared, passed, values } = self;
        let document = format!("{keyword} {field}({declared}) {{ {field}({passed}){selection} }}");
        let document = document.into();
        Call { field, kind, document, variables: values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_declares_only_the_variables_it_gives() {
        let job = JobId::parse("job-1").expect("an id");
        let call = Call::update_job(&job, None, Some("n"), Selection::of_leaves(["id"]));
        assert_eq!(
            &*call.document,
            "mutation updateJob($id: String!, $name: String) \
             { updateJob(id: $id, name: $name) {id} }"
        );
        assert_eq!(Value::Object(call.variables), serde_json::json!({"id": "job-1", "name": "n"}));
    }
}
