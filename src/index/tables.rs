//! The tables of an index.

use std::collections::HashSet;
use std::ops::Bound::{Excluded, Included};

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, WriteTransaction,
};

use super::{Filed, FoundPlace, JobPlace, JobRow, PlaceQuery, WalkProgress};
use crate::model::{EntityId, TenantId};

/// Jobs by owner, creation and id.
const OF_OWNER: TableDefinition<'_, (&str, i64, &str), ()> = TableDefinition::new("of_owner");

/// Jobs by owner, take, creation and id.
const OF_TAKE: TableDefinition<'_, (&str, &str, i64, &str), ()> = TableDefinition::new("of_take");

/// The owner and the take of each job, by creation and id.
const JOBS: TableDefinition<'_, (i64, &str), (&str, &str)> = TableDefinition::new("jobs");

/// The creation of each job.
const CREATED: TableDefinition<'_, &str, i64> = TableDefinition::new("created");

/// The progress, as JSON.
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");

/// The name of the progress, which changes with the form of the tables.
const PROGRESS: &str = "progress 2";

struct Tables<'a> {
    of_owner: Table<'a, (&'static str, i64, &'static str), ()>,
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
        let JobRow { place: JobPlace { created, id }, owner, take } = row;
        self.remove(id)?;
        let owner = owner.as_str();
        self.of_owner.insert((owner, *created, &**id), ())?;
        self.of_take.insert((owner, &**take, *created, &**id), ())?;
        self.jobs.insert((*created, &**id), (owner, &**take))?;
        self.created.insert(&**id, *created)?;
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
    let mut begun = database.begin_write()?;
    if !durably {
        begun
            .set_durability(Durability::None)
            .map_err(|error| redb::Error::Io(std::io::Error::other(error)))?;
    }
    {
        let mut tables = Tables::open(&begun)?;
        for id in gone {
            tables.remove(id)?;
        }
        for row in rows {
            tables.put(row)?;
        }
        if let Some(progress) = progress {
            tables.set(progress)?;
        }
    }
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
}

/// Compares rows with those of the tables.
pub fn compare(database: &Database, rows: Vec<JobRow>) -> Result<Compared, redb::Error> {
    let jobs = database.begin_read()?.open_table(JOBS)?;
    let mut compared = Compared::default();
    for row in rows {
        let known = jobs.get((row.place.created, &*row.place.id))?;
        compared.known += usize::from(known.is_some());
        let is_same = known.is_some_and(|known| {
            let (owner, take) = known.value();
            let is_still = owner == Filed::Unreadable.as_str() && row.owner == Filed::Unknown;
            take == row.take && (owner == row.owner.as_str() || is_still)
        });
        if !is_same {
            compared.news.push(row);
        }
    }
    Ok(compared)
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

/// Answers a question, in the order of the listing.
pub fn find(database: &Database, query: &PlaceQuery) -> Result<Vec<FoundPlace>, redb::Error> {
    let begun = database.begin_read()?;
    let mut found = Vec::new();
    for owner in &query.owners {
        let owner = owner.as_str();
        let (first, last) = match (&query.after, query.ascending) {
            (None, _) => (Included((i64::MIN, "")), Excluded((i64::MAX, ""))),
            (Some(after), true) => {
                (Excluded((after.created, &*after.id)), Excluded((i64::MAX, "")))
            }
            (Some(after), false) => {
                (Included((i64::MIN, "")), Excluded((after.created, &*after.id)))
            }
        };
        let is_unknown = owner == Filed::Unknown.as_str();
        let place = |created, id: &str| {
            let place = JobPlace { created, id: id.to_owned() };
            FoundPlace { place, is_unknown }
        };
        if let Some(take) = query.take.as_deref() {
            let key = |(created, id)| (owner, take, created, id);
            let range = begun.open_table(OF_TAKE)?.range((first.map(key), last.map(key)))?;
            let places = range.map(|row| row.map(|(key, _)| place(key.value().2, key.value().3)));
            gather(places, query, &mut found)?;
        } else {
            let key = |(created, id)| (owner, created, id);
            let range = begun.open_table(OF_OWNER)?.range((first.map(key), last.map(key)))?;
            let places = range.map(|row| row.map(|(key, _)| place(key.value().1, key.value().2)));
            gather(places, query, &mut found)?;
        }
    }
    found.sort();
    if !query.ascending {
        found.reverse();
    }
    found.truncate(query.most);
    Ok(found)
}

fn gather(
    places: impl DoubleEndedIterator<Item = Result<FoundPlace, redb::StorageError>>,
    query: &PlaceQuery,
    found: &mut Vec<FoundPlace>,
) -> Result<(), redb::Error> {
    if query.ascending {
        for place in places.take(query.most) {
            found.push(place?);
        }
    } else {
        for place in places.rev().take(query.most) {
            found.push(place?);
        }
    }
    Ok(())
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
