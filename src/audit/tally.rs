//! Refused requests, counted: whoever is refused over and over leaves few records.
//!
//! Strangers have no records of their own. Of the holder of a credential the first few refusals between
//! two summaries have, and the others are counted.

use std::collections::HashMap;
use std::mem;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::actor::{Actor, SourceEndpoint};
use super::event::{Ending, Event, Refusals};
use crate::model::{CallRecord, CredentialId, RefusedCaller, RequestId, TenantId};

/// The number of refusals of one credential, for one reason, that have records of their own.
const RECORDED: u64 = 10;

/// The number of pairs of address and reason that are told apart among strangers.
const STRANGERS: usize = 64;

/// The number of pairs of credential and reason that are told apart within one tenant.
const CREDENTIALS: usize = 64;

/// The requests that were refused since the last summary.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    strangers: Group<Option<IpAddr>, STRANGERS>,
    tenants: HashMap<TenantId, Group<CredentialId, CREDENTIALS>>,
}

/// Counts of several callers. Those that come when there are `MOST` are not told apart.
#[derive(Debug)]
struct Group<K, const MOST: usize> {
    known: HashMap<(K, Ending), Entry>,
    others: HashMap<Ending, Entry>,
}

/// Refused requests that are told together.
#[derive(Debug, Default)]
struct Entry {
    /// The number of them that have records of their own.
    recorded: u64,
    counted: Option<Counted>,
}

/// Those of them that have not.
#[derive(Debug)]
struct Counted {
    requests: u64,
    first: Timestamp,
    last: Timestamp,
    source: SourceEndpoint,
    /// The id of the last of them.
    request_id: RequestId,
}

/// Summaries, by the chain where they belong.
#[derive(Debug, Default)]
pub struct Summaries {
    /// Of holders of credentials.
    pub holders: Vec<Event>,
    /// Of strangers.
    pub strangers: Vec<Event>,
}

impl Tally {
    /// Counts a call if it was refused. Returns whether that is all that is to be kept of it.
    pub fn takes(&self, record: &CallRecord) -> bool {
        let Some(caller) = record.refused_caller() else { return false };
        let ending = Ending {
            outcome: record.outcome(),
            reason: record.refused_because,
            http_status: record.status,
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (entry, recorded) = match caller {
            RefusedCaller::Stranger => (counts.strangers.entry(record.source, ending), 0),
            RefusedCaller::Holder(tenant, credential) => {
                let group = counts.tenants.entry(tenant.clone()).or_default();
                (group.entry(credential.clone(), ending), RECORDED)
            }
        };
        if entry.recorded < recorded {
            entry.recorded += 1;
            return false;
        }
        entry.count(record);
        true
    }

    /// Takes what was counted, as records.
    pub fn summaries(&self) -> Summaries {
        let Counts { strangers, tenants } =
            mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let strangers = strangers.summaries(|_| Actor::Stranger).collect();
        let holders = tenants.into_iter().flat_map(|(tenant, group)| {
            group.summaries(move |credential| match credential {
                Some(credential) => Actor::Holder(tenant.clone(), credential),
                None => Actor::Several(tenant.clone()),
            })
        });
        Summaries { holders: holders.collect(), strangers }
    }
}

impl<K, const MOST: usize> Default for Group<K, MOST> {
    fn default() -> Self {
        Self { known: HashMap::new(), others: HashMap::new() }
    }
}

impl<K: std::hash::Hash + Eq, const MOST: usize> Group<K, MOST> {
    fn entry(&mut self, caller: K, ending: Ending) -> &mut Entry {
        let key = (caller, ending);
        if self.known.len() < MOST || self.known.contains_key(&key) {
            self.known.entry(key).or_default()
        } else {
            self.others.entry(ending).or_default()
        }
    }

    /// A record of each entry that counted anything; `actor` tells whose it is, also of those that were not
    /// told apart.
    fn summaries(self, actor: impl Fn(Option<K>) -> Actor) -> impl Iterator<Item = Event> {
        let known = self.known.into_iter();
        let known = known.map(|((caller, ending), entry)| (Some(caller), ending, entry));
        let others = self.others.into_iter().map(|(ending, entry)| (None, ending, entry));
        known.chain(others).filter_map(move |(caller, ending, entry)| {
            let Counted { requests, first, last, source, request_id } = entry.counted?;
            let source = if caller.is_some() { source } else { SourceEndpoint::Several };
            let actor = actor(caller);
            Some(Event::Refusals(Refusals {
                requests,
                first,
                last,
                actor,
                source,
                request_id,
                ending,
            }))
        })
    }
}

impl Entry {
    fn count(&mut self, record: &CallRecord) {
        let (at, request_id, source) = (record.at, record.request_id, record.source.into());
        let counted = self.counted.get_or_insert(Counted {
            requests: 0,
            first: at,
            last: at,
            source,
            request_id,
        });
        counted.requests += 1;
        (counted.last, counted.request_id) = (at, request_id);
        if counted.source != source {
            counted.source = SourceEndpoint::Several;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ErrorCode, Failure, RequestMethod};

    fn refused(code: ErrorCode, from: u8) -> CallRecord {
        let mut record = CallRecord::begin(RequestId::new(), Timestamp::UNIX_EPOCH);
        record.arrived(RequestMethod::Post, Some([10, 0, 0, from].into()), None);
        record.failed(vec![Failure { code, root: None }]);
        record.answered(code.status());
        record
    }

    fn held(mut record: CallRecord, credential: &str) -> CallRecord {
        let tenant = TenantId::parse("acme").unwrap();
        record.held_by(tenant, CredentialId::parse(credential).unwrap());
        record
    }

    fn count(event: &Event) -> u64 {
        match event {
            Event::Refusals(refusals) => refusals.requests,
            _ => 0,
        }
    }

    #[test]
    fn however_many_strangers_there_are_their_summaries_are_few() {
        let tally = Tally::default();
        for n in 0..100_000_u32 {
            let from = u8::try_from(n % 200).unwrap_or_default();
            assert!(tally.takes(&refused(ErrorCode::Unauthenticated, from)));
        }
        let summaries = tally.summaries().strangers;
        assert_eq!(summaries.len(), STRANGERS + 1);
        assert_eq!(summaries.iter().map(count).sum::<u64>(), 100_000);
        let others = summaries.iter().filter(|event| event.source() == SourceEndpoint::Several);
        assert_eq!(others.map(count).collect::<Vec<_>>(), [100_000 / 200 * (200 - 64)]);
        assert!(tally.summaries().strangers.is_empty(), "they are taken once");
    }

    #[test]
    fn a_holders_first_refusals_are_records_and_the_rest_are_counted() {
        let tally = Tally::default();
        let limited = |key| held(refused(ErrorCode::RateLimited, 1), key);
        let counted = (0..500).filter(|_| tally.takes(&limited("main"))).count();
        assert_eq!(counted, 490);
        assert!(!tally.takes(&limited("second")), "another key has records of its own");
        assert!(!tally.takes(&held(refused(ErrorCode::NotFound, 1), "main")), "it was not refused");
        let summaries = tally.summaries().holders;
        assert_eq!(summaries.iter().map(count).collect::<Vec<_>>(), [490]);
        assert_eq!(summaries[0].actor().tenant().map(TenantId::as_str), Some("acme"));
        assert_eq!(summaries[0].actor().credential().map(CredentialId::as_str), Some("main"));
    }
}
