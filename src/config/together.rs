//! Keys of `gateway.yaml` that are right one by one and wrong together.

use std::net::SocketAddr;

use super::{Admin, Server, Webhooks};
use crate::settings::{Context, Node, Section, Settings, Sources, unset};
use crate::upstream;

/// Reports what is wrong, or in vain, only beside another key: also where other keys are wrong.
pub fn check(context: &Context<'_>, root: &Node, sources: &Sources<'_>) {
    // Of several keys the first that is set.
    let span = |paths: &[&[&str]]| {
        let set = paths.iter().find_map(|path| root.at(path));
        set.map_or_else(|| root.span.clone(), |node| node.span.clone())
    };
    let server: Server = alone(root, "server", sources).unwrap_or_default();
    let admin: Admin = alone(root, "admin", sources).unwrap_or_default();
    let calls: upstream::Settings = alone(root, "upstream", sources).unwrap_or_default();
    let (callers, operators) = (server.listen, admin.listen);
    if are_one(callers, operators) {
        let span = span(&[&["admin", "listen"], &["server", "listen"]]);
        context.error(&span, "`admin.listen` and `server.listen` cannot be one address");
    }
    if root.at(&["webhooks"]).is_some_and(|node| !node.is_null()) {
        let span = span(&[&["webhooks", "listen"], &["webhooks"]]);
        let webhooks: Webhooks = alone(root, "webhooks", sources).unwrap_or_else(unset);
        for (other, key) in [(callers, "server"), (operators, "admin")] {
            if are_one(webhooks.listen, other) {
                let problem = format!("`webhooks.listen` and `{key}.listen` cannot be one address");
                context.error(&span, problem);
            }
        }
    }
    if server.request_timeout < calls.timeout {
        let span = span(&[&["server", "request_timeout"], &["upstream", "timeout"]]);
        context.warning(
            &span,
            "`server.request_timeout` is shorter than `upstream.timeout`, which is never reached",
        );
    }
    if server.drain_delay >= server.shutdown_grace {
        let span = span(&[&["server", "drain_delay"], &["server", "shutdown_grace"]]);
        context.warning(&span, "`server.drain_delay` leaves nothing of `server.shutdown_grace`");
    }
    if server.proxy_protocol && server.trusted_proxies.is_empty() {
        let problem = "`server.proxy_protocol` believes whoever connects: name the balancers in \
                       `server.trusted_proxies`";
        context.error(&span(&[&["server", "proxy_protocol"]]), problem);
    }
    let is_set = |key: &str| root.at(&[key]).is_some_and(|node| !node.is_null());
    if root.at(&["reload", "last_good"]).is_some_and(|node| !node.is_null())
        && !is_set("cursor_key")
    {
        let problem = "the copy is sealed with `cursor_key`: set it";
        context.error(&span(&[&["reload", "last_good"]]), problem);
    }
    if is_set("shared_state") && !is_set("cursor_key") {
        let problem = "replicas that share state need the same `cursor_key`: set it";
        context.error(&span(&[&["shared_state"]]), problem);
    }
}

/// Reads one mapping, silently: its findings were reported before.
fn alone<S: Settings>(root: &Node, key: &str, sources: &Sources<'_>) -> Option<S> {
    let context = Context::new(sources);
    S::read(&mut Section::new(&context, key, root.at(&[key])?))
}

/// Returns true if two listeners would take each other's connections.
fn are_one(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = |address: SocketAddr| address.ip().is_unspecified();
    let overlap = one.ip() == other.ip() || is_any(one) || is_any(other);
    one.port() == other.port() && one.port() != 0 && overlap
}
