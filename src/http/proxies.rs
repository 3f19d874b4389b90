//! The address of a request's caller: its connection's peer, or what a trusted proxy says of it.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};
use ipnet::IpNet;

/// The number of hops that are looked at.
const HOPS: usize = 32;

/// The proxies whose word is taken.
#[derive(Debug, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Trusts these networks.
    #[must_use]
    pub const fn new(trusted: Vec<IpNet>) -> Self {
        Self(trusted)
    }

    /// The address a request came from. A trusted peer's `Forwarded` (RFC 7239) or `X-Forwarded-For` is
    /// followed from its end, where the nearest proxy wrote, to the first address that is no trusted
    /// proxy's: what stands before it, anybody may have made up. If the two headers differ, neither is
    /// believed: a proxy that writes one passes on what a caller says in the other.
    pub fn source(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let standard = texts(headers, header::FORWARDED.as_str());
        let common = texts(headers, "x-forwarded-for");
        let standard =
            standard.map(|text| self.follow(peer, elements(&text, ',').map(forwarded_for)));
        let common = common.map(|text| self.follow(peer, text.rsplit(',').map(address)));
        match (standard, common) {
            (Some(one), Some(other)) if one != other => peer,
            (Some(source), _) | (None, Some(source)) => source,
            (None, None) => peer,
        }
    }

    /// Walks from the nearest hop to the first one that is not trusted, or that cannot be read.
    fn follow(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut source = peer;
        for hop in hops.take(HOPS) {
            let Some(hop) = hop else { break };
            source = hop;
            if !self.trusts(hop) {
                break;
            }
        }
        source
    }

    /// Returns true if the address is one of theirs.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// All lines of a header as one list; `None` if there are none.
fn texts(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?"));
    let lines: Vec<_> = lines.collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// The elements of a list from the last to the first; separators within quotes are none.
fn elements(list: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let split = list.split(move |letter: char| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match letter {
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            '"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        letter == separator && !is_quoted
    });
    split.collect::<Vec<_>>().into_iter().rev()
}

/// The `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let value = elements(element, ';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    })?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    address(value)
}

/// An address, maybe with a port, IPv6 maybe in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn source(peer: &str, lines: &[(&'static str, &'static str)]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network"));
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let peer = peer.parse().expect("an address");
        Proxies::new(trusted.into()).source(peer, &headers).to_string()
    }

    #[test]
    fn only_a_trusted_peer_is_believed_and_mapped_addresses_are_shown_as_they_are() {
        let line = [("x-forwarded-for", "192.0.2.7")];
        assert_eq!(source("203.0.113.1", &line), "203.0.113.1");
        assert_eq!(source("10.1.2.3", &line), "192.0.2.7");
        assert_eq!(source("::ffff:10.1.2.3", &line), "192.0.2.7");
        assert_eq!(source("::ffff:203.0.113.1", &[]), "203.0.113.1");
        assert_eq!(source("10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn the_nearest_address_that_is_not_trusted_is_the_source() {
        for (line, expected) in [
            ("6.6.6.6, 192.0.2.7, 10.0.0.9", "192.0.2.7"),
            ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
            ("192.0.2.7:4711", "192.0.2.7"),
            ("[2001:db8::1]:4711, fd00::1", "2001:db8::1"),
            ("192.0.2.7, unknown, 10.0.0.9", "10.0.0.9"),
            ("", "10.1.2.3"),
        ] {
            assert_eq!(source("10.1.2.3", &[("x-forwarded-for", line)]), expected, "{line}");
        }
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(source("10.1.2.3", &lines), "192.0.2.7");
    }

    #[test]
    fn forwarded_is_read_with_its_quotes() {
        for (line, expected) in [
            ("for=192.0.2.7;proto=https;by=10.0.0.9", "192.0.2.7"),
            ("For=\"[2001:db8::1]:4711\", for=10.0.0.9", "2001:db8::1"),
            ("for=6.6.6.6, host=\"a,b;for=1.2.3.4\";for=192.0.2.7", "192.0.2.7"),
            ("for=\"_hidden\"", "10.1.2.3"),
            ("proto=https", "10.1.2.3"),
        ] {
            assert_eq!(source("10.1.2.3", &[("forwarded", line)]), expected, "{line}");
        }
    }

    #[test]
    fn two_headers_that_differ_are_not_believed() {
        let lines = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(source("10.1.2.3", &lines), "10.1.2.3");
        let lines = [("forwarded", "for=192.0.2.7"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(source("10.1.2.3", &lines), "192.0.2.7");
    }
}
