//! A mutation with an `Idempotency-Key`, root field by root field.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::settings::Choice;

/// The effect of one root field of a mutation at Move.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Effect {
    /// Nothing, and that is certain: it was never sent, or Move refused it.
    #[default]
    NotDone,
    /// It may or may not have been carried out.
    Unknown,
    /// It was carried out on the entity of this id.
    Done(String),
}

/// The history of a root field before its mutation is made, perhaps again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// No earlier try did anything.
    NotDone,
    /// An earlier try may have done it.
    Unknown {
        /// The moment at which the first of them began, at the earliest.
        since: Timestamp,
        /// True if there certainly was one; else one may have been forgotten.
        is_certain: bool,
    },
    /// An earlier try did it, on the entity of this id.
    Done(String),
}

/// Why and how far back one has to look for what earlier tries did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// There was a try, and it began then.
    Tried(Timestamp),
    /// A try of later than this may have been forgotten.
    Forgotten(Timestamp),
}

/// The fate of a mutation whose key cannot be entered where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTrouble {
    /// It looks for what earlier tries did, and is entered in this process's memory. Two replicas that do
    /// so at the same moment do not know of each other.
    #[default]
    Look,
    /// It is refused before anything is sent.
    Refuse,
}

impl Choice for OnTrouble {
    const WORDS: &'static [(&'static str, Self)] =
        &[("look", Self::Look), ("refuse", Self::Refuse)];
}

/// A mutation with an `Idempotency-Key`: the marks by which its writes are found upstream, and what
/// earlier tries did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedMutation {
    key: [u8; 32],
    look: Option<Look>,
    known: BTreeMap<String, Option<String>>,
}

impl KeyedMutation {
    /// A mutation of a key, given by its SHA-256. `known` holds root fields by mark: the id of what was
    /// made or changed, or `None` if certainly nothing happened. Others may have been carried out,
    /// unless `look` is `None`.
    #[must_use]
    pub const fn new(
        key: [u8; 32],
        look: Option<Look>,
        known: BTreeMap<String, Option<String>>,
    ) -> Self {
        Self { key, look, known }
    }

    /// The mark of what one root field writes: 22 letters and digits that do not tell the key.
    #[must_use]
    pub fn mark(&self, response_key: &str) -> String {
        let hash = Sha256::new().chain_update(self.key).chain_update(response_key).finalize();
        URL_SAFE_NO_PAD.encode(&hash[..16])
    }

    /// Returns the history of a root field.
    #[must_use]
    pub fn before(&self, response_key: &str) -> Before {
        match (self.known.get(&self.mark(response_key)), self.look) {
            (Some(Some(job)), _) => Before::Done(job.clone()),
            (None, Some(Look::Tried(since))) => Before::Unknown { since, is_certain: true },
            (None, Some(Look::Forgotten(since))) => Before::Unknown { since, is_certain: false },
            (Some(None), _) | (None, None) => Before::NotDone,
        }
    }

    /// Returns the jobs that are certain to have been made or changed, by mark.
    #[must_use]
    pub fn done(&self) -> BTreeMap<String, Option<String>> {
        let done = self.known.iter().filter(|(_, job)| job.is_some());
        done.map(|(mark, id)| (mark.clone(), id.clone())).collect()
    }

    /// Returns true if there certainly was an earlier try.
    #[must_use]
    pub const fn was_tried(&self) -> bool {
        matches!(self.look, Some(Look::Tried(_)))
    }

    /// Returns true if a root field may have been carried out before.
    #[must_use]
    pub const fn looks(&self) -> bool {
        self.look.is_some()
    }
}

/// A question to the memory of keys: whether a mutation's key is still entered for the try that asks.
#[derive(Clone)]
pub struct ClaimCheck(Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>);

impl ClaimCheck {
    /// A question that is asked in this way.
    #[must_use]
    pub fn new(ask: impl Fn() -> BoxFuture<'static, bool> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// Returns true if it is: no other try is made meanwhile.
    pub async fn stands(&self) -> bool {
        (self.0)().await
    }
}

impl fmt::Debug for ClaimCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimCheck")
    }
}
