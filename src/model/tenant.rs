//! A tenant, as its policy describes it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::settings;
use crate::settings::Choice;
use crate::settings::forms::{Boolean, Time};

use super::{CredentialId, Namespace, RootField, RootFields, Secret, TenantId, write_hex};

/// An internal team: everything the gateway needs to know of it. Immutable; a reload makes others.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// The root fields it may call.
    pub operations: RootFields,
    /// The root fields that each scope of a token grants.
    pub scopes: Vec<(String, RootFields)>,
    /// The networks that its credentials may be used from; none is anywhere.
    pub sources: Vec<IpNet>,
    /// The issuers whose tokens it takes, by name.
    pub issuers: Vec<String>,
    /// Fields that do not exist for it.
    pub hidden_fields: Vec<FieldCoordinate>,
    /// True if it may introspect the schema.
    pub introspection: bool,
    /// Its view of the client, in place of the Move account's.
    pub client: ClientView,
    /// The policy for its metadata.
    pub metadata: MetadataPolicy,
    /// The tenant's rights in takes that no tenant of this gateway created.
    pub unclaimed_takes: UnclaimedTakes,
    /// The rates and numbers that bound it.
    pub rate_limit: RateLimits,
    /// The time for which answers of `getJob` stay fresh.
    pub cache: CachePolicy,
    /// The Move account its calls are made with.
    pub account: Arc<Account>,
}

/// One Move account: where it is and the key for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub id: AccountId,
    /// Move's GraphQL endpoint.
    pub url: url::Url,
    /// Move's API key, sent raw in `Authorization`.
    pub api_key: Secret,
}

impl Account {
    /// Returns true if several tenants' jobs live in it.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.id, AccountId::Shared)
    }
}

/// A Move account's name in records, metrics and `/readyz`: `shared`, or `tenant:acme`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountId {
    /// The account of all tenants that have none of their own.
    Shared,
    /// The account of one tenant alone.
    Tenant(TenantId),
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("shared"),
            // The prefix keeps a tenant that is called `shared` apart from the account.
            Self::Tenant(tenant) => write!(f, "tenant:{tenant}"),
        }
    }
}

/// An API key of a tenant: its fingerprint, never the key.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its name in records.
    pub id: CredentialId,
    /// SHA-256 of the key's bytes.
    pub hash: KeyHash,
    /// From when on it is refused.
    pub expires: Option<jiff::Timestamp>,
    /// The root fields it may call; never more than its tenant's.
    pub operations: RootFields,
    /// The team or person who answers for it.
    pub owner: Option<Arc<str>>,
    /// A text for people.
    pub description: Option<Arc<str>>,
    /// The networks that it may be used from; none is anywhere.
    pub sources: Vec<IpNet>,
}

/// SHA-256 of an API key's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// The hash of a presented key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        use sha2::Digest;
        Self(sha2::Sha256::digest(key).into())
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

/// `Type.field`, as in `hidden_fields`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldCoordinate {
    /// The object type.
    pub type_name: String,
    /// Its field.
    pub field: String,
}

/// The values in place of the Move account's own `client.portal` and `client.metadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientView {
    /// A URL (Move's Python client requires one).
    pub portal: url::Url,
    /// JSON text.
    pub metadata: Arc<str>,
}

/// The policy by which a tenant's metadata is kept upstream.
#[derive(Debug, Clone)]
pub struct MetadataPolicy {
    /// The member that holds the tenant's own value.
    pub namespace: Namespace,
    /// A JSON object written into the gateway's own record on creation, as JSON text.
    pub stamp: Option<Arc<str>>,
    /// Longest metadata taken from the tenant, in bytes of JSON text.
    pub max_bytes: usize,
    /// The policy for jobs that no tenant of this gateway created.
    pub unclaimed_jobs: UnclaimedJobs,
}

impl Choice for UnclaimedJobs {
    const WORDS: &'static [(&'static str, Self)] = &[("hide", Self::Hide), ("read", Self::Read)];
}

/// A tenant's view of jobs that no tenant created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnclaimedJobs {
    /// Nothing: they do not exist for it.
    Hide,
    /// It may read them, not change them.
    Read,
}

impl Choice for UnclaimedTakes {
    const WORDS: &'static [(&'static str, Self)] = &[("hide", Self::Hide), ("use", Self::Use)];
}

/// A tenant's rights in takes that no tenant created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnclaimedTakes {
    /// Nothing: they do not exist for it.
    Hide,
    /// It may read them and start jobs on them, not change them.
    Use,
}

impl UnclaimedTakes {
    /// As policies write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hide => "hide",
            Self::Use => "use",
        }
    }
}

/// A rate with a burst: GCRA's two parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The number of units `per` gives.
    pub units: std::num::NonZeroU32,
    /// The time in which `units` come back.
    pub per: Duration,
    /// The number of units may be spent at once.
    pub burst: std::num::NonZeroU32,
}

impl Rate {
    /// The time in which one unit comes back.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.per / self.units.get()
    }

    /// `200 units/s`, for people: what a unit is, [`Weights`](super::Weights) say.
    #[must_use]
    pub fn in_units(&self) -> String {
        let unit = if self.units.get() == 1 { " unit/" } else { " units/" };
        self.to_string().replacen('/', unit, 1)
    }
}

/// `200/s`, as policies write it.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per.as_secs() {
            1 => write!(f, "{}/s", self.units),
            60 => write!(f, "{}/min", self.units),
            3600 => write!(f, "{}/h", self.units),
            seconds => write!(f, "{} in {seconds} s", self.units),
        }
    }
}

/// The limits of a tenant's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimits {
    /// All queries together.
    pub queries: Option<Rate>,
    /// All mutations together.
    pub mutations: Option<Rate>,
    /// Single operations, besides their class.
    pub operations: Vec<(RootField, Rate)>,
    /// Requests about the schema alone; as `queries` if not set.
    pub introspection: Option<Rate>,
    /// The queries of each credential, besides the tenant's.
    pub credential_queries: Option<Rate>,
    /// The mutations of each credential, besides the tenant's.
    pub credential_mutations: Option<Rate>,
    /// The dearest request allowed, in units.
    pub max_cost: u32,
    /// Requests at once.
    pub max_in_flight: u32,
    /// Long polls and streams at once.
    pub max_streams: u32,
    /// Streams at once on one WebSocket.
    pub max_per_connection: u32,
}

settings! {
    /// The time for which an answer of `getJob` stays fresh, by the job's state.
    pub struct CachePolicy: Default {
        /// The time for which a job that is not yet FINISHED or FAILED stays fresh; see [caching](caching.md).
        unfinished: Time = Duration::from_secs(2),
        /// The time for which a FINISHED or FAILED job stays fresh.
        finished: Time = Duration::from_mins(10),
        /// The time for which "no such job" stays fresh.
        not_found: Time = Duration::from_secs(2),
        /// The time past that in which an answer may be given while Move is asked.
        stale_while_revalidate: Time = Duration::from_secs(5),
        /// The time past that in which an answer may be given while Move does not answer.
        stale_if_error: Time = Duration::from_hours(1),
        /// `true`: a caller's `Cache-Control: no-cache` forces a fresh read.
        no_cache: Boolean = false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_hash_reads_what_it_prints() {
        let hash = KeyHash::of(b"key");
        assert_eq!(KeyHash::parse(&hash.to_string()), Some(hash));
        assert_eq!(KeyHash::parse("00"), None);
        assert_eq!(KeyHash::parse(&"é".repeat(32)), None);
        assert_eq!(KeyHash::parse(&"+f".repeat(32)), None);
    }
}
