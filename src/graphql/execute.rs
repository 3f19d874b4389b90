//! Executes an operation: queries side by side, mutations one after the other; and writes its answer in the
//! operation's order.

use std::hash::{DefaultHasher, Hasher};

use futures_util::future::join_all;

use super::answer::{Answer, BEGUN, Extensions, PlacedError};
use super::errors::{ApiError, Segment};
use super::place;
use super::plan::{Plan, RootPlan, Step, is_job};
use super::roots::{self, Change, Failed, Outcome, Resolved};
use super::write::{Nulled, Path, Writer};
use crate::jobs::{Jobs, Seat};
use crate::model::{
    Failure, Kind, Progress, RequestContext, RequestId, RootField, Subscription, Tenant, Trail,
};
use crate::operation::{self, Introspected, Operation, RootKind, Unit};
use crate::upstream::FieldError;

/// Executes an operation by its plan. `service` is the schema's definition as a subgraph, as a JSON string.
pub async fn execute(
    jobs: &Jobs,
    request: &RequestContext,
    plan: &Plan,
    operation: &Operation,
    service: &str,
) -> Answer {
    match answering(jobs, request, plan, operation, service).await {
        Ok(answering) => answering.write(request.id, &request.caller.tenant, &request.trails),
        Err(refusal) => refusal,
    }
}

/// Executes the read of one job, and tells besides how far it has come.
pub async fn observe(
    jobs: &Jobs,
    request: &RequestContext,
    plan: &Plan,
    operation: &Operation,
    service: &str,
) -> (Answer, Option<Progress>) {
    match answering(jobs, request, plan, operation, service).await {
        Ok(own) => {
            let answer = own.write(request.id, &request.caller.tenant, &request.trails);
            (answer, own.progress())
        }
        Err(refusal) => (refusal, None),
    }
}

/// The event of a stream that tells of a change.
#[derive(Debug)]
pub struct ChangeEvent {
    /// The event.
    pub answer: Answer,
    /// The progress of the job, if it was read.
    pub progress: Option<Progress>,
    /// All that it tells of the job, hashed.
    pub digest: u64,
}

/// Makes the events of a stream that tell of changes, whose jobs go up together; `None` for one that the stream does not
/// tell of.
pub async fn tell(
    jobs: &Jobs,
    request: &RequestContext,
    plan: &Plan,
    operation: &Operation,
    changes: &[Change],
) -> Vec<Option<ChangeEvent>> {
    let seat = (changes.len() > 1).then(|| jobs.together(request));
    let all = changes.iter().map(|change| {
        let request = RequestContext { trails: operation.trails(), ..request.clone() };
        tell_one(jobs, request, plan, operation, change, seat.clone())
    });
    let all: Vec<_> = all.collect();
    // Nothing goes up before each has its own, and nobody else has one.
    drop(seat);
    join_all(all).await
}

async fn tell_one(
    jobs: &Jobs,
    request: RequestContext,
    plan: &Plan,
    operation: &Operation,
    change: &Change,
    seat: Option<Seat>,
) -> Option<ChangeEvent> {
    let tenant = &request.caller.tenant;
    let ([root], [unit], [trail]) = (&*plan.roots, &*operation.units, &*request.trails) else {
        let answer = Answer::refusal(request.id, [ApiError::internal()]);
        return Some(ChangeEvent { answer, progress: None, digest: 0 });
    };
    let outcome = if request.caller.may(unit.field) {
        roots::changed(jobs, &request, trail, root, change, seat).await?
    } else {
        Err(ApiError::forbidden(unit.field).into())
    };
    let (progress, mut hash) = (progress_of(&outcome), DefaultHasher::new());
    if let Ok((Resolved::Event(event), _)) = &outcome {
        // Not the cursor, which is another one each time, nor for how long it was known.
        hash.write(&Writer::text_of_job(tenant, &root.step, event));
    }
    let (introspected, outcomes) = (Vec::new(), vec![Some(outcome)]);
    let own = Answering { plan, operation, service: "null", introspected, outcomes };
    let answer = own.write(request.id, tenant, &request.trails);
    hash.write_usize(answer.failures.len());
    Some(ChangeEvent { answer, progress, digest: hash.finish() })
}

fn progress_of(outcome: &Outcome) -> Option<Progress> {
    match outcome {
        Ok((Resolved::Event(event), _)) => Some(event.job.progress()),
        _ => None,
    }
}

