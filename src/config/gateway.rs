//! The sections of `gateway.yaml`.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::secrets::{key_of_32_bytes, secret};
use super::{Audit, Config, Server, Tls, Upstream, public_url_of};
use super::{issuers, together};
use crate::audit;
use crate::model::{RootField, Secret};
use crate::settings::values::{
    boolean, bytes, duration, network, parsed, percentage, positive, some_time, text, web_url,
};
use crate::settings::{Context, Section};
use crate::settings::{Node, Value};
use crate::telemetry::otlp::Transport;
use crate::telemetry::{Format, Otlp};
use crate::upstream;

/// Move's public endpoint.
const MOVE_API: &str = "https://api.move.ai/ugc/graphql";

/// Reads the whole file; `None` only after an error was reported.
#[expect(clippy::too_many_lines, reason = "one key after the other")]
pub fn read(context: &Context<'_>, root: &Node, folder: &Path) -> Option<Config> {
    let mut top = Section::new(context, "", root);
    let upstream = if let Some(section) = top.section("upstream") {
        upstream(section, folder)
    } else {
        context.error(top.place(), "`upstream` must be set, at least with its `api_key`");
        None
    };
    let (url, api_key) = match &upstream {
        Some(upstream) => (upstream.url.clone(), upstream.api_key.clone()),
        // An error was reported; read on to find the others.
        None => (url::Url::parse(MOVE_API).ok()?, Secret::new("-")),
    };
    let is_usable = upstream.is_some();
    let mut config = Config::new(url, api_key);
    if let Some(upstream) = upstream {
        config.upstream = upstream;
    }
    if let Some(section) = top.section("server") {
        server(context, section, &mut config.server, folder);
    }
    if let Some(mut admin) = top.section("admin") {
        config.admin = admin
            .get("listen", parsed("an address such as 127.0.0.1:9090"))
            .unwrap_or(config.admin);
        admin.finish();
    }
    config.issuers = issuers::read(context, &mut top, folder);
    if let Some(policies) = top.need("policies", text) {
        config.policies = folder.join(policies.trim_start_matches("./"));
    }
    if let Some(section) = top.section("limits") {
        limits(section, &mut config);
    }
    if let Some(mut weights) = top.section("weights") {
        for field in RootField::ALL {
            if let Some(weight) = weights.get(field.name(), positive) {
                config.weights.set(field, weight.get());
            }
        }
        if let Some(weight) = weights.get("cached", parsed("a whole number")) {
            config.weights.cached = weight;
        }
        weights.finish();
    }
    if let Some(mut cache) = top.section("cache") {
        for (key, size) in
            [("jobs", &mut config.cache.jobs), ("answers", &mut config.cache.answers)]
        {
            if let Some(bytes) = cache.get(key, bytes) {
                *size = bytes as u64;
            }
        }
        cache.finish();
    }
    config.cursor_key = top.secret("cursor_key", key_of_32_bytes);
    if let Some(section) = top.section("shared_state") {
        let place = section.place().clone();
        config.shared_state = shared_state(section);
        if config.shared_state.is_some() && config.cursor_key.is_none() {
            let problem = "replicas that share state need the same `cursor_key`: set it";
            context.error(&place, problem);
        }
    }
    config.idempotency.file = Some(folder.join("state/idempotency.redb"));
    if let Some(mut section) = top.section("idempotency") {
        if let Some(file) = section.get("file", |path| below(folder, path)) {
            config.idempotency.file = Some(file);
            config.idempotency.is_explicit = true;
        }
        if let Some(keep) = section.get("keep", some_time) {
            config.idempotency.keep = keep;
        }
        if let Some(max_keys) = section.get("max_keys", positive) {
            config.idempotency.max_keys = max_keys.get().into();
        }
        section.finish();
    }
    if let Some(section) = top.section("audit") {
        config.audit = audit_of(context, section, folder);
    }
    if let Some(section) = top.section("telemetry") {
        telemetry(section, &mut config, folder);
    }
    top.finish();
    together::check(context, root, &config);
    is_usable.then_some(config)
}

