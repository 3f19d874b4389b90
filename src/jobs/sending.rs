//! Mutations on their way to Move: sent once, and what became of them noted on their trail.

use std::sync::Arc;

use tokio::time::Instant;

use super::evidence::{self, Proof};
use super::{Answer, Error, Jobs, OwnedJob, Wanted};
use crate::model::{Before, Effect, JobId, RequestContext, Trail};
use crate::upstream::{self, Call, ErrorKind, Job, Reply};

/// Notes what earlier tries of a root field did, until more is known, and returns it.
pub(super) fn begin(request: &RequestContext, trail: &Trail) -> Before {
    let keyed = request.keyed.as_ref();
    let before = keyed.map_or(Before::NotDone, |keyed| keyed.before(&trail.response_key));
    let effect = match &before {
        Before::NotDone => Effect::NotDone,
        Before::Unknown { .. } => Effect::Unknown,
        Before::Done(id) => Effect::Done(id.clone()),
    };
    trail.note(|notes| notes.effect = effect);
    before
}

/// Notes that nothing happened so far.
pub(super) fn not_done(trail: &Trail) {
    trail.note(|notes| notes.effect = Effect::NotDone);
}

/// Notes the job that was made or changed.
pub(super) fn done(trail: &Trail, id: &JobId) {
    trail.note(|notes| {
        notes.job = Some(id.clone());
        notes.effect = Effect::Done(id.clone());
    });
}

impl Jobs {
    /// Records a mutation's intent and sends it. A reply means that it was carried out, also one
    /// without a value.
    ///
    /// # Errors
    /// [`Error::AuditUnavailable`], [`Error::Upstream`] and [`Error::Refused`] when it certainly did
    /// nothing; others leave its effect unknown.
    pub(super) async fn send(
        &self,
        request: &RequestContext,
        trail: &Trail,
        call: &Call,
    ) -> Result<Reply<Job>, Error> {
        self.intend(request, trail).await?;
        if Instant::now() >= request.deadline {
            return Err(upstream::Error::from(ErrorKind::DeadlineExceeded).into());
        }
        trail.note(|notes| notes.effect = Effect::Unknown);
        let reply = match self.upstream.call::<Job>(request, trail, call).await {
            Ok(reply) => reply,
            Err(error) => {
                if !error.outcome_is_unknown() {
                    not_done(trail);
                }
                return Err(error.into());
            }
        };
        match evidence::of_answer(reply.value.is_some(), &reply.errors) {
            Proof::Done => Ok(reply),
            Proof::Open => Err(Error::Refused(reply.errors)),
            Proof::Refused => {
                not_done(trail);
                Err(Error::Refused(reply.errors))
            }
        }
    }

    /// The job that a mutation made or changed, read like any other.
    pub(super) async fn read_written(
        &self,
        request: &RequestContext,
        trail: &Trail,
        id: &JobId,
        wanted: &Wanted,
    ) -> Result<Answer<OwnedJob>, Error> {
        let Answer { value, errors } = self.get(request, trail, id, wanted).await?;
        Ok(Answer { value: Arc::unwrap_or_clone(value), errors })
    }
}
