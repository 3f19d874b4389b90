//! Scans: the rows of a listing in their order, each judged by what is known of its job.

use std::ops::Bound::{self, Excluded, Included};
use std::ops::ControlFlow;

use redb::{Database, Key, Range, ReadableDatabase, Value};

use super::tables::{NOT_KNOWN, OF_OWNER, OF_TAKE};
use super::{Filed, Found, FoundPlace, JobPlace, Judgement, KnownJob, PlaceQuery};

/// The ends of a scan: moments of creation with ids.
type Ends<'a> = (Bound<(i64, &'a str)>, Bound<(i64, &'a str)>);

/// The bytes of a job that a filter reads for the price of a row.
const BYTES_A_ROW: usize = 256;

/// One owner's part of a scan.
struct Scan<'a> {
    query: &'a PlaceQuery,
    is_unknown: bool,
    rows: usize,
    hits: usize,
    found: &'a mut Found,
}

impl Scan<'_> {
    /// Takes a row.
    fn row(
        &mut self,
        (created, id): (i64, &str),
        (seen, text): (i64, &str),
    ) -> ControlFlow<JobPlace> {
        let place = || JobPlace { created, id: id.to_owned() };
        self.rows += 1;
        let is_known = !text.is_empty();
        let judgement = match &self.query.judge {
            _ if self.is_unknown => Judgement::Open,
            None => Judgement::Wanted,
            Some(judge) if is_known => {
                self.rows += text.len() / BYTES_A_ROW;
                judge(seen, text)
            }
            Some(_) => Judgement::Open,
        };
        if judgement != Judgement::NotWanted {
            self.hits += 1;
            if self.query.is_count && judgement == Judgement::Wanted {
                self.found.count += 1;
            } else {
                let known = is_known.then(|| KnownJob { seen, text: text.into() });
                let is_unknown = self.is_unknown;
                self.found.places.push(FoundPlace { place: place(), is_unknown, known });
            }
        }
        if self.rows >= self.query.most_rows {
            ControlFlow::Break(place())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn is_full(&self) -> bool {
        !self.query.is_count && self.hits >= self.query.most
    }
}

/// Answers a question, in the order of the listing.
pub fn find(database: &Database, query: &PlaceQuery) -> Result<Found, redb::Error> {
    let begun = database.begin_read()?;
    let of_owner = begun.open_table(OF_OWNER)?;
    let (mut found, mut cut) = (Found::default(), None::<JobPlace>);
    let is_before = |one: &JobPlace, other: &JobPlace| {
        if query.ascending { one < other } else { one > other }
    };
    for filed in &query.owners {
        let owner = filed.as_str();
        let Some((first, last)) = ends(query) else { continue };
        let is_unknown = *filed == Filed::Unknown;
        let mut scan = Scan { query, is_unknown, rows: 0, hits: 0, found: &mut found };
        let reached = if let Some(take) = query.take.as_deref() {
            let key = |(created, id)| (owner, take, created, id);
            let range = begun.open_table(OF_TAKE)?.range((first.map(key), last.map(key)))?;
            each(range, query.ascending, |(_, _, created, id), ()| {
                if scan.is_full() {
                    return Ok(ControlFlow::Break(None));
                }
                let known = of_owner.get((owner, created, id))?;
                let known = known.as_ref().map_or(NOT_KNOWN, redb::AccessGuard::value);
                Ok(scan.row((created, id), known).map_break(Some))
            })?
        } else {
            let key = |(created, id)| (owner, created, id);
            let range = of_owner.range((first.map(key), last.map(key)))?;
            each(range, query.ascending, |(_, created, id), known| {
                if scan.is_full() {
                    return Ok(ControlFlow::Break(None));
                }
                Ok(scan.row((created, id), known).map_break(Some))
            })?
        };
        found.rows += scan.rows;
        if let Some(reached) = reached
            && cut.as_ref().is_none_or(|cut| is_before(&reached, cut))
        {
            cut = Some(reached);
        }
    }
    found.places.sort_by(|one, other| one.place.cmp(&other.place));
    if !query.ascending {
        found.places.reverse();
    }
    // Beyond it not all owners' rows were looked through.
    if let Some(cut) = &cut {
        found.places.retain(|found| !is_before(cut, &found.place));
    }
    if !query.is_count && found.places.len() >= query.most {
        found.places.truncate(query.most);
        cut = None;
    }
    found.cut = cut;
    Ok(found)
}

/// The ends of a scan; `None` if nothing is between them.
fn ends(query: &PlaceQuery) -> Option<Ends<'_>> {
    let (after, before) = query.created;
    let mut first = Included((after.map_or(i64::MIN, |after| after.saturating_add(1)), ""));
    let mut last = Excluded((before.unwrap_or(i64::MAX), ""));
    if let Some(place) = &query.after {
        let place = (place.created, &*place.id);
        match (query.ascending, first, last) {
            (true, Included(from), _) if from <= place => first = Excluded(place),
            (false, _, Excluded(to)) if place < to => last = Excluded(place),
            _ => {}
        }
    }
    let (Included(from) | Excluded(from), Included(to) | Excluded(to)) = (first, last) else {
        return None;
    };
    (from < to).then_some((first, last))
}

