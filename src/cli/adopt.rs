//! `jobs-gateway adopt`

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::block_on;
use super::config::ConfigFile;
use super::output::CommandError;
use crate::app;
use crate::audit::Journal;
use crate::auth::operator;
use crate::config::{self, Config};
use crate::graphql::ApiError;
use crate::index::notes;
use crate::jobs::{self, Jobs, KINDS, Standing};
use crate::model::{
    CallRecord, Caller, Clock, EntityId, EntityKind, ErrorCode, Failure, Kind, RequestContext,
    RequestId, RootField, TenantId, Trail,
};
use crate::reload::Loaded;
use crate::telemetry;

/// The time that records and the collector get.
const FLUSH: Duration = Duration::from_secs(5);

/// The status of a record of what was done: no HTTP, so that of success.
const DONE: u16 = 200;

/// Makes takes, files and jobs that were made in Move directly a tenant's own. Asks before it writes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The tenant that they become.
    #[arg(long, value_parser = |text: &str| TenantId::parse(text))]
    tenant: TenantId,
    /// Write without asking.
    #[arg(long)]
    yes: bool,
    /// Their ids: `take-…`, `file-…`, `job-…`.
    #[arg(required = true, value_parser = adoptable)]
    ids: Vec<EntityId>,
}

/// Reads the id of something that can be written again.
fn adoptable(text: &str) -> Result<EntityId, String> {
    let id = EntityId::of_any_kind(text).map_err(|error| error.to_string())?;
    match jobs::adopter(id.kind()) {
        Some(_) => Ok(id),
        None => Err(format!("Move's API cannot change a {} once it is there", id.kind())),
    }
}

/// Adopts what is named; fails unless all of it is the tenant's afterwards.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let loaded = match args.config.load() {
        Ok(loaded) => loaded,
        Err(found) => {
            eprintln!("{}", CommandError::from(found));
            return ExitCode::FAILURE;
        }
    };
    block_on(async {
        let config::Telemetry { log, otlp } = &loaded.config.telemetry;
        let adopted = match telemetry::init(&log.level, log.format, otlp.as_ref()) {
            Ok(_log) => adopt(args, &loaded).await,
            Err(error) => Err(error.into()),
        };
        telemetry::flush(FLUSH).await;
        match adopted {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        }
    })
}

/// Returns true if all that is named is the tenant's afterwards.
async fn adopt(args: &Args, loaded: &Loaded) -> Result<bool, Box<dyn std::error::Error>> {
    let Loaded { config, policies, .. } = loaded;
    let tenant = policies.tenant(&args.tenant).ok_or_else(|| {
        format!("there is no tenant `{}`: `jobs-gateway tenants` lists them", args.tenant)
    })?;
    let journal = journal(config)?;
    let jobs = app::heart(config, Clock::system(), journal.clone())?;
    let caller = operator::caller(tenant, policies, "adopt");
    let adoption = Adoption { args, config, jobs: &jobs, caller };
    let (unclaimed, are_all) = adoption.look().await?;
    if unclaimed.is_empty() {
        return Ok(are_all);
    }
    if !args.yes && !asked(unclaimed.len(), &args.tenant)? {
        println!("nothing was changed");
        return Ok(false);
    }
    let (record, is_done) = adoption.write(&unclaimed).await;
    telemetry::emit(&record);
    journal.record(record).await;
    if !journal.flush(FLUSH).await {
        return Err("the records of it cannot be written".into());
    }
    for kind in KINDS {
        let adopted = unclaimed.iter().filter(|id| id.kind() == kind).cloned();
        if let Some(index) = app::index_file(config, kind) {
            notes::leave(&index, &adopted.collect::<Vec<_>>())?;
        }
    }
    // Whoever was let read it as nobody's is not any more.
    for own in policies.tenants() {
        for id in &unclaimed {
            jobs.forget(&own.id, Some(id)).await;
        }
    }
    Ok(is_done && are_all)
}

/// Opens the records of this command: beside those of a gateway that runs, whose files are its own.
fn journal(config: &Config) -> io::Result<Journal> {
    let Some(audit) = &config.audit else {
        eprintln!("warning: `audit` is not set: no record is kept of this");
        return Ok(Journal::none());
    };
    Journal::open(&audit.journal.beside("adopt"))
}

