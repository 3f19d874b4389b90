//! Keys of `gateway.yaml` that are right one by one and wrong together.

use std::net::SocketAddr;

use super::{Config, Server};
use crate::settings::Context;
use crate::settings::Node;

/// Reports what is wrong, or in vain, only beside another key.
pub fn check(context: &Context<'_>, root: &Node, config: &Config) {
    let Server { listen, request_timeout, shutdown_grace, drain_delay, .. } = &config.server;
    // Of several keys the first that is set.
    let place = |paths: &[&[&str]]| {
        let set = paths.iter().find_map(|path| root.at(path));
        set.map_or_else(|| root.place.clone(), |node| node.place.clone())
    };
    let is_any = |address: &SocketAddr| address.ip().is_unspecified();
    let overlap = listen.ip() == config.admin.ip() || is_any(listen) || is_any(&config.admin);
    if listen.port() == config.admin.port() && listen.port() != 0 && overlap {
        let place = place(&[&["admin", "listen"], &["server", "listen"]]);
        context.error(&place, "`admin.listen` and `server.listen` cannot be one address");
    }
    if *request_timeout < config.upstream.calls.timeout {
        let place = place(&[&["server", "request_timeout"], &["upstream", "timeout"]]);
        context.warning(
            &place,
            "`server.request_timeout` is shorter than `upstream.timeout`, which is never reached",
        );
    }
    if drain_delay >= shutdown_grace {
        let place = place(&[&["server", "drain_delay"], &["server", "shutdown_grace"]]);
        context.warning(&place, "`server.drain_delay` leaves nothing of `server.shutdown_grace`");
    }
}
