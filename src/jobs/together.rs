//! One document for what one request reads: many ids cost Move one call.
//!
//! Each read of such a request holds a [`Seat`]. It asks there, or gives the seat back because the cache knows the
//! answer or another's fetch will bring it. When the last one did either, the questions go up, 25 ids a document.
//!
//! `getJob` is never null in Move's schema, so that one job which fails makes the whole answer null (GraphQL
//! specification, section 6.4.4). Three jobs are asked for, for example:
//!
//! ```json
//! {"data": null, "errors": [{"path": ["e1"], "errorType": "MoveNotFoundError", "message": "…"}]}
//! ```
//!
//! The second is told its error; the first and the third are asked for once more, together. If that is null again,
//! those who are left are asked for in halves. What cannot be told apart is asked for alone, as if it had never been
//! together with others.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join, join_all};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Jobs;
use crate::model::{EntityId, RequestContext, RootField, Selection, Trail};
use crate::upstream::{Batch, Call, Entity, Error, ErrorKind, FieldError, Reply, Upstream};

/// The most ids in one document.
const MOST: usize = 25;

/// A place among the reads of one request. Nothing goes up before each of them has asked or is dropped.
#[derive(Debug, Clone)]
pub struct Seat(mpsc::UnboundedSender<Question>);

/// The share of one read in what Move answered; `None` if it has to be asked for alone.
pub(super) type Share = Option<Result<Reply<Entity>, Error>>;

/// One read's question.
#[derive(Debug)]
struct Question {
    id: EntityId,
    selection: Arc<Selection>,
    asker: Asker,
}

/// The one who waits for a share.
#[derive(Debug)]
struct Asker {
    trail: Trail,
    share: oneshot::Sender<Share>,
}

impl Seat {
    /// Asks for one entity together with the others.
    pub(super) async fn ask(self, id: &EntityId, wanted: &Arc<Selection>, trail: &Trail) -> Share {
        let (share, told) = oneshot::channel();
        let asker = Asker { trail: trail.clone(), share };
        let question = Question { id: id.clone(), selection: Arc::clone(wanted), asker };
        self.0.send(question).ok()?;
        // The others wait for this seat.
        drop(self);
        told.await.ok()?
    }
}

impl Jobs {
    /// Opens the seats for the reads of one request; clones are more of them.
    #[must_use]
    pub fn together(&self, request: &RequestContext) -> Seat {
        let (seat, questions) = mpsc::unbounded_channel();
        // Others may join who have more time.
        let deadline = Instant::now() + self.fetch_time;
        let request = RequestContext { deadline, ..request.clone() };
        let together = Together { upstream: Arc::clone(&self.upstream), request };
        tokio::spawn(together.gather(questions));
        Seat(seat)
    }
}

/// One id that is asked for, and who wants to know.
#[derive(Debug)]
struct Wish {
    id: EntityId,
    selection: Arc<Selection>,
    askers: Vec<Asker>,
}

impl Wish {
    fn add(&mut self, Question { selection, asker, .. }: Question) {
        if !self.selection.covers(&selection) {
            self.selection = Arc::new(Selection::clone(&self.selection).union(&selection));
        }
        self.askers.push(asker);
    }

    fn tell(self, share: &Share) {
        for asker in self.askers {
            let _ = asker.share.send(share.clone());
        }
    }
}

/// The reads of one request.
struct Together {
    upstream: Arc<Upstream>,
    request: RequestContext,
}

impl Together {
    /// Waits for everybody's question, and asks them all.
    async fn gather(self, mut questions: mpsc::UnboundedReceiver<Question>) {
        let mut wishes: Vec<Wish> = Vec::new();
        while let Some(question) = questions.recv().await {
            if let Some(wish) = wishes.iter_mut().find(|wish| wish.id == question.id) {
                wish.add(question);
            } else {
                let Question { id, selection, asker } = question;
                wishes.push(Wish { id, selection, askers: vec![asker] });
            }
        }
        let mut documents = Vec::new();
        while !wishes.is_empty() {
            let rest = wishes.split_off(wishes.len().min(MOST));
            documents.push(self.ask(wishes, false));
            wishes = rest;
        }
        join_all(documents).await;
    }