/// Asks the operator. No answer is a no.
fn asked(count: usize, tenant: &TenantId) -> io::Result<bool> {
    print!("Write the envelope of {tenant} into {count} of them? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// One use of the command.
struct Adoption<'a> {
    args: &'a Args,
    config: &'a Config,
    jobs: &'a Jobs,
    caller: Caller,
}

impl Adoption<'_> {
    /// Prints whose everything is. Returns what is nobody's, and whether the rest is the tenant's.
    async fn look(&self) -> Result<(Vec<EntityId>, bool), Box<dyn std::error::Error>> {
        let request = self.request(&RequestId::new(), [].into());
        let (mut unclaimed, mut are_all) = (Vec::new(), true);
        for id in &self.args.ids {
            let trail = Trail::unread(RootField::GetTake);
            let request = RequestContext { deadline: self.deadline(), ..request.clone() };
            let standing = self.jobs.standing(&request, &trail, id).await;
            match standing {
                Ok(Standing::Nobodys(_)) if unclaimed.contains(id) => {}
                Ok(Standing::Nobodys(_)) => unclaimed.push(id.clone()),
                standing => {
                    are_all &= matches!(standing, Ok(Standing::Own));
                    println!("{id}: {}", self.words(&standing, "already"));
                }
            }
        }
        let is_file = |id: &&EntityId| id.kind() == EntityKind::File;
        let files: Vec<_> = unclaimed.iter().filter(is_file).cloned().collect();
        let trail = Trail::unread(RootField::GetFile);
        let held = self.jobs.held_by_others(&request, &trail, &files).await;
        let held = held.map_err(|error| {
            format!("it cannot be told whose files are: {}", ApiError::from(error).message)
        })?;
        unclaimed.retain(|id| {
            let is_held = held.contains(id);
            let words = if is_held {
                "something of another tenant's holds it, so it stays"
            } else {
                "nobody's"
            };
            println!("{id}: {words}");
            are_all &= !is_held;
            !is_held
        });
        Ok((unclaimed, are_all))
    }

    /// Writes and prints what became of each. Returns the record of it, and whether all was done.
    async fn write(&self, ids: &[EntityId]) -> (Box<CallRecord>, bool) {
        let field = |id: &EntityId| jobs::adopter(id.kind()).unwrap_or(RootField::UpdateTake);
        let trails: Arc<[Trail]> =
            ids.iter().map(|id| Trail::new(id.as_str(), field(id))).collect();
        let request_id = RequestId::new();
        let mut record = Box::new(CallRecord::begin(request_id, Clock::system().now()));
        record.authenticated(&self.caller);
        record.parsed(Kind::Mutation, Arc::clone(&trails));
        record.executing();
        let (mut failures, mut is_done) = (Vec::new(), true);
        let request = self.request(&request_id, Arc::clone(&trails));
        for (id, trail) in ids.iter().zip(&*trails) {
            let request = RequestContext { deadline: self.deadline(), ..request.clone() };
            trail.begin();
            let adopted = self.jobs.adopt(&request, trail, id).await;
            trail.end();
            println!("{id}: {}", self.words(&adopted, "now"));
            is_done &= matches!(adopted, Ok(Standing::Own));
            let failed = match adopted {
                Ok(Standing::Own) => None,
                Ok(_) => Some(ErrorCode::Forbidden),
                Err(error) => Some(ApiError::from(error).code),
            };
            let root = Some(id.as_str().into());
            failures.extend(failed.map(|code| Failure { code, root }));
        }
        record.executed(false);
        record.failed(failures);
        record.answered(DONE);
        record.ended();
        (record, is_done)
    }

    fn words(&self, standing: &Result<Standing, jobs::Error>, since: &str) -> String {
        match standing {
            Ok(Standing::Own) => format!("{since} {}'s", self.caller.tenant.id),
            Ok(Standing::Nobodys(_)) => "nobody's".to_owned(),
            Ok(Standing::Anothers) => "another tenant's, so it stays".to_owned(),
            Ok(Standing::Unknown) => {
                "its metadata does not tell whose it is, so it stays".to_owned()
            }
            Ok(Standing::Missing) => "Move has no such thing".to_owned(),
            Err(error) => format!("error: {}", ApiError::from(error.clone()).message),
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.config.server.request_timeout
    }

    fn request(&self, id: &RequestId, trails: Arc<[Trail]>) -> RequestContext {
        RequestContext {
            id: *id,
            callers_id: None,
            source: None,
            caller: self.caller.clone(),
            deadline: self.deadline(),
            fresh: true,
            trace: None,
            forward: None,
            keyed: None,
            claim: None,
            trails,
        }
    }
}