async fn answering<'a>(
    jobs: &Jobs,
    request: &RequestContext,
    plan: &'a Plan,
    operation: &'a Operation,
    service: &'a str,
) -> Result<Answering<'a>, Answer> {
    let asks = |root: &RootPlan| root.asked == RootKind::Introspection;
    let introspected = if plan.roots.iter().any(asks) {
        match operation::introspect(operation.schema(), operation) {
            Ok(introspected) => introspected,
            Err(error) => return Err(Answer::refusal(request.id, ApiError::all_of(error))),
        }
    } else {
        Vec::new()
    };
    let outcomes = match (operation.kind, operation.units.as_slice()) {
        (_, []) => Vec::new(),
        (_, [unit]) => vec![Some(run(jobs, request, plan, operation, (0, unit), None).await)],
        (Kind::Query | Kind::Subscription, units) => {
            side_by_side(jobs, request, plan, operation, units).await
        }
        (Kind::Mutation, units) => one_by_one(jobs, request, plan, operation, units).await,
    };
    Ok(Answering { plan, operation, service, introspected, outcomes })
}

/// Queries side by side; what is read of single things goes up together.
async fn side_by_side(
    jobs: &Jobs,
    request: &RequestContext,
    plan: &Plan,
    operation: &Operation,
    units: &[Unit],
) -> Vec<Option<Outcome>> {
    let is_read = |unit: &&Unit| unit.field.is_getter();
    let mut seat = (units.iter().filter(is_read).count() > 1).then(|| jobs.together(request));
    let all: Vec<_> = units
        .iter()
        .enumerate()
        .map(|(i, unit)| {
            let own = seat.clone().filter(|_| unit.field.is_getter());
            run(jobs, request, plan, operation, (i, unit), own)
        })
        .collect();
    seat.take();
    join_all(all).await.into_iter().map(Some).collect()
}

/// Mutations one after the other. One that fails where null is not allowed makes the whole answer null: nothing
/// more is done then that nobody would be told of.
async fn one_by_one(
    jobs: &Jobs,
    request: &RequestContext,
    plan: &Plan,
    operation: &Operation,
    units: &[Unit],
) -> Vec<Option<Outcome>> {
    let mut outcomes = Vec::with_capacity(units.len());
    let mut is_over = false;
    for (i, unit) in units.iter().enumerate() {
        if is_over {
            outcomes.push(None);
            continue;
        }
        let outcome = run(jobs, request, plan, operation, (i, unit), None).await;
        is_over = outcome.is_err()
            && plan.roots.get(unit.root).is_some_and(|root| !root.step.shape.is_nullable());
        outcomes.push(Some(outcome));
    }
    outcomes
}

async fn run(
    jobs: &Jobs,
    request: &RequestContext,
    plan: &Plan,
    operation: &Operation,
    (index, unit): (usize, &Unit),
    seat: Option<Seat>,
) -> Outcome {
    let Some(root) = plan.roots.get(unit.root) else { return Err(ApiError::internal().into()) };
    if !request.caller.may(unit.field) {
        return Err(ApiError::forbidden(unit.field).into());
    }
    let trail = match request.trails.get(index) {
        Some(trail) => trail.clone(),
        None => Trail::unread(RootField::GetJob),
    };
    trail.begin();
    let outcome = roots::resolve(jobs, request, &trail, root, operation, unit, seat).await;
    trail.end();
    outcome
}

/// All that an answer is made of.
pub(super) struct Answering<'a> {
    pub plan: &'a Plan,
    pub operation: &'a Operation,
    /// The schema's definition as a subgraph, as a JSON string.
    pub service: &'a str,
    pub introspected: Vec<Introspected>,
    /// The outcome of each unit; `None` if it was not done because of one before it.
    pub outcomes: Vec<Option<Outcome>>,
}