fn server(context: &Context<'_>, mut section: Section<'_, '_>, server: &mut Server, folder: &Path) {
    if let Some(listen) = section.get("listen", parsed("an address such as 127.0.0.1:4000")) {
        server.listen = listen;
        server.public_url = public_url_of(listen);
    }
    if let Some(paths) = section.placed_list("paths", path) {
        for (at, (path, place)) in paths.iter().enumerate() {
            if paths[..at].iter().any(|(known, _)| known == path) {
                context.error(place, format!("`server.paths`: {path} is listed twice"));
            }
        }
        if let Some(node) = section.node("paths")
            && matches!(&node.value, Value::List(items) if items.is_empty())
        {
            context.error(&node.place, "`server.paths` must have one path at least");
        }
        server.paths = paths.into_iter().map(|(path, _)| path).collect();
    }
    let public_url = section.get("public_url", web_url);
    if let Some(size) = section.get("max_body", bytes) {
        server.max_body = size;
    }
    if let Some(time) = section.get("request_timeout", some_time) {
        server.request_timeout = time;
    }
    for (key, time) in
        [("shutdown_grace", &mut server.shutdown_grace), ("drain_delay", &mut server.drain_delay)]
    {
        *time = section.get(key, duration).unwrap_or(*time);
    }
    for (key, bound) in [
        ("max_connections", &mut server.max_connections),
        ("max_requests", &mut server.max_requests),
    ] {
        if let Some(max) = section.get(key, positive) {
            *bound = max.get() as usize;
        }
    }
    if let Some(time) = section.get("keep_alive", some_time) {
        server.keep_alive = time;
    }
    server.trusted_proxies = section.list("trusted_proxies", network).unwrap_or_default();
    if let Some(mut cors) = section.section("cors") {
        server.cors_origins = cors.list("origins", origin).unwrap_or_default();
        server.cors_headers = cors.list("headers", header_name).unwrap_or_default();
        cors.finish();
    }
    if let Some(mut tls) = section.section("tls") {
        let file = |text: &str| below(folder, text);
        let (cert, key) = (tls.need("cert", file), tls.need("key", file));
        let client_ca = tls.get("client_ca", file);
        tls.finish();
        if let (Some(cert), Some(key)) = (cert, key) {
            server.tls = Some(Tls { cert, key, client_ca });
            let _ = server.public_url.set_scheme("https");
        }
    }
    server.public_url = public_url.unwrap_or_else(|| server.public_url.clone());
    section.finish();
}

/// A path, relative to the configuration's folder.
fn below(folder: &Path, path: &str) -> Result<PathBuf, String> {
    text(path).map(|path| folder.join(path.trim_start_matches("./")))
}

/// The name of a header that may go on to Move: not one that carries a credential, belongs to the
/// connection or describes the body.
fn forwarded_header(name: &str) -> Result<String, String> {
    const OWN: [&str; 9] = [
        "authorization",
        "connection",
        "cookie",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-api-key",
    ];
    let name = name.to_ascii_lowercase();
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let is_own = OWN.contains(&name.as_str())
        || ["accept", "content-", "proxy-", "keep-", "if-"].iter().any(|own| name.starts_with(own));
    if is_name && !is_own {
        Ok(name)
    } else {
        Err("must be the name of a header such as x-correlation-id, none of HTTP's own and none that \
             carries a credential".to_owned())
    }
}

fn path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/')
        && text.len() > 1
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.'));
    if is_path { Ok(text.to_owned()) } else { Err("must be a path such as /graphql".to_owned()) }
}

fn origin(text: &str) -> Result<String, String> {
    let url = web_url(text)?;
    match url.origin().ascii_serialization() {
        origin if origin == text => Ok(origin),
        origin => Err(format!("must be an origin alone, such as {origin}")),
    }
}

fn upstream(mut section: Section<'_, '_>, folder: &Path) -> Option<Upstream> {
    let url = match section.node("url") {
        Some(_) => section.get("url", web_url),
        None => url::Url::parse(MOVE_API).ok(),
    };
    let api_key = section.need_secret("api_key", secret);
    let ca = section.get("ca", |path| below(folder, path));
    let forward_headers = section.list("forward_headers", forwarded_header).unwrap_or_default();
    let mut calls = upstream::Settings::default();
    for (key, time) in [
        ("timeout", &mut calls.timeout),
        ("connect_timeout", &mut calls.connect_timeout),
        ("max_wait", &mut calls.max_wait),
    ] {
        *time = section.get(key, some_time).unwrap_or(*time);
    }
    if let Some(max) = section.get("max_in_flight", positive) {
        calls.max_in_flight = max.get() as usize;
    }
    if let Some(mut own) = section.section("retries") {
        let retries = &mut calls.retries;
        retries.max = own.get("max", parsed("a whole number")).unwrap_or(retries.max);
        retries.budget = own.get("budget", percentage).unwrap_or(retries.budget);
        own.finish();
    }
    if let Some(mut own) = section.section("circuit_breaker") {
        let breaker = &mut calls.breaker;
        breaker.failures = own.get("failures", positive).map_or(breaker.failures, NonZeroU32::get);
        breaker.window = own.get("window", some_time).unwrap_or(breaker.window);
        breaker.open_for = own.get("open_for", some_time).unwrap_or(breaker.open_for);
        own.finish();
    }
    section.finish();
    Some(Upstream { url: url?, api_key: api_key?, ca, forward_headers, calls })
}

