//! The keys of a tenant's file and of `defaults.yaml`.

use std::num::NonZeroU32;
use std::time::Duration;

use super::forms::{
    Coordinate, Expiry, Limit, NamespaceName, OperationLimits, Operations, Scopes, TenantName,
};
use crate::config::secrets::HeaderSecret;
use crate::config::{Hash, KeyName};
use crate::model::{CachePolicy, Rate, RootField, UnclaimedJobs, UnclaimedTakes};
use crate::settings;
use crate::settings::forms::{Boolean, Bytes, Count, JsonMapping, Network, Text, WebUrl};
use crate::settings::{Items, OneOf, Optional, SomeOf, Spanned, SpannedList, Sub};

settings! {
    /// A tenant's policy as it is written, the defaults laid under it.
    pub struct PolicyFile {
        /// The tenant's name: letters, digits, `-`, `_`, `.`, not beginning with `_`; the file is `<tenant>.yaml`.
        tenant: Spanned<TenantName>,
        /// A text for people.
        description: Optional<Text>,
        /// The credentials that are let in.
        auth: Sub<Auth>,
        /// The operations that the tenant may call: by name, by groups of them (`jobs`), or `"*"`. See [below](#operations).
        operations: Operations = [RootField::GetJob, RootField::ListJobs].into_iter().collect(),
        /// A scope and the operations it grants. A token that carries scopes may call what they grant and its tenant may; one that carries none, what its tenant may.
        scopes: Scopes,
        /// Fields, as `File.thumbnailUrl`, that do not exist for the tenant: neither in validation nor in introspection.
        hidden_fields: SpannedList<Coordinate> | "`[]`",
        /// `true`: the tenant may introspect the schema.
        introspection: Boolean = true,
        /// The `client` that tenants see, in place of the Move account.
        client: Sub<Client>,
        /// The tenant's metadata.
        metadata: Sub<Metadata>,
        /// The takes that the tenant may use.
        takes: Sub<Takes>,
        /// A Move account of the tenant's own.
        upstream: Optional<Sub<OwnAccount>>,
        /// The requests that the tenant may make.
        rate_limit: Sub<RateLimit>,
        /// The long polls and streams that the tenant may have open.
        subscriptions: Sub<Subscriptions>,
        /// The time for which answers stay fresh.
        cache: Sub<Cache>,
    }
}

settings! {
    /// The credentials that are let in.
    pub struct Auth {
        /// The tenant's API keys.
        api_keys: Items<KeyFile>,
        /// Networks, such as `10.1.0.0/16`, that all credentials of the tenant may be used from.
        sources: SomeOf<Network> | "anywhere",
        /// Issuers of `gateway.yaml` whose tokens are taken, if their tenant claim names this tenant.
        issuers: SpannedList<Text> | "`[]`",
    }
}

settings! {
    /// An API key as it is written.
    pub struct KeyFile {
        /// The name of the key in records.
        id: KeyName,
        /// A text for people.
        description: Optional<Text>,
        /// The team or person who answers for the key.
        owner: Optional<Text>,
        /// SHA-256 of the key, 64 hexadecimal digits: `jobs-gateway key new` prints it.
        sha256: Spanned<Hash>,
        /// The time from which on the key is refused; `check` warns 14 days ahead.
        expires: Optional<Spanned<Expiry>> | "never",
        /// The operations that the key may call: never more than its tenant.
        operations: Optional<Operations> | "the tenant's",
        /// Networks that the key may be used from, within the tenant's.
        sources: SomeOf<Network> | "anywhere",
    }
}

settings! {
    /// The `client` that tenants see, in place of the Move account.
    pub struct Client {
        /// A URL that stands in place of the Move account's `client.portal`.
        portal: Optional<WebUrl> | "the gateway's `public_url`",
        /// A mapping that stands in place of the Move account's `client.metadata`.
        metadata: JsonMapping = serde_json::Map::new(),
    }
}

settings! {
    /// The tenant's metadata.
    pub struct Metadata {
        /// The member of a job's metadata upstream that holds the tenant's value. Changing it hides the values that were stored under the old one.
        namespace: Optional<Spanned<NamespaceName>> | "the tenant's name",
        /// A mapping written into the gateway's record of a new job, never shown to the tenant.
        stamp: Optional<JsonMapping>,
        /// Longest metadata the tenant may store.
        max_bytes: Bytes = 16 << 10,
        /// Jobs that no tenant of this gateway created: `hide`, or `read` them.
        unclaimed_jobs: OneOf<UnclaimedJobs> = UnclaimedJobs::Hide,
    }
}

settings! {
    /// The takes that the tenant may use.
    pub struct Takes {
        /// Takes that no tenant of this gateway created: `hide`, or `use` them for jobs. Another tenant's take can never be used.
        unclaimed: Optional<Spanned<OneOf<UnclaimedTakes>>> | "`hide`",
        /// An older word for it: `true` is `hide`, `false` is `use`.
        owned: Optional<Spanned<Boolean>>,
    }
}

settings! {
    /// A Move account of the tenant's own.
    pub struct OwnAccount {
        /// The key of a Move account of the tenant's own: no other tenant's, and not the shared one.
        api_key: HeaderSecret | "the shared account",
        /// The GraphQL endpoint of that account.
        url: Optional<WebUrl> | "`upstream.url` of gateway.yaml",
    }
}

settings! {
    /// The requests that the tenant may make.
    pub struct RateLimit {
        /// Units a time for all queries: `200/s`, `60/min` or `1000/h`; `queries: null` is no limit. See [limits](limits.md).
        queries: Limit = Some(rate(50, Duration::from_secs(1), 100)),
        /// The same for all mutations.
        mutations: Limit = Some(rate(120, Duration::from_mins(1), 100)),
        /// The same for requests about the schema alone, a unit each.
        introspection: Limit | "as `queries`",
        /// `rate_limit.operations.<name>.rate`: the same for one operation, besides its class; in units, so ten creations an hour are `100/h`.
        operations: OperationLimits,
        /// Limits of each key or token's subject, besides the tenant's.
        per_credential: Sub<PerCredential>,
        /// Units that one request may cost.
        max_cost: Count<u32> = 200,
        /// Requests at once.
        max_in_flight: Count<u32> = 64,
    }
}

settings! {
    /// Limits of each key or token's subject, besides the tenant's.
    pub struct PerCredential {
        /// The same for the queries of each key or token's subject, besides the tenant's.
        queries: Limit,
        /// The same for the mutations of each.
        mutations: Limit,
    }
}

settings! {
    /// The long polls and streams that the tenant may have open.
    pub struct Subscriptions {
        /// Long polls (`Prefer: wait`) and streams at once; see [live updates](live-updates.md).
        max: Count<u32> = 50,
        /// Streams at once on one WebSocket.
        max_per_connection: Count<u32> = 100,
    }
}

settings! {
    /// The time for which answers stay fresh.
    pub struct Cache {
        /// Answers of `getJob`.
        get_job: Sub<CachePolicy>,
    }
}

fn rate(units: u32, per: Duration, burst: u32) -> Rate {
    let at_least_one = |units| NonZeroU32::new(units).unwrap_or(NonZeroU32::MIN);
    Rate { units: at_least_one(units), per, burst: at_least_one(burst) }
}