impl Answering<'_> {
    pub(super) fn write(&self, request: RequestId, tenant: &Tenant, trails: &[Trail]) -> Answer {
        let mut writer = Writer::new(tenant);
        let _ = writer.raw(BEGUN);
        let start = writer.out.len();
        let mut has_values = false;
        let mut is_null = false;
        let _ = writer.raw(b"{");
        for (index, root) in self.plan.roots.iter().enumerate() {
            let before = writer.out.len();
            let nullable = root.step.shape.is_nullable();
            if index > 0 {
                writer.out.push(b',');
            }
            writer.out.push(b'"');
            writer.out.extend_from_slice(root.step.key.as_bytes());
            writer.out.extend_from_slice(b"\":");
            let written = self.root(&mut writer, index, root);
            has_values |= written.is_ok();
            if written.is_err() {
                writer.report_size(&root.step);
                if nullable {
                    writer.out.extend_from_slice(b"null");
                } else {
                    is_null = true;
                    writer.out.truncate(before);
                }
            }
        }
        writer.out.push(b'}');
        if is_null {
            writer.out.truncate(start);
            writer.out.extend_from_slice(b"null");
            has_values = false;
        }
        let Writer { out, errors, .. } = writer;
        let skipped = self.skipped(&errors);
        let extensions = Extensions::from_trails(trails);
        Answer::executed(request, out, &errors, skipped, has_values, extensions)
    }

    /// The progress of the job that was read, as far as its caller asked for it: what somebody else asked for besides
    /// is no news to this one.
    fn progress(&self) -> Option<Progress> {
        let Some(Some(Ok((Resolved::Entity(job), _)))) = self.outcomes.first() else { return None };
        let Progress { state, percent } = job.progress();
        let fields = self.plan.roots.first()?.step.objects().iter().flat_map(|own| &own.fields);
        let is_asked = |name: &str| matches!(name, "progress" | "percentageComplete");
        let has_percent = fields.into_iter().any(|field| is_asked(&field.name));
        Some(Progress { state, percent: percent.filter(|_| has_percent) })
    }

    /// Writes the value of a root field; `Err` if it has none.
    fn root<'a>(
        &'a self,
        writer: &mut Writer<'a>,
        index: usize,
        root: &'a RootPlan,
    ) -> Result<(), Nulled> {
        let step = &root.step;
        writer.begin_root(&[]);
        match root.asked {
            RootKind::Typename => writer.text(match self.operation.kind {
                Kind::Query => "Query",
                Kind::Mutation => "Mutation",
                Kind::Subscription => "Subscription",
            }),
            RootKind::Service => {
                writer.raw(b"{")?;
                let below = step.objects().iter().flat_map(|object| &object.fields);
                for (index, own) in below.enumerate() {
                    if index > 0 {
                        writer.raw(b",")?;
                    }
                    writer.text(&own.key)?;
                    writer.raw(b":")?;
                    match &*own.name {
                        "sdl" => writer.raw(self.service.as_bytes())?,
                        _ => writer.text("_Service")?,
                    }
                }
                writer.raw(b"}")
            }
            RootKind::Introspection => {
                let own = self.introspected.iter().find(|own| *own.key == *step.key);
                own.ok_or(Nulled).and_then(|own| writer.raw(own.json.as_bytes()))
            }
            RootKind::Operation(_) | RootKind::Subscription(_) => match self.units(index).next() {
                Some((unit, outcome)) => Self::unit(writer, root, unit, outcome, &Path::root(step)),
                None => Err(Nulled),
            },
            RootKind::Entities => {
                let path = Path::root(step);
                writer.list(self.units(index), |writer, place, (unit, outcome)| {
                    let path = path.item(place);
                    writer.nullable(true, |writer| Self::unit(writer, root, unit, outcome, &path))
                })
            }
        }
    }

    fn units(&self, root: usize) -> impl Iterator<Item = (&Unit, Option<&Outcome>)> {
        let units = self.operation.units.iter().zip(&self.outcomes);
        units
            .filter(move |(unit, _)| unit.root == root)
            .map(|(unit, outcome)| (unit, outcome.as_ref()))
    }

    fn unit<'a>(
        writer: &mut Writer<'a>,
        root: &'a RootPlan,
        unit: &Unit,
        outcome: Option<&'a Outcome>,
        path: &Path<'_>,
    ) -> Result<(), Nulled> {
        let step = &root.step;
        match outcome {
            Some(Ok((value, errors))) => {
                place_all(writer, root, unit, errors);
                match value {
                    Resolved::Entity(entity) => writer.entity(step, entity, path),
                    Resolved::Page(page) => writer.page(step, page, path),
                    Resolved::Plain(plain) => writer.plain(step, plain, path),
                    Resolved::Event(event) => writer.event(step, event, path),
                }
            }
            Some(Err(Failed::Api(error))) => {
                writer.errors.push(place::at_root(step, unit.entity, error.clone()));
                Err(Nulled)
            }
            Some(Err(Failed::Refused(errors))) => {
                place_all(writer, root, unit, errors);
                Err(Nulled)
            }
            None => Err(Nulled),
        }
    }

    /// The units that were not done because of one before them: nobody is told, but the record.
    fn skipped(&self, errors: &[PlacedError]) -> Vec<Failure> {
        let Some(cause) = errors.last().map(|error| error.api.code) else { return Vec::new() };
        let units = self.operation.units.iter().zip(&self.outcomes);
        let skipped = units.filter(|(_, outcome)| outcome.is_none());
        skipped
            .map(|(unit, _)| Failure { code: cause, root: Some((&*unit.response_key).into()) })
            .collect()
    }
}

fn place_all<'a>(writer: &mut Writer<'a>, root: &RootPlan, unit: &Unit, errors: &'a [FieldError]) {
    writer.begin_root(errors);
    if !errors.is_empty() {
        let base = place::root_path(&root.step, unit.entity);
        let type_name = unit.field.entity().type_name();
        let mut place = |step: &Step, base: &[Segment]| {
            let placed = place::placed(writer.tenant(), step, type_name, base, errors);
            writer.errors.extend(placed);
        };
        if unit.followed != Some(Subscription::JobsUpdated) {
            return place(&root.step, &base);
        }
        for job in root.step.objects().iter().flat_map(|event| &event.fields) {
            if is_job(&job.name) {
                place(job, &[base.as_slice(), &[Segment::Key(job.key.clone())]].concat());
            }
        }
    }
}
