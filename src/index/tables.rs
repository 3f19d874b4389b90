//! The tables of an index.

use std::collections::HashSet;

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, WriteTransaction,
};

use super::knowledge::Telling;
use super::{Filed, JobPlace, JobRow, KnownJob, WalkProgress};
use crate::model::{EntityId, TenantId};

/// Jobs by owner, creation and id: the moment at which each was seen, and Move's words; both empty if they are not known.
pub const OF_OWNER: TableDefinition<'_, (&str, i64, &str), (i64, &str)> =
    TableDefinition::new("of_owner");

/// Jobs by owner, take, creation and id.
pub const OF_TAKE: TableDefinition<'_, (&str, &str, i64, &str), ()> =
    TableDefinition::new("of_take");

/// The owner and the take of each job, by creation and id.
const JOBS: TableDefinition<'_, (i64, &str), (&str, &str)> = TableDefinition::new("jobs");

/// The creation of each job.
const CREATED: TableDefinition<'_, &str, i64> = TableDefinition::new("created");

/// The progress, as JSON.
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");

/// The name of the progress, which changes with the form of the tables.
const PROGRESS: &str = "progress 3";

/// Nothing is known of a job but its place.
pub const NOT_KNOWN: (i64, &str) = (0, "");

struct Tables<'a> {
    of_owner: Table<'a, (&'static str, i64, &'static str), (i64, &'static str)>,
    of_take: Table<'a, (&'static str, &'static str, i64, &'static str), ()>,
    jobs: Table<'a, (i64, &'static str), (&'static str, &'static str)>,
    created: Table<'a, &'static str, i64>,
    state: Table<'a, &'static str, &'static [u8]>,
}

impl<'a> Tables<'a> {
    fn open(begun: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            of_owner: begun.open_table(OF_OWNER)?,
            of_take: begun.open_table(OF_TAKE)?,
            jobs: begun.open_table(JOBS)?,
            created: begun.open_table(CREATED)?,
            state: begun.open_table(STATE)?,
        })
    }

    fn put(&mut self, row: &JobRow) -> Result<(), redb::Error> {
        let JobRow { place: JobPlace { created, id }, owner, take, known } = row;
        let owner = owner.as_str();
        let filed = self.jobs.get((*created, &**id))?.map(|filed| filed.value() == (owner, take));
        if filed != Some(true) {
            self.remove(id)?;
            self.of_owner.insert((owner, *created, &**id), NOT_KNOWN)?;
            self.of_take.insert((owner, &**take, *created, &**id), ())?;
            self.jobs.insert((*created, &**id), (owner, &**take))?;
            self.created.insert(&**id, *created)?;
        }
        let Some(known) = known else { return Ok(()) };
        let before = self.of_owner.get((owner, *created, &**id))?.map(|before| before.value().0);
        if before.is_none_or(|before| before <= known.seen) {
            self.of_owner.insert((owner, *created, &**id), (known.seen, &*known.text))?;
        }
        Ok(())
    }

    /// Forgets Move's words about a job, which stays where it is.
    fn blank(&mut self, id: &str) -> Result<(), redb::Error> {
        let Some(created) = self.created.get(id)?.map(|created| created.value()) else {
            return Ok(());
        };
        if let Some(job) = self.jobs.get((created, id))? {
            let (owner, _) = job.value();
            self.of_owner.insert((owner, created, id), NOT_KNOWN)?;
        }
        Ok(())
    }

    fn remove(&mut self, id: &str) -> Result<(), redb::Error> {
        let Some(created) = self.created.remove(id)?.map(|created| created.value()) else {
            return Ok(());
        };
        if let Some(known) = self.jobs.remove((created, id))? {
            let (owner, take) = known.value();
            self.of_owner.remove((owner, created, id))?;
            self.of_take.remove((owner, take, created, id))?;
        }
        Ok(())
    }

    fn set(&mut self, progress: &WalkProgress) -> Result<(), redb::Error> {
        let text = serde_json::to_vec(progress)
            .map_err(|error| redb::Error::Io(std::io::Error::other(error)))?;
        self.state.insert(PROGRESS, &*text)?;
        Ok(())
    }
}

/// Makes the tables and reads the progress; `None` if they are of another form.
pub fn prepare(database: &Database) -> Result<Option<WalkProgress>, redb::Error> {
    let begun = database.begin_write()?;
    let progress = {
        let mut tables = Tables::open(&begun)?;
        let text = tables.state.get(PROGRESS)?.map(|text| text.value().to_vec());
        match text {
            Some(text) => serde_json::from_slice(&text).ok(),
            None if tables.jobs.is_empty()? => {
                tables.set(&WalkProgress::default())?;
                Some(WalkProgress::default())
            }
            None => None,
        }
    };
    begun.commit()?;
    Ok(progress)
}

/// Writes rows, takes jobs away, and notes the progress, all or nothing. With `durably` it is on disk afterwards.
pub fn write(
    database: &Database,
    rows: &[JobRow],
    gone: &[String],
    progress: Option<&WalkProgress>,
    durably: bool,
) -> Result<(), redb::Error> {
    change(database, durably, |tables| {
        gone.iter().try_for_each(|id| tables.remove(id))?;
        rows.iter().try_for_each(|row| tables.put(row))?;
        progress.map_or(Ok(()), |progress| tables.set(progress))
    })
}

/// Forgets Move's words about jobs. With `durably` that is on disk afterwards.
pub fn blank(database: &Database, ids: &[String], durably: bool) -> Result<(), redb::Error> {
    change(database, durably, |tables| ids.iter().try_for_each(|id| tables.blank(id)))
}

