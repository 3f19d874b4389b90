//! The entry of one key.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Key;
use crate::model::{Before, Effect, KeyedMutation, Look};
use crate::seal::Seal;

/// An entry: some hundred bytes, however long the mutation and its answer were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Of the operation and its variables, in base64url.
    pub fingerprint: String,
    /// The moment at which the first try began, or one that may have been forgotten.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub began: Timestamp,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub expires: Timestamp,
    pub state: State,
    /// True if something was sent, as far as anybody knows.
    #[serde(default = "yes")]
    pub was_sent: bool,
    /// The certain effects of its root fields, by mark: the job that was made or changed, or null for one
    /// that did nothing.
    pub fields: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    /// Until `lease`, unless it ends before.
    Running {
        process: String,
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        lease: Timestamp,
    },
    /// Over; what is not among the fields may or may not have happened.
    Open,
    /// All of it was done.
    Done,
}

/// An entry as it stands in a store.
#[derive(Debug)]
pub(super) enum Stored {
    /// Past its time: as if nothing stood there.
    Expired,
    /// Sealed with another key, or damaged: something was tried, and that is all.
    Unreadable,
    Entry(Entry),
}

/// The default of a member that older entries do not have.
const fn yes() -> bool {
    true
}

/// The bytes of the time of expiry, which stands before what is sealed, so that stores can let go of
/// entries that they cannot read.
const EXPIRY: usize = 8;

impl Entry {
    /// The entry as stores keep it. `None` if the system has no random bytes to give.
    pub fn seal(&self, seal: &Seal, key: &Key) -> Option<Bytes> {
        // Texts and times always become JSON.
        let text = serde_json::to_vec(self).ok()?;
        let expires = self.expires.as_millisecond().to_be_bytes();
        let sealed = seal.seal(&place(key, expires), &text)?;
        Some([expires.as_slice(), &sealed].concat().into())
    }

    /// The mutation as this entry knows it, which has to look for what is not certain.
    pub fn mutation(&self, key: &Key) -> KeyedMutation {
        let is_certain = self.was_sent || matches!(self.state, State::Running { .. });
        let look = if is_certain { Look::Tried } else { Look::Forgotten };
        KeyedMutation::new(key.hash, Some(look(self.began)), self.fields.clone())
    }

    /// Returns true if it says of a root field that certainly nothing happened.
    pub fn has_refusals(&self) -> bool {
        self.fields.values().any(Option::is_none)
    }

    /// Forgets which root fields did nothing.
    pub fn without_refusals(mut self) -> Self {
        self.fields.retain(|_, job| job.is_some());
        self
    }

    /// The entry when nobody runs its mutation any more.
    pub fn over(mut self) -> Self {
        if let State::Running { .. } = self.state {
            (self.state, self.was_sent) = (State::Open, true);
        }
        self
    }

    /// Merges two entries of one mutation that nobody runs any more. That nothing
    /// happened to a root field is certain only where both say so.
    pub fn merged(self, other: Self) -> Self {
        let (this, other) = (self.over(), other.over());
        let is_done = [&this, &other].iter().any(|entry| entry.state == State::Done);
        let mut fields = this.fields;
        fields.retain(|mark, job| job.is_some() || other.fields.contains_key(mark));
        for (mark, job) in other.fields {
            if job.is_some() {
                fields.insert(mark, job);
            }
        }
        Self {
            fingerprint: this.fingerprint,
            began: this.began.min(other.began),
            expires: this.expires.max(other.expires),
            state: if is_done { State::Done } else { State::Open },
            was_sent: this.was_sent || other.was_sent,
            fields,
        }
    }
}

/// Decides how an entry goes on after a try: what was certain before stays certain, and what had to
/// be looked for is never certain not to have happened.
pub(super) fn after<'a>(
    mutation: &KeyedMutation,
    effects: impl IntoIterator<Item = (&'a str, Effect)>,
) -> After {
    let mut fields = BTreeMap::new();
    let (mut count, mut was_sent) = (0, mutation.was_tried());
    for (response_key, effect) in effects {
        count += 1;
        was_sent |= effect != Effect::NotDone;
        let job = match (mutation.before(response_key), effect) {
            (Before::Done(id), _) | (_, Effect::Done(id)) => Some(id),
            (Before::NotDone, Effect::NotDone) => None,
            (Before::Unknown { .. }, Effect::NotDone) | (_, Effect::Unknown) => continue,
        };
        fields.insert(mutation.mark(response_key), job);
    }
    let is_certain = fields.len() == count;
    if is_certain && fields.values().all(Option::is_none) {
        After::Nothing
    } else if is_certain && fields.values().all(Option::is_some) {
        After::Over { state: State::Done, was_sent, fields }
    } else {
        After::Over { state: State::Open, was_sent, fields }
    }
}

/// The way an entry goes on after a try.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing of it was done, ever: there is nothing to remember.
    Nothing,
    /// Something of it was done, or may have been: an entry goes on with this.
    Over { state: State, was_sent: bool, fields: BTreeMap<String, Option<String>> },
}