    /// Asks for several things, and again for those that another's failure left without an answer.
    fn ask(&self, wishes: Vec<Wish>, is_again: bool) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut left = self.ask_once(wishes).await;
            if is_again && left.len() > 1 {
                let half = left.split_off(left.len() / 2);
                join(self.ask(left, true), self.ask(half, true)).await;
            } else if !left.is_empty() {
                self.ask(left, true).await;
            }
        })
    }

    /// Sends one document, unless it would be about one thing alone. Returns those that another's failure left without an
    /// answer.
    async fn ask_once(&self, mut wishes: Vec<Wish>) -> Vec<Wish> {
        if wishes.len() < 2 {
            tell_all(wishes, &None);
            return Vec::new();
        }
        let asked: Vec<_> = wishes.iter().map(|wish| (&wish.id, &*wish.selection)).collect();
        let (call, trail) = (Call::batch(&asked), counted_by(&wishes));
        let reply = tokio::select! {
            reply = self.upstream.call::<Batch>(&self.request, &trail, &call) => reply,
            () = nobody_waits(&mut wishes) => return Vec::new(),
        };
        match reply {
            Ok(reply) => deal(&reply, wishes),
            Err(error) => {
                let share = (!may_be_for_the_document(error.kind())).then_some(Err(error));
                tell_all(wishes, &share);
                Vec::new()
            }
        }
    }
}

fn tell_all(wishes: Vec<Wish>, share: &Share) {
    for wish in wishes {
        wish.tell(share);
    }
}

/// Picks the trail on which a document is counted: the first that somebody reads.
fn counted_by(wishes: &[Wish]) -> Trail {
    let mut trails = wishes.iter().flat_map(|wish| &wish.askers).map(|asker| &asker.trail);
    let first = trails.clone().next();
    let read = trails.find(|trail| trail.is_read()).or(first);
    read.cloned().unwrap_or_else(|| Trail::unread(RootField::GetJob))
}

async fn nobody_waits(wishes: &mut [Wish]) {
    let askers = wishes.iter_mut().flat_map(|wish| &mut wish.askers);
    join_all(askers.map(|asker| asker.share.closed())).await;
}

/// Returns true for a failure that a smaller document might not meet.
const fn may_be_for_the_document(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TooLarge(_) | ErrorKind::NotAnAnswer(_) | ErrorKind::Status(400..=499)
    )
}

/// Tells each its share of an answer. Returns those that another's failure left without one.
fn deal(reply: &Reply<Batch>, wishes: Vec<Wish>) -> Vec<Wish> {
    let is_told_apart = reply
        .errors
        .iter()
        .all(|error| Batch::place(error).is_some_and(|place| place < wishes.len()));
    let mut left = Vec::new();
    for (place, wish) in wishes.into_iter().enumerate() {
        let errors: Vec<_> = Batch::errors_of(&reply.errors, place).collect();
        let entity = reply.value.as_ref().and_then(|batch| batch.entity(place));
        let is_named = errors.iter().any(|error| error.path.is_empty());
        if !is_told_apart {
            wish.tell(&None);
        } else if entity.is_some() || is_named {
            for asker in &wish.askers {
                let id = reply.request_id.clone();
                asker.trail.note(|notes| notes.upstream_request_id = id);
            }
            wish.tell(&Some(Ok(share_of(reply, entity, errors))));
        } else if reply.value.is_none() && errors.is_empty() {
            left.push(wish);
        } else {
            // Half an answer; or an error below it, with which it would have had a value alone.
            wish.tell(&None);
        }
    }
    left
}

/// Makes one entity's share, as if it had been asked for alone.
fn share_of(reply: &Reply<Batch>, value: Option<Entity>, errors: Vec<FieldError>) -> Reply<Entity> {
    Reply { value, errors, request_id: reply.request_id.clone() }
}
