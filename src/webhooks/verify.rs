//! Who sent it, and when: the signature of an event (Standard Webhooks 1.0.0, and Svix' names for its headers).
//!
//! Move's sender is Svix: each request carries an id, a time and signatures of both and the body,
//!
//! ```text
//! svix-id: msg_2a9f…
//! svix-timestamp: 1767225600
//! svix-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
//! ```
//!
//! The library signs; everything that a stranger can write is judged here first, and by the gateway's clock.

use axum::http::HeaderMap;
use jiff::Timestamp;
use standardwebhooks::Webhook;
use subtle::ConstantTimeEq;

use crate::model::Secret;

/// The distance of the sender's clock from the gateway's that is tolerated, in seconds.
const TOLERANCE: u64 = 300;

/// The longest id, in characters.
const LONGEST_ID: usize = 64;

/// The most signatures that are compared: a sender has one for each secret that is good.
const SIGNATURES: usize = 8;

/// The name of a kind of signature, which stands before it (Standard Webhooks 1.0.0, "Signature scheme").
const VERSION: &str = "v1";

/// The names that the three headers go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// Svix' own.
    Svix,
    /// Those of the standard.
    Standard,
}

impl Naming {
    const ALL: [Self; 2] = [Self::Svix, Self::Standard];

    /// The id, the time and the signatures.
    const fn names(self) -> [&'static str; 3] {
        match self {
            Self::Svix => ["svix-id", "svix-timestamp", "svix-signature"],
            Self::Standard => ["webhook-id", "webhook-timestamp", "webhook-signature"],
        }
    }
}

/// Why a request is not taken for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSigned {
    /// A header is missing, there twice, or not of its form.
    Headers,
    /// It was signed too long ago, or will be.
    Time,
    /// No secret made any of the signatures.
    Signature,
}

impl NotSigned {
    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Time => "time",
            Self::Signature => "signature",
        }
    }
}

/// The id of an event: the same each time it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventId(String);

impl EventId {
    /// Takes 1 to 64 letters and digits of ASCII, `-` and `_`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_taken = (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(is_plain);
        is_taken.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The claims of a request's headers. Nothing is proven yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeaders {
    id: EventId,
    /// In seconds since 1970.
    at: i64,
    signatures: Vec<String>,
}

impl SignedHeaders {
    /// Reads the headers, before anything is read of the body.
    ///
    /// # Errors
    /// When they are not what a sender's are, or not of now.
    pub fn read(headers: &HeaderMap, now: Timestamp) -> Result<Self, NotSigned> {
        let mut namings = Naming::ALL
            .into_iter()
            .filter(|naming| naming.names().into_iter().any(|name| headers.contains_key(name)));
        // Both sets at once may differ: then nobody knows which was signed.
        let (Some(naming), None) = (namings.next(), namings.next()) else {
            return Err(NotSigned::Headers);
        };
        let [id, at, signatures] = naming.names().map(|name| once(headers, name));
        let (Some(id), Some(at), Some(signatures)) = (id, at, signatures) else {
            return Err(NotSigned::Headers);
        };
        let id = EventId::parse(id).ok_or(NotSigned::Headers)?;
        // A number that is written otherwise would be signed as another text than what stands here.
        let is_time = (10..=12).contains(&at.len())
            && at.bytes().all(|b| b.is_ascii_digit())
            && !at.starts_with('0');
        let at: i64 = at.parse().ok().filter(|_| is_time).ok_or(NotSigned::Headers)?;
        if now.as_second().abs_diff(at) > TOLERANCE {
            return Err(NotSigned::Time);
        }
        let signatures = signatures.split(' ').filter_map(|one| one.split_once(','));
        let signatures = signatures.filter(|(version, _)| *version == VERSION).take(SIGNATURES);
        let signatures: Vec<_> = signatures.map(|(_, text)| text.to_owned()).collect();
        if signatures.is_empty() {
            return Err(NotSigned::Headers);
        }
        Ok(Self { id, at, signatures })
    }

    /// Proves that a holder of one of these secrets sent this body with these headers. Returns the event's id.
    ///
    /// # Errors
    /// When nobody who knows a secret did.
    pub fn prove(self, secrets: &[Secret], body: &[u8]) -> Result<EventId, NotSigned> {
        let Self { id, at, signatures } = self;
        let is_good = |secret: &Secret| {
            let signed =
                Webhook::new(secret.expose()).and_then(|by| by.sign(id.as_str(), at, body));
            let Ok(signed) = signed else { return false };
            let signed = signed.split_once(',').map_or("", |(_, text)| text);
            let is_equal = |own: &String| bool::from(own.as_bytes().ct_eq(signed.as_bytes()));
            !signed.is_empty() && signatures.iter().any(is_equal)
        };
        if secrets.iter().any(is_good) { Ok(id) } else { Err(NotSigned::Signature) }
    }
}

