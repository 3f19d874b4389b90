//! The common case: a document that asks for one job, known to be valid. Its plan answers it without the
//! engine, as long as nothing is wrong; what is wrong with an answer, the engine says.

use std::sync::{Arc, Mutex, PoisonError};

use super::Answer;
use super::project::Project;
use super::selection;
use crate::jobs::{self, Jobs, OwnedJob, Wanted};
use crate::model::{JobId, RequestContext, RootField};
use crate::operation::{Document, JobQuery, Operation};

/// What there is to do for a document, thought about once.
#[derive(Debug)]
pub struct Plan {
    query: JobQuery,
    wanted: Wanted,
}

/// How a plan's execution ended.
#[derive(Debug)]
pub enum Planned {
    /// With an answer.
    Done(Answer),
    /// With something that only the engine can tell, which is to use what was fetched already.
    NeedsEngine(Fetched),
}

type Got = Result<jobs::Answer<Arc<OwnedJob>>, jobs::Error>;

/// What was fetched for the one `getJob` of a request, if anything; for its resolver to take.
#[derive(Debug, Default)]
pub struct Fetched(Mutex<Option<Got>>);

impl Fetched {
    /// What was fetched, once.
    pub fn take(&self) -> Option<Got> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl From<Got> for Fetched {
    fn from(got: Got) -> Self {
        Self(Mutex::new(Some(got)))
    }
}

impl Plan {
    /// The plan for a valid document, if it asks for one job and nothing else.
    #[must_use]
    pub fn of(document: &Document) -> Option<Self> {
        let query = document.job_query()?;
        let wanted = Wanted::of_job(selection::below(&query.root));
        Some(Self { query, wanted })
    }

    /// What it takes of memory, in bytes, roughly: each field stands in the query, in what is wanted and
    /// in what is asked of Move.
    #[must_use]
    pub fn weight(&self) -> usize {
        const FIELD: usize = 400;
        FIELD * self.query.root.count()
    }

    /// Answers an operation of the plan's document.
    pub async fn execute(
        &self,
        jobs: &Jobs,
        request: &RequestContext,
        operation: &Operation,
    ) -> Planned {
        let id = operation.text(&self.query.id).and_then(|id| JobId::parse(id).ok());
        let (Some(id), true) = (id, request.caller.may(RootField::GetJob)) else {
            return Planned::NeedsEngine(Fetched::default());
        };
        let trail = request.trail(&self.query.root.key, RootField::GetJob);
        trail.begin();
        let got = jobs.get(request, &trail, &id, &self.wanted).await;
        trail.end();
        match &got {
            Ok(answer) if answer.errors.is_empty() => {
                let root = &self.query.root;
                let written = Answer::of_one(&root.key, &request.trails, |into| {
                    answer.value.job().project(&root.below, into)
                });
                written.map_or_else(|_| Planned::NeedsEngine(got.into()), Planned::Done)
            }
            _ => Planned::NeedsEngine(got.into()),
        }
    }
}