fn change(
    database: &Database,
    durably: bool,
    change: impl FnOnce(&mut Tables<'_>) -> Result<(), redb::Error>,
) -> Result<(), redb::Error> {
    let mut begun = database.begin_write()?;
    if !durably {
        begun
            .set_durability(Durability::None)
            .map_err(|error| redb::Error::Io(std::io::Error::other(error)))?;
    }
    change(&mut Tables::open(&begun)?)?;
    begun.commit()?;
    Ok(())
}

/// Rows beside those of the tables.
#[derive(Debug, Default)]
pub struct Compared {
    /// Those that are not there as they are.
    pub news: Vec<JobRow>,
    /// The number of jobs that are there, as they are or not.
    pub known: usize,
    /// The creation of the oldest job that is not there, in microseconds since 1970.
    pub oldest_unknown: Option<i64>,
}

/// Compares rows with those of the tables.
pub fn compare(database: &Database, rows: Vec<JobRow>) -> Result<Compared, redb::Error> {
    let begun = database.begin_read()?;
    let (jobs, of_owner) = (begun.open_table(JOBS)?, begun.open_table(OF_OWNER)?);
    let mut compared = Compared::default();
    for mut row in rows {
        let JobPlace { created, id } = &row.place;
        let Some(filed) = jobs.get((*created, &**id))? else {
            let oldest = compared.oldest_unknown.unwrap_or(i64::MAX);
            compared.oldest_unknown = Some(oldest.min(*created));
            compared.news.push(row);
            continue;
        };
        compared.known += 1;
        let (owner, take) = filed.value();
        let is_still = owner == Filed::Unreadable.as_str() && row.owner == Filed::Unknown;
        let is_filed = take == row.take && (owner == row.owner.as_str() || is_still);
        let is_known = match of_owner.get((owner, *created, &**id))? {
            Some(value) => is_known(value.value(), row.known.as_ref()),
            None => false,
        };
        if is_still {
            row.owner = Filed::Unreadable;
        }
        if !is_filed || !is_known {
            compared.news.push(row);
        }
    }
    Ok(compared)
}

/// Returns true if a row says nothing of a job, or nothing newer than what is known.
fn is_known((seen, text): (i64, &str), news: Option<&KnownJob>) -> bool {
    news.is_none_or(|news| !text.is_empty() && news.seen <= seen)
}

/// Picks the jobs of which something is known that may not be told any more.
pub fn outdated(
    database: &Database,
    told: Vec<(String, Telling)>,
) -> Result<Vec<String>, redb::Error> {
    let begun = database.begin_read()?;
    let (jobs, created) = (begun.open_table(JOBS)?, begun.open_table(CREATED)?);
    let of_owner = begun.open_table(OF_OWNER)?;
    let mut outdated = Vec::new();
    for (id, telling) in told {
        let Some(created) = created.get(&*id)? else { continue };
        let Some(job) = jobs.get((created.value(), &*id))? else { continue };
        let known = of_owner.get((job.value().0, created.value(), &*id))?;
        if known.is_some_and(|known| known.value() != NOT_KNOWN && !telling.allows(known.value().0))
        {
            outdated.push(id);
        }
    }
    Ok(outdated)
}

/// Returns true if any job was created between two moments, the latter excluded.
pub fn has_any(database: &Database, (from, to): (i64, i64)) -> Result<bool, redb::Error> {
    let jobs = database.begin_read()?.open_table(JOBS)?;
    Ok(from < to && jobs.range((from, "")..(to, ""))?.next().transpose()?.is_some())
}

/// Picks the jobs that are not filed under this tenant, or under any where it is not known whose they are.
pub fn not_filed(
    database: &Database,
    touched: Vec<(EntityId, Option<TenantId>)>,
) -> Result<Vec<EntityId>, redb::Error> {
    let begun = database.begin_read()?;
    let (created, jobs) = (begun.open_table(CREATED)?, begun.open_table(JOBS)?);
    let mut found = Vec::new();
    for (id, owner) in touched {
        let known = match created.get(id.as_str())? {
            Some(created) => jobs.get((created.value(), id.as_str()))?,
            None => None,
        };
        let is_filed = known.is_some_and(|known| match (known.value().0, owner) {
            (filed, Some(owner)) => filed == owner.as_str(),
            (filed, None) => TenantId::parse(filed).is_ok(),
        });
        if !is_filed {
            found.push(id);
        }
    }
    Ok(found)
}

/// Finds those that were created between two moments, both excluded, and are not among `present`.
pub fn absent(
    database: &Database,
    (from, to): (i64, i64),
    present: &[JobRow],
) -> Result<Vec<String>, redb::Error> {
    let present: HashSet<&str> = present.iter().map(|row| &*row.place.id).collect();
    let jobs = database.begin_read()?.open_table(JOBS)?;
    let mut absent = Vec::new();
    if from.saturating_add(1) >= to {
        return Ok(absent);
    }
    for known in jobs.range((from + 1, "")..(to, ""))? {
        let (key, _) = known?;
        let (_, id) = key.value();
        if !present.contains(id) {
            absent.push(id.to_owned());
        }
    }
    Ok(absent)
}

/// Reads the number of rows and the progress; `None` if the tables are of another form.
pub fn read(database: &impl ReadableDatabase) -> Result<Option<(u64, WalkProgress)>, redb::Error> {
    let begun = database.begin_read()?;
    let (jobs, state) = (begun.open_table(JOBS)?.len()?, begun.open_table(STATE)?);
    let text = state.get(PROGRESS)?;
    let progress = text.and_then(|text| serde_json::from_slice(text.value()).ok());
    Ok(progress.map(|progress| (jobs, progress)))
}

/// Counts the rows.
pub fn count(database: &Database) -> Result<u64, redb::Error> {
    Ok(database.begin_read()?.open_table(JOBS)?.len()?)
}
