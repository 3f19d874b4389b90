//! The PROXY protocol, versions 1 and 2: a balancer that passes on connections says first whose they are
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The first bytes of version 2. A header of version 1 is as long at least.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, in bytes.
const LONGEST_LINE: usize = 107;

/// The longest rest of a header of version 2 that is read, in bytes: addresses and what balancers add.
const LONGEST_REST: u16 = 4096;

/// Reads the header that a connection begins with, and not a byte more. `None` where the balancer
/// speaks for itself.
///
/// # Errors
/// When there is no header, or one that cannot be read.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    let malformed = || io::Error::from(ErrorKind::InvalidData);
    if start == SIGNATURE {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let [command, family, length @ ..] = fixed;
        let length = u16::from_be_bytes(length);
        if length > LONGEST_REST {
            return Err(malformed());
        }
        let mut rest = vec![0; length.into()];
        stream.read_exact(&mut rest).await?;
        return binary(command, family, &rest).map(Header::caller).ok_or_else(malformed);
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_LINE || !line.starts_with(b"PROXY ") {
            return Err(malformed());
        }
        line.push(stream.read_u8().await?);
    }
    text(&line).map(Header::caller).ok_or_else(malformed)
}

/// Those whom a header names.
enum Header {
    Caller(SocketAddr),
    Balancer,
}

impl Header {
    const fn caller(self) -> Option<SocketAddr> {
        match self {
            Self::Caller(caller) => Some(caller),
            Self::Balancer => None,
        }
    }
}

/// Reads version 2 (section 2.2); `None` if it is malformed.
fn binary(command: u8, family: u8, rest: &[u8]) -> Option<Header> {
    let port = |at: usize| Some(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?));
    match (command, family) {
        (0x21, 0x11) => {
            let source: [u8; 4] = rest.get(..4)?.try_into().ok()?;
            Some(Header::Caller((Ipv4Addr::from(source), port(8)?).into()))
        }
        (0x21, 0x21) => {
            let source: [u8; 16] = rest.get(..16)?.try_into().ok()?;
            Some(Header::Caller((Ipv6Addr::from(source), port(32)?).into()))
        }
        // LOCAL: a health check of the balancer's own; or a caller without an address.
        (0x20 | 0x21, _) => Some(Header::Balancer),
        _ => None,
    }
}

/// Reads version 1 (section 2.1), likewise.
fn text(line: &[u8]) -> Option<Header> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    let parts: Vec<_> = line.split(' ').collect();
    match *parts.as_slice() {
        ["UNKNOWN", ..] => Some(Header::Balancer),
        [family @ ("TCP4" | "TCP6"), source, _, port, _] => {
            let source: IpAddr = source.parse().ok()?;
            let port: u16 = port.parse().ok()?;
            (source.is_ipv4() == (family == "TCP4")).then(|| Header::Caller((source, port).into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    fn read_all(mut bytes: &[u8]) -> (Result<Option<SocketAddr>, ErrorKind>, usize) {
        let read = read(&mut bytes).now_or_never();
        let read = read.expect("slices are always ready").map_err(|error| error.kind());
        (read, bytes.len())
    }

    #[test]
    fn both_versions_name_the_caller_and_leave_what_follows() {
        let version_1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET";
        let mut version_2 = SIGNATURE.to_vec();
        version_2.extend([0x21, 0x11, 0, 15]);
        version_2.extend([192, 0, 2, 7, 198, 51, 100, 1, 220, 4, 1, 187]);
        // What balancers add is passed over.
        version_2.extend([4, 0, 0]);
        version_2.extend(b"GET");
        let caller = "192.0.2.7:56324".parse().ok();
        for header in [&version_1[..], &version_2] {
            assert_eq!(read_all(header), (Ok(caller), 3));
        }
        let version_1 = b"PROXY TCP6 2001:db8::7 2001:db8::1 1 443\r\n";
        assert_eq!(read_all(version_1).0, Ok("[2001:db8::7]:1".parse().ok()));
    }

    #[test]
    fn a_balancer_that_speaks_for_itself_names_nobody() {
        let mut local = SIGNATURE.to_vec();
        local.extend([0x20, 0, 0, 0]);
        assert_eq!(read_all(&local).0, Ok(None));
        assert_eq!(read_all(b"PROXY UNKNOWN\r\n").0, Ok(None));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let endless = format!("PROXY {}", "x".repeat(200));
        let mut short = SIGNATURE.to_vec();
        short.extend([0x21, 0x11, 0, 4, 1, 2, 3, 4]);
        let mut long = SIGNATURE.to_vec();
        long.extend([0x21, 0x11, 0xff, 0xff]);
        for wrong in [
            b"POST /graphql HTTP/1.1\r\n\r\n".as_slice(),
            b"PROXY TCP4 2001:db8::7 2001:db8::1 1 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 70000 443\r\n",
            b"PROXY TCP4 192.0.2.7\r\n",
            endless.as_bytes(),
            &short,
            &long,
        ] {
            assert!(read_all(wrong).0.is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), is_two: bool) {
            let start = if is_two { SIGNATURE.to_vec() } else { b"PROXY TCP4 ".to_vec() };
            let _ = read_all(&[start, bytes].concat());
        }
    }
}
