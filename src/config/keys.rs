//! What each key of gateway.yaml means: the descriptions in its JSON Schema, and the order of docs/configuration.md.

use crate::settings::{Described, describe};

/// All keys.
pub const KEYS: &[Described] = describe! {
    "server.listen" ["`127.0.0.1:4000`"]
        "where internal apps are served";
    "server.paths" ["`[/graphql, /ugc/graphql]`"]
        "the GraphQL endpoint; the second is Move's own path";
    "server.public_url" ["`http://<listen>/`"]
        "how callers reach the gateway; `client.portal` falls back to it";
    "server.max_body" ["`256KiB`"]
        "longest request body; one in gzip counts decoded";
    "server.request_timeout" ["`15s`"]
        "the time one request may take, its body included";
    "server.shutdown_grace" ["`20s`"]
        "the time requests get to end after SIGTERM";
    "server.drain_delay" ["`3s`"]
        "how much of that new requests are still taken, until load balancers have noticed that `/readyz` fails";
    "server.max_connections" ["`25000`"]
        "connections at once; one more gets a silent or idle one's place, or waits; see [limits](limits.md)";
    "server.keep_alive" ["`100s`"]
        "how long a connection may be idle; longer than a load balancer before the gateway holds its own, so that the balancer closes first";
    "server.trusted_proxies" ["none"]
        "networks such as `10.0.0.0/8` whose `X-Forwarded-For` and `Forwarded` are believed: records name the caller, not the proxy";
    "server.max_requests" ["`1024`"]
        "requests at once, all tenants together, from when the caller is known and the body is there; more are refused with `OVERLOADED`";
    "server.cors.origins" ["none: CORS is off"]
        "origins whose pages may call";
    "server.cors.headers" ["none"]
        "headers that those may send, besides HTTP's, the gateway's own, those of known clients and `upstream.forward_headers`";
    "server.tls.cert" ["none: no TLS"]
        "the certificate and those between it and its authority, a PEM file; see [reliability](reliability.md)";
    "server.tls.key" [""]
        "its private key, a PEM file";
    "server.tls.client_ca" ["none"]
        "who signs callers' certificates, a PEM file: without one of those no connection comes about";
    "admin.listen" ["`127.0.0.1:9090`"]
        "`/livez`, `/readyz`, `/metrics`; never expose it to tenants";
    "upstream.url" ["`https://api.move.ai/ugc/graphql`"]
        "the Move API";
    "upstream.api_key" [""]
        "the account that tenants share";
    "upstream.timeout" ["`10s`"]
        "the time one call to Move may take";
    "upstream.connect_timeout" ["`2s`"]
        "the time a connection may take to come about";
    "upstream.max_in_flight" ["`256`"]
        "calls to Move at once, all tenants together; who waits gets a turn by tenant";
    "upstream.max_wait" ["`5s`"]
        "how long a call may wait for its turn before it is refused with `OVERLOADED`";
    "upstream.retries.max" ["`2`"]
        "how often a query that failed is sent again; see [reliability](reliability.md)";
    "upstream.retries.budget" ["`20%`"]
        "retries, in percent of all calls of a tenant";
    "upstream.circuit_breaker.failures" ["`20`"]
        "how many failures within the window open the breaker, if they are half of all calls at least";
    "upstream.circuit_breaker.window" ["`10s`"]
        "the time in which failures count";
    "upstream.circuit_breaker.open_for" ["`5s`"]
        "how long no call is made before one tries";
    "upstream.ca" ["the system's authorities alone"]
        "authorities that are trusted too, a PEM file";
    "upstream.forward_headers" ["none"]
        "headers of a caller's request that go on to Move, such as `x-correlation-id`; none that carries a credential";
    "issuers[].name" [""]
        "how policies name the issuer";
    "issuers[].issuer" [""]
        "the `iss` of its tokens, to the letter";
    "issuers[].audiences" ["required"]
        "a token's `aud` must hold one of these";
    "issuers[].algorithms" ["`[RS256, ES256, EdDSA]`"]
        "`RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`; `HS256` with a `secret` alone";
    "issuers[].jwks" [""]
        "an https URL (http on this machine only) or a file: the issuer's JWK set";
    "issuers[].secret" [""]
        "instead of `jwks`: a secret of 32 bytes or more, for `HS256`";
    "issuers[].tenant_claim" [""]
        "the claim that names the tenant";
    "issuers[].scope_claim" ["none"]
        "the claim that holds scopes: a text separated by spaces, or a list";
    "policies" [""]
        "the folder of the tenants' policies";
    "limits.depth" ["`15`"]
        "levels of fields of one request; introspection does not count";
    "limits.aliases" ["`30`"]
        "fields under an alias, fragments expanded";
    "limits.root_fields" ["`20`"]
        "root fields, fragments expanded";
    "limits.tokens" ["`2000`"]
        "lexical tokens; also the most fields a document may expand to";
    "limits.representations" ["`100`"]
        "jobs that one request may ask for by `_entities`, each of which costs what a `getJob` costs";
    "limits.directives" ["`20`"]
        "directives, fragments expanded";
    "weights.getJob" ["`1`"]
        "units that one use costs; see [limits](limits.md)";
    "weights.listJobs" ["`5`"]
        "units that one use costs";
    "weights.createJob" ["`10`"]
        "units that one use costs";
    "weights.createSingleCamJob" ["`10`"]
        "units that one use costs";
    "weights.createMultiCamJob" ["`10`"]
        "units that one use costs";
    "weights.updateJob" ["`10`"]
        "units that one use costs";
    "weights.cached" ["`1`"]
        "units of a `getJob` whose whole answer is given again from memory; 0 is free";
    "cache.jobs" ["`128MiB`"]
        "memory for what is known of jobs; see [caching](caching.md)";
    "cache.answers" ["`64MiB`"]
        "memory for whole answers";
    "shared_state.redis" ["none: this process"]
        "a Redis that all replicas share, `redis://host:6379` or `rediss://…`; needs `cursor_key`";
    "cursor_key" ["made at start"]
        "32 bytes, base64 or hexadecimal, that seal the cursors of `listJobs`; the same on every replica";
    "idempotency.file" ["`state/idempotency.redb`, beside the file, or memory if that cannot be"]
        "what is remembered of `Idempotency-Key`s, unless there is `shared_state`; one process's alone";
    "idempotency.keep" ["`1d`"]
        "for how long";
    "idempotency.max_keys" ["`100000`"]
        "keys of one tenant that are remembered at once; a tenant that has as many is refused new ones (without file and Redis at 20,000)";
    "audit.on_full" ["`wait`"]
        "what a query does whose record finds the queue full: `wait`, or `drop` the record. See [audit](audit.md)";
    "audit.sinks[].file" ["required if there is `audit`"]
        "the file that is written; the other sinks follow it";
    "audit.sinks[].rotate" ["`100MiB`"]
        "the size at which it is closed";
    "audit.sinks[].rotate_after" ["`1d`"]
        "the age at which it is closed";
    "audit.sinks[].keep" ["`30`"]
        "how many closed files are kept, however old they are";
    "audit.sinks[].keep_for" ["`90d`"]
        "how long closed files are kept, however many they are. See [audit](audit.md)";
    "audit.sinks[].stdout" ["`false`"]
        "`true`: standard output follows";
    "audit.sinks[].otlp" ["none"]
        "an endpoint for OTLP logs over HTTP (`…/v1/logs`) follows";
    "telemetry.log.level" ["`info`"]
        "a level, or a filter such as `warn,jobs_gateway=debug`";
    "telemetry.log.format" ["`json`"]
        "`json` or `text`, on standard error";
    "telemetry.otlp.endpoint" ["none: `/metrics` and the log alone"]
        "a collector for traces, metrics and logs, `http://host:4317` or `https://…`";
    "telemetry.otlp.protocol" ["`grpc`"]
        "`grpc`, or `http` (protobuf, usually port 4318)";
    "telemetry.otlp.headers" ["none"]
        "what the collector is told with everything, such as a vendor's key: `{ x-api-key: \"${OTLP_KEY}\" }`, by reference only";
    "telemetry.otlp.ca" ["the system's authorities"]
        "a PEM file with authorities the collector's certificate may come from besides";
    "telemetry.otlp.sample" ["`100%`"]
        "how many traces are kept of those whose caller does not decide: a `traceparent` that is sampled is kept, one that is not is not";
};