fn limits(mut section: Section<'_, '_>, config: &mut Config) {
    let limits = &mut config.limits;
    for (key, limit) in [
        ("depth", &mut limits.depth),
        ("aliases", &mut limits.aliases),
        ("root_fields", &mut limits.root_fields),
        ("tokens", &mut limits.tokens),
        ("directives", &mut limits.directives),
        ("representations", &mut limits.representations),
    ] {
        if let Some(number) = section.get(key, parsed("a whole number")) {
            *limit = number;
        }
    }
    section.finish();
}

fn shared_state(mut section: Section<'_, '_>) -> Option<Secret> {
    let redis = section.need("redis", |text| match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "redis" | "rediss") && url.has_host() => {
            Ok(Secret::new(text))
        }
        _ => Err("must be a URL such as redis://127.0.0.1:6379".to_owned()),
    });
    section.finish();
    redis
}

fn audit_of(context: &Context<'_>, mut section: Section<'_, '_>, folder: &Path) -> Option<Audit> {
    let may_drop = section.get("on_full", |text| match text {
        "wait" => Ok(false),
        "drop" => Ok(true),
        _ => Err("must be `wait` or `drop`".to_owned()),
    });
    let place = section.place().clone();
    let (mut journal, mut stdout, mut otlp) = (None, false, None);
    for node in section.items("sinks").unwrap_or_default() {
        let mut sink = Section::new(context, "audit.sinks[]", node);
        let file = sink.get("file", text);
        let rotate = sink.get("rotate", bytes).unwrap_or(100 << 20);
        let rotate_after = sink.get("rotate_after", some_time).unwrap_or(Duration::from_hours(24));
        let keep = sink.get("keep", positive).map_or(30, |keep| keep.get() as usize);
        let keep_for = sink.get("keep_for", duration).unwrap_or(Duration::from_hours(90 * 24));
        stdout |= sink.get("stdout", boolean).unwrap_or(false);
        otlp = sink.get("otlp", web_url).map(audit::Endpoint::new).or(otlp);
        if let Some(file) = file {
            if journal.is_some() {
                context.error(&node.place, "there is one audit file: other sinks follow it");
            }
            let file = folder.join(file.trim_start_matches("./"));
            let may_drop = may_drop.unwrap_or(false);
            let rotate = rotate as u64;
            journal =
                Some(audit::Settings { file, rotate, rotate_after, keep, keep_for, may_drop });
        }
        sink.finish();
    }
    section.finish();
    if journal.is_none() {
        let problem = "`audit.sinks` must have a `file`: it is what the other sinks follow";
        context.error(&place, problem);
    }
    Some(Audit { journal: journal?, stdout, otlp })
}

fn telemetry(mut section: Section<'_, '_>, config: &mut Config, folder: &Path) {
    let log = &mut config.log;
    if let Some(mut own) = section.section("log") {
        if let Some(level) = own.get("level", level) {
            log.level = level;
        }
        if let Some(format) = own.get("format", format) {
            log.format = format;
        }
        own.finish();
    }
    if let Some(mut own) = section.section("otlp") {
        let endpoint = own.need("endpoint", web_url);
        let protocol = own.get("protocol", |text| match text {
            "grpc" => Ok(Transport::Grpc),
            "http" => Ok(Transport::Http),
            _ => Err("must be `grpc` or `http`".to_owned()),
        });
        let headers = own.secrets("headers", header_name, header_value).into_iter().collect();
        let ca = own.get("ca", |path| below(folder, path));
        let sample = own.get("sample", percentage).unwrap_or(100);
        own.finish();
        let protocol = protocol.unwrap_or(Transport::Grpc);
        config.otlp = endpoint.map(|endpoint| Otlp { endpoint, protocol, headers, ca, sample });
    }
    section.finish();
}

/// A header that a collector is told; `grpc-…` and `…-bin` are gRPC's own.
fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(text)
        .ok()
        .filter(|name| !name.as_str().starts_with("grpc-") && !name.as_str().ends_with("-bin"))
        .ok_or_else(|| "must be the name of a header such as authorization".to_owned())
}

fn header_value(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| "must be what a header can hold: printable ASCII".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn level(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) if !text.is_empty() => Ok(text.to_owned()),
        _ => {
            Err("must be a level such as info, or a filter such as warn,jobs_gateway=debug".into())
        }
    }
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "json" => Ok(Format::Json),
        "text" => Ok(Format::Text),
        _ => Err("must be `json` or `text`".to_owned()),
    }
}
