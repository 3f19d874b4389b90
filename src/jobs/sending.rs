//! Mutations on their way to Move: sent once, and what became of them noted on their trail.

use std::sync::Arc;

use tokio::time::Instant;

use super::evidence::{self, Proof};
use super::{Answer, Error, Jobs, Owned, Wanted};
use crate::model::{Before, Effect, EntityId, RequestContext, Trail};
use crate::upstream::{self, Call, Entity, ErrorKind, Reply};

/// Notes what earlier tries of a root field did, until more is known, and returns it. A try that nobody
/// knows of leaves no doubt until something is sent: its like may have been forgotten, and most were never
/// made.
pub(super) fn begin(request: &RequestContext, trail: &Trail) -> Before {
    let keyed = request.keyed.as_ref();
    let before = keyed.map_or(Before::NotDone, |keyed| keyed.before(&trail.response_key));
    let effect = match &before {
        Before::NotDone | Before::Unknown { is_certain: false, .. } => Effect::NotDone,
        Before::Unknown { is_certain: true, .. } => Effect::Unknown,
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
pub(super) fn done(trail: &Trail, id: &EntityId) {
    trail.note(|notes| {
        notes.entity = Some(id.clone());
        notes.effect = Effect::Done(id.to_string());
    });
}

impl Jobs {
    /// Records a mutation's intent and sends it, if its key is still its own. A reply means that it was carried out, also one
    /// without a value.
    ///
    /// # Errors
    /// [`Error::KeyLost`], [`Error::AuditUnavailable`], [`Error::Upstream`] and [`Error::Refused`] when it certainly did
    /// nothing; others leave its effect unknown.
    pub(super) async fn send(
        &self,
        request: &RequestContext,
        trail: &Trail,
        call: &Call,
    ) -> Result<Reply<Entity>, Error> {
        if let Some(claim) = &request.claim
            && !claim.stands().await
        {
            return Err(Error::KeyLost);
        }
        self.intend(request, trail).await?;
        if Instant::now() >= request.deadline {
            return Err(upstream::Error::from(ErrorKind::DeadlineExceeded).into());
        }
        trail.note(|notes| notes.effect = Effect::Unknown);
        let reply = match self.upstream.call::<Entity>(request, trail, call).await {
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

    /// Reads what a mutation made or changed like any other.
    pub(super) async fn read_written(
        &self,
        request: &RequestContext,
        trail: &Trail,
        id: &str,
        wanted: &Wanted,
    ) -> Result<Answer<Owned>, Error> {
        let id = EntityId::parse(wanted.kind, id)
            .map_err(|_| upstream::Error::not_an_answer("with an id that is none"))?;
        let Answer { value, errors } = self.get(request, trail, &id, wanted, None).await?;
        Ok(Answer { value: Arc::unwrap_or_clone(value), errors })
    }
}
