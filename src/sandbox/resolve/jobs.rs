//! Jobs.

use std::sync::Arc;

use apollo_compiler::resolvers::ResolvedValue;
use serde_json::{Value, json};

use super::super::State;
use super::super::objects::{Items, JobObject, PageObject, Resolved, World};
use super::super::seed::FAILING_TAKE;
use super::super::store::job::Job;
use super::arguments::{Arguments, cursor};
use super::{carry, invalid, not_found};

/// Answers `getJob`.
pub fn get<'a>(world: &'a World<'a>, id: &str) -> Resolved<'a> {
    let job = world.account.borrow().jobs().get(id).cloned().ok_or_else(not_found)?;
    let (state, percentage) = job.progress(world.pace());
    if state == State::Failed && world.options.failed_as_error {
        return Err(carry(&json!({
            "errorType": "MoveJobFailedError",
            "message": "The job failed.",
            "errorInfo": {"suggestions": ["Film the whole body."]},
            "data": {"progress": {"state": "FAILED", "percentageComplete": percentage}},
        })));
    }
    Ok(ResolvedValue::object(JobObject::new(world, job)))
}

/// Answers `listJobs`.
pub fn list<'a>(world: &'a World<'a>, arguments: Arguments<'_>) -> Resolved<'a> {
    let paging = arguments.paging()?;
    let take = arguments.given("takeId");
    let account = world.account.borrow();
    let of_take = |job: &Job| take.is_none_or(|take| job.take == take);
    let page = account.jobs().page(&paging.range(), of_take).ok_or_else(|| invalid("after"))?;
    let after = page.next.map(|job| cursor(&*job));
    let items = Items::Jobs(page.rows);
    Ok(ResolvedValue::object(PageObject { world, first: paging.first, after, items }))
}

/// Answers the three root fields that create a job.
pub fn create<'a>(world: &'a World<'a>, arguments: Arguments<'_>) -> Resolved<'a> {
    let take = arguments.text("takeId");
    let id = {
        let mut account = world.account.borrow_mut();
        let known = account.takes.get(take).map(Arc::clone).ok_or_else(not_found)?;
        let mut job = Job {
            take: take.to_owned(),
            fails: take == FAILING_TAKE || !account.are_there(&known.sources, world.pace()),
            metadata: arguments.given("metadata").map(str::to_owned),
            name: arguments.name("name"),
            rig: arguments.name("rig"),
            inputs: json!({
                "clipWindow": arguments.plain("clipWindow"),
                "numberOfActors": arguments.plain("numberOfActors"),
                "options": arguments.plain("options"),
            }),
            ..Job::new(world.now)
        };
        if let Value::Array(outputs) = arguments.plain("outputs")
            && !outputs.is_empty()
        {
            let names = outputs.iter().filter_map(Value::as_str);
            job.outputs = names.map(str::to_ascii_lowercase).collect();
        }
        let id = job.id.clone();
        account.add_job(job);
        id
    };
    get(world, &id)
}

/// Answers `updateJob`.
pub fn update<'a>(world: &'a World<'a>, arguments: Arguments<'_>) -> Resolved<'a> {
    let id = arguments.text("id");
    {
        let mut account = world.account.borrow_mut();
        let job = account.job_mut(id).ok_or_else(not_found)?;
        arguments.update(&mut job.metadata, &mut job.name);
    }
    get(world, id)
}