/// Goes through a range, in one direction, until a row ends it.
fn each<K: Key + 'static, V: Value + 'static>(
    mut range: Range<'_, K, V>,
    ascending: bool,
    mut row: impl FnMut(
        K::SelfType<'_>,
        V::SelfType<'_>,
    ) -> Result<ControlFlow<Option<JobPlace>>, redb::Error>,
) -> Result<Option<JobPlace>, redb::Error> {
    loop {
        let next = if ascending { range.next() } else { range.next_back() };
        let Some(next) = next else { return Ok(None) };
        let (key, value) = next?;
        if let ControlFlow::Break(reached) = row(key.value(), value.value())? {
            return Ok(reached);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    use super::super::tables;
    use super::*;
    use crate::index::JobRow;
    use crate::model::TenantId;

    const OWNERS: usize = 3;

    fn owner(at: usize) -> Filed {
        match at {
            0 => Filed::Of(TenantId::parse("acme").expect("a tenant")),
            1 => Filed::Nobody,
            _ => Filed::Unknown,
        }
    }

    /// A row: its creation, its owner, its take, and what is known of it: nothing, wanted, not wanted, or open.
    type Made = (i64, usize, usize, usize);

    const TEXTS: [&str; 4] = ["", "wanted", "not wanted", "open"];

    fn judge(_: i64, text: &str) -> Judgement {
        match text {
            "wanted" => Judgement::Wanted,
            "open" => Judgement::Open,
            _ => Judgement::NotWanted,
        }
    }

    fn query(owners: usize, take: usize, ascending: bool, after: Option<JobPlace>) -> PlaceQuery {
        PlaceQuery {
            owners: (0..owners).map(owner).collect(),
            take: (take > 0).then(|| take.to_string()),
            ascending,
            after,
            created: (None, None),
            most: usize::MAX,
            most_rows: usize::MAX,
            judge: None,
            is_count: false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pages_of_any_size_are_the_rows_in_their_order_each_once(
            made in prop::collection::vec((0..20_i64, 0..OWNERS, 1..3_usize, 0..4_usize), 0..60),
            owners in 1..=OWNERS, take in 0..3_usize, ascending: bool, is_judged: bool,
            from in prop::option::of(0..20_i64), to in prop::option::of(0..20_i64),
            most in 1..8_usize, most_rows in 1..9_usize,
        ) {
            let database = Database::builder().create_with_backend(InMemoryBackend::new());
            let database = database.expect("a database");
            tables::prepare(&database).expect("tables");
            let row = |(n, (created, at, take, text)): (usize, &Made)| {
                let text = TEXTS[*text];
                let known = (!text.is_empty()).then(|| KnownJob { seen: 1, text: text.into() });
                let place = JobPlace { created: *created, id: format!("job-{n}") };
                JobRow { place, owner: owner(*at), take: take.to_string(), known }
            };
            let rows: Vec<_> = made.iter().enumerate().map(row).collect();
            tables::write(&database, &rows, &[], None, false).expect("written");
            let is_wanted = |(row, made): &(&JobRow, &Made)| {
                let is_open = made.3 == 0 || made.1 == 2;
                made.1 < owners
                    && (take == 0 || row.take == take.to_string())
                    && from.is_none_or(|from| made.0 > from)
                    && to.is_none_or(|to| made.0 < to)
                    && (!is_judged || is_open || TEXTS[made.3] != "not wanted")
            };
            let wanted = rows.iter().zip(&made).filter(is_wanted);
            let mut expected: BTreeMap<_, _> = wanted.map(|(row, made)| (row.place.clone(), made)).collect();
            let asked = |after, is_count| PlaceQuery {
                created: (from, to),
                most: if is_count { usize::MAX } else { most },
                most_rows,
                judge: is_judged.then(|| Box::new(judge) as _),
                is_count,
                ..query(owners, take, ascending, after)
            };
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = find(&database, &asked(after.clone(), false)).expect("found");
                prop_assert!(page.places.len() <= most && page.rows <= owners * most_rows);
                let last = page.places.last().map(|found| found.place.clone());
                found.extend(page.places.into_iter().map(|found| found.place));
                after = match page.cut.or(last) {
                    Some(next) => Some(next),
                    None => break,
                };
            }
            let places: Vec<_> = if ascending {
                expected.keys().cloned().collect()
            } else {
                expected.keys().rev().cloned().collect()
            };
            prop_assert_eq!(found, places);
            // Of one owner they are counted, but those that are open.
            expected.retain(|_, made| made.1 == 0);
            let (mut count, mut after) = (0, None);
            loop {
                let one = PlaceQuery { owners: vec![owner(0)], ..asked(after, true) };
                let part = find(&database, &one).expect("found");
                count += part.count + part.places.len();
                after = match part.cut {
                    Some(cut) => Some(cut),
                    None => break,
                };
            }
            prop_assert_eq!(count, expected.len());
        }
    }
}