/// Signs a body as Move's sender does: the headers that it has. `None` if the secret is none.
#[must_use]
pub fn sign(secret: &Secret, now: Timestamp, body: &[u8]) -> Option<[(&'static str, String); 3]> {
    let (id, at) = (format!("check_{}", uuid::Uuid::new_v4().simple()), now.as_second());
    let signature = Webhook::new(secret.expose()).and_then(|by| by.sign(&id, at, body)).ok()?;
    let [id_name, at_name, signature_name] = Naming::Svix.names();
    Some([(id_name, id), (at_name, at.to_string()), (signature_name, signature)])
}

/// The text of a header that is there once.
fn once<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    const NOW: i64 = 1_767_225_600;
    const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
    const OTHER: &str = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4";
    const BODY: &[u8] = br#"{"detail": {"job_id": "job-1"}}"#;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).expect("a time")
    }

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new(text)).collect()
    }

    fn signature(secret: &str, id: &str, at: i64) -> String {
        Webhook::new(secret).and_then(|by| by.sign(id, at, BODY)).expect("signed")
    }

    fn headers(prefix: &str, id: &str, at: &str, signatures: &str) -> HeaderMap {
        let fields = [("id", id), ("timestamp", at), ("signature", signatures)];
        let named = fields.map(|(name, value)| {
            let name = format!("{prefix}-{name}").parse::<HeaderName>().expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        });
        named.into_iter().collect()
    }

    fn judge(headers: &HeaderMap, own: &[&str], body: &[u8]) -> Result<EventId, NotSigned> {
        SignedHeaders::read(headers, now())?.prove(&secrets(own), body)
    }

    #[test]
    fn a_signature_by_any_of_the_secrets_under_either_set_of_names_is_taken() {
        let good = signature(SECRET, "msg_1", NOW);
        let several = format!("v1a,abc {} {good} v2,zzz", signature(OTHER, "msg_2", NOW));
        for prefix in ["svix", "webhook"] {
            for text in [&good, &several] {
                let headers = headers(prefix, "msg_1", &NOW.to_string(), text);
                let id = judge(&headers, &[OTHER, SECRET], BODY).expect("signed");
                assert_eq!(id.as_str(), "msg_1");
                assert_eq!(judge(&headers, &[OTHER], BODY), Err(NotSigned::Signature));
                assert_eq!(judge(&headers, &[SECRET], b"{}"), Err(NotSigned::Signature));
                assert_eq!(judge(&headers, &[SECRET], b"\xff"), Err(NotSigned::Signature));
            }
        }
    }

    #[test]
    fn the_time_is_that_of_the_gateways_clock_within_five_minutes() {
        for (at, expected) in [
            (NOW - 300, Ok(())),
            (NOW + 300, Ok(())),
            (NOW - 301, Err(NotSigned::Time)),
            (NOW + 301, Err(NotSigned::Time)),
            (999_999_999_999, Err(NotSigned::Time)),
        ] {
            let headers = headers("svix", "m", &at.to_string(), &signature(SECRET, "m", at));
            assert_eq!(judge(&headers, &[SECRET], BODY).map(drop), expected, "{at}");
        }
    }

    #[test]
    fn headers_that_are_missing_doubled_mixed_or_not_of_their_form_are_refused() {
        let at = NOW.to_string();
        let good = signature(SECRET, "m", NOW);
        let whole = headers("svix", "m", &at, &good);
        assert!(judge(&whole, &[SECRET], BODY).is_ok());
        for name in ["svix-id", "svix-timestamp", "svix-signature"] {
            let mut less = whole.clone();
            let value = less.remove(name).expect("it was there");
            assert_eq!(judge(&less, &[SECRET], BODY), Err(NotSigned::Headers), "no {name}");
            let mut twice = whole.clone();
            twice.append(name, value);
            assert_eq!(judge(&twice, &[SECRET], BODY), Err(NotSigned::Headers), "two {name}");
        }
        let mut both = whole.clone();
        both.extend(headers("webhook", "other", &at, &good));
        assert_eq!(judge(&both, &[SECRET], BODY), Err(NotSigned::Headers));
        let long = "x".repeat(65);
        for id in ["", "a b", "a.b", "a/b", &long] {
            let headers = headers("svix", id, &at, &good);
            assert_eq!(judge(&headers, &[SECRET], BODY), Err(NotSigned::Headers), "{id:?}");
        }
        let padded = format!("00{at}");
        for time in [
            "",
            &padded,
            "-1767225600",
            "+1767225600",
            "1767225600.0",
            "-9223372036854775808",
            "1e9",
        ] {
            let headers = headers("svix", "m", time, &good);
            assert_eq!(judge(&headers, &[SECRET], BODY), Err(NotSigned::Headers), "{time:?}");
        }
        for signatures in ["", "v1", "v1,", "v1a,x", &good[3..], &good[..20]] {
            let headers = headers("svix", "m", &at, signatures);
            assert!(judge(&headers, &[SECRET], BODY).is_err(), "{signatures:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_that_a_stranger_writes_is_taken_or_makes_it_panic(
            id in "[ -~]{0,80}",
            at in prop_oneof!["[ -~]{0,30}", Just(NOW.to_string())],
            signatures in prop_oneof!["[ -~]{0,200}", "(v1,[A-Za-z0-9+/]{43}= ?){0,12}"],
            body: Vec<u8>,
        ) {
            for prefix in ["svix", "webhook"] {
                let headers = headers(prefix, &id, &at, &signatures);
                prop_assert!(judge(&headers, &[SECRET, OTHER], &body).is_err());
            }
        }

        #[test]
        fn a_bit_that_changes_on_the_way_is_noticed(at_byte in 0..BODY.len(), bit in 0..8_u8) {
            let headers = headers("svix", "m", &NOW.to_string(), &signature(SECRET, "m", NOW));
            let mut body = BODY.to_vec();
            body[at_byte] ^= 1 << bit;
            prop_assert_eq!(judge(&headers, &[SECRET], &body), Err(NotSigned::Signature));
        }
    }
}