/// Returns the moment at which what stands in a store may go.
pub(super) fn expiry(stored: &[u8]) -> Option<Timestamp> {
    let (expires, _) = stored.split_first_chunk::<EXPIRY>()?;
    Timestamp::from_millisecond(i64::from_be_bytes(*expires)).ok()
}

/// Reads what stands in a store.
pub(super) fn read(seal: &Seal, key: &Key, stored: &[u8], now: Timestamp) -> Stored {
    if expiry(stored).is_some_and(|expires| expires <= now) {
        return Stored::Expired;
    }
    let entry = stored.split_first_chunk::<EXPIRY>().and_then(|(expires, sealed)| {
        let text = seal.open(&place(key, *expires), sealed)?;
        serde_json::from_slice(&text).ok()
    });
    entry.map_or(Stored::Unreadable, Stored::Entry)
}

/// An entry is bound to its key and its time: moved to another place it does not open.
fn place(key: &Key, expires: [u8; EXPIRY]) -> Vec<u8> {
    [key.name().as_bytes(), &expires].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TenantId;

    fn key() -> Key {
        Key::of(&TenantId::parse("acme").expect("a name"), "k-1")
    }

    fn job(n: u32) -> String {
        format!("job-{n}")
    }

    fn over(state: State, was_sent: bool, fields: BTreeMap<String, Option<String>>) -> After {
        After::Over { state, was_sent, fields }
    }

    fn mutation(look: Option<Look>, known: &[(&str, Option<String>)]) -> KeyedMutation {
        let bare = KeyedMutation::new(key().hash, None, BTreeMap::new());
        let known = known.iter().map(|(field, job)| (bare.mark(field), job.clone())).collect();
        KeyedMutation::new(key().hash, look, known)
    }

    #[test]
    fn a_try_that_had_to_look_never_ends_as_nothing() {
        let looked = mutation(Some(Look::Tried(Timestamp::UNIX_EPOCH)), &[]);
        let after = after(&looked, [("a", Effect::NotDone)]);
        assert_eq!(after, over(State::Open, true, BTreeMap::new()));
        let forgotten = mutation(Some(Look::Forgotten(Timestamp::UNIX_EPOCH)), &[]);
        let after = super::after(&forgotten, [("a", Effect::NotDone)]);
        assert_eq!(after, over(State::Open, false, BTreeMap::new()), "nothing was sent");
    }

    #[test]
    fn each_root_field_is_remembered_by_itself() {
        let first = mutation(None, &[]);
        assert_eq!(after(&first, [("a", Effect::NotDone), ("b", Effect::NotDone)]), After::Nothing);
        let half = after(&first, [("a", Effect::Done(job(1))), ("b", Effect::NotDone)]);
        let fields = [(first.mark("a"), Some("job-1".to_owned())), (first.mark("b"), None)];
        assert_eq!(half, over(State::Open, true, fields.into()));
        let both = after(
            &mutation(
                Some(Look::Tried(Timestamp::UNIX_EPOCH)),
                &[("a", Some(job(1))), ("b", None)],
            ),
            [("a", Effect::Unknown), ("b", Effect::Done(job(2)))],
        );
        let fields = [("a", "job-1"), ("b", "job-2")]
            .map(|(field, id)| (first.mark(field), Some(id.to_owned())));
        assert_eq!(both, over(State::Done, true, fields.into()));
        let open = after(&first, [("a", Effect::Unknown), ("b", Effect::NotDone)]);
        assert_eq!(open, over(State::Open, true, [(first.mark("b"), None)].into()));
    }

    #[test]
    fn an_entry_opens_with_its_key_at_its_place_until_its_time() {
        let seal = Seal::new(&[7; 32], "test");
        let now = Timestamp::UNIX_EPOCH;
        let entry = Entry {
            fingerprint: "f".into(),
            began: now,
            expires: now + std::time::Duration::from_secs(1),
            state: State::Open,
            was_sent: true,
            fields: BTreeMap::from([("mark".into(), Some("job-1".into()))]),
        };
        let stored = entry.seal(&seal, &key()).expect("sealed");
        assert!(!stored.windows(3).any(|part| part == b"job"), "{stored:?}");
        assert!(matches!(read(&seal, &key(), &stored, now), Stored::Entry(read) if read == entry));
        let other = Key::of(&TenantId::parse("globex").expect("a name"), "k-1");
        assert!(matches!(read(&seal, &other, &stored, now), Stored::Unreadable));
        let mut later = stored.to_vec();
        later[6] ^= 1;
        assert!(matches!(read(&seal, &key(), &later, now), Stored::Unreadable));
        let (own, end) = (Seal::new(&[8; 32], "test"), entry.expires);
        assert!(matches!(read(&own, &key(), &stored, now), Stored::Unreadable));
        assert!(matches!(read(&own, &key(), &stored, end), Stored::Expired));
    }
}
