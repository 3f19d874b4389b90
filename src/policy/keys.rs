//! The meaning of each key of a policy: the descriptions in its JSON Schema, and the order of docs/policies.md.

use crate::settings::{Described, describe};

/// All keys.
pub const KEYS: &[Described] = describe! {
    "tenant" [""]
        "the tenant's name: letters, digits, `-`, `_`, `.`, not beginning with `_`; the file is `<tenant>.yaml`";
    "description" [""]
        "for people";
    "auth.api_keys[].id" [""]
        "how records name the key";
    "auth.api_keys[].sha256" [""]
        "SHA-256 of the key, 64 hexadecimal digits: `jobs-gateway key new` prints it";
    "auth.api_keys[].expires" ["never"]
        "from when on the key is refused; `check` warns 14 days ahead";
    "auth.api_keys[].operations" ["the tenant's"]
        "what the key may call: never more than its tenant";
    "auth.issuers" ["`[]`"]
        "issuers of `gateway.yaml` whose tokens are taken, if their tenant claim names this tenant";
    "operations" ["`[getJob, listJobs]`"]
        "what the tenant may call: operations by name, groups of them (`jobs`), or `\"*\"`. See [below](#operations)";
    "scopes" ["none"]
        "a scope and the operations it grants. A token that carries scopes may call what they grant and its tenant may; one that carries none, what its tenant may";
    "hidden_fields" ["`[]`"]
        "fields, as `File.thumbnailUrl`, that do not exist for the tenant: neither in validation nor in introspection";
    "introspection" ["`true`"]
        "whether the tenant may introspect the schema";
    "client.portal" ["the gateway's `public_url`"]
        "stands in place of the Move account's `client.portal`";
    "client.metadata" ["`{}`"]
        "stands in place of the Move account's `client.metadata`";
    "metadata.namespace" ["the tenant's name"]
        "the member of a job's metadata upstream that holds the tenant's value. Changing it hides the values that were stored under the old one";
    "metadata.stamp" ["none"]
        "a mapping written into the gateway's record of a new job, never shown to the tenant";
    "metadata.max_bytes" ["`16KiB`"]
        "longest metadata the tenant may store";
    "metadata.unclaimed_jobs" ["`hide`"]
        "jobs that no tenant of this gateway created: `hide`, or `read` them";
    "takes.unclaimed" ["`hide`"]
        "takes that no tenant of this gateway created: `hide`, or `use` them for jobs. Another tenant's take can never be used";
    "takes.owned" ["none"]
        "an older word for it: `true` is `hide`, `false` is `use`";
    "upstream.api_key" ["the shared account"]
        "a Move account of the tenant's own: no other tenant's, and not the shared one";
    "upstream.url" ["`upstream.url` of gateway.yaml"]
        "where that account is";
    "rate_limit.queries.rate" ["`50/s`"]
        "units a time for all queries: `200/s`, `60/min` or `1000/h`; `queries: null` is no limit. See [limits](limits.md)";
    "rate_limit.queries.burst" ["`100`"]
        "units at once, 1,000,000 at most";
    "rate_limit.mutations.rate" ["`120/min`"]
        "the same for all mutations";
    "rate_limit.mutations.burst" ["`100`"]
        "units at once";
    "rate_limit.introspection.rate" ["as `queries`"]
        "the same for requests about the schema alone, a unit each";
    "rate_limit.introspection.burst" ["as `queries`"]
        "units at once";
    "rate_limit.operations.rate" ["none"]
        "`rate_limit.operations.<name>.rate`: the same for one operation, besides its class; in units, so ten creations an hour are `100/h`";
    "rate_limit.operations.burst" ["as many units as `rate` names"]
        "units at once";
    "rate_limit.per_credential.queries.rate" ["none"]
        "the same for the queries of each key or token's subject, besides the tenant's";
    "rate_limit.per_credential.queries.burst" ["as many units as `rate` names"]
        "units at once";
    "rate_limit.per_credential.mutations.rate" ["none"]
        "the same for the mutations of each";
    "rate_limit.per_credential.mutations.burst" ["as many units as `rate` names"]
        "units at once";
    "rate_limit.max_cost" ["`200`"]
        "units that one request may cost";
    "rate_limit.max_in_flight" ["`64`"]
        "requests at once";
    "cache.get_job.unfinished" ["`2s`"]
        "how long a job that is not yet FINISHED or FAILED stays fresh; see [caching](caching.md)";
    "cache.get_job.finished" ["`10m`"]
        "how long a FINISHED or FAILED job stays fresh";
    "cache.get_job.not_found" ["`2s`"]
        "how long \"no such job\" stays fresh";
    "cache.get_job.stale_while_revalidate" ["`5s`"]
        "how long past that an answer may be given while Move is asked";
    "cache.get_job.stale_if_error" ["`1h`"]
        "how long past that an answer may be given while Move does not answer";
    "cache.get_job.no_cache" ["`false`"]
        "whether a caller's `Cache-Control: no-cache` forces a fresh read";
};
