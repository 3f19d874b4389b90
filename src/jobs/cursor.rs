//! The cursor of `listJobs` in a shared account.
//!
//! Move's own cursor names a job, which may be another tenant's. So a tenant gets a sealed one:
//! `{"v":1,"c":"<base64url>"}` (2, if it names a place in the index), a JSON object as Move's Python client requires, encrypted with
//! XChaCha20-Poly1305 and bound to the tenant and the listing's arguments.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::index::JobPlace;

/// The time for which a cursor is good, in seconds: a day.
const LIFETIME: i64 = 24 * 60 * 60;

/// The bytes of a nonce, which stands before the sealed text.
const NONCE: usize = 24;

/// The key that seals cursors; the same on every replica.
#[derive(Clone)]
pub struct CursorKey(XChaCha20Poly1305);

impl CursorKey {
    /// Takes 32 bytes from the configuration.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(key.into()))
    }

    /// Makes a key of random bytes: cursors then end with the process.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self::new(&key))
    }
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(…)")
    }
}

/// The place at which a listing goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Move's cursor of the page to read; `None` for the first.
    #[serde(rename = "p")]
    pub page: Option<String>,
    /// The last job that was given from it or from an earlier one; the listing goes on behind it.
    #[serde(rename = "l")]
    pub last: Option<String>,
    /// The place in the index behind which the listing goes on, wherever that is in Move's pages.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<JobPlace>,
}

/// Why a text is no cursor. Callers read one sentence for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this cursor cannot be used here: pass on `after` as a page of the same listing gave it, within a day"
)]
pub struct BadCursor;

#[derive(Serialize, Deserialize)]
struct Sealed {
    v: u32,
    c: String,
}

#[derive(Serialize, Deserialize)]
struct Content {
    #[serde(flatten)]
    position: Position,
    /// The moment at which it ends, in seconds since 1970.
    #[serde(rename = "e")]
    expires: i64,
}

/// Seals a position. `binding` names the tenant and the listing's arguments.
///
/// # Errors
/// When the system has no random bytes to give.
pub fn seal(
    key: &CursorKey,
    binding: &str,
    position: Position,
    now: Timestamp,
) -> Result<String, BadCursor> {
    // An older replica would not see the place and begin from the start: it takes the first form alone.
    let v = if position.behind.is_some() { 2 } else { 1 };
    let content = Content { position, expires: now.as_second().saturating_add(LIFETIME) };
    let text = serde_json::to_vec(&content).map_err(|_| BadCursor)?;
    let mut sealed = vec![0; NONCE];
    getrandom::fill(&mut sealed).map_err(|_| BadCursor)?;
    let nonce = nonce(&sealed)?;
    let payload = Payload { msg: &text, aad: binding.as_bytes() };
    sealed.extend(key.0.encrypt(&nonce, payload).map_err(|_| BadCursor)?);
    serde_json::to_string(&Sealed { v, c: URL_SAFE_NO_PAD.encode(sealed) }).map_err(|_| BadCursor)
}

/// Opens a cursor that a caller sent.
///
/// # Errors
/// [`BadCursor`], whatever is wrong with it.
pub fn open(
    key: &CursorKey,
    binding: &str,
    cursor: &str,
    now: Timestamp,
) -> Result<Position, BadCursor> {
    let Sealed { v: 1 | 2, c } = serde_json::from_str(cursor).map_err(|_| BadCursor)? else {
        return Err(BadCursor);
    };
    let sealed = URL_SAFE_NO_PAD.decode(c).map_err(|_| BadCursor)?;
    let (nonce_bytes, text) = sealed.split_at_checked(NONCE).ok_or(BadCursor)?;
    let payload = Payload { msg: text, aad: binding.as_bytes() };
    let text = key.0.decrypt(&nonce(nonce_bytes)?, payload).map_err(|_| BadCursor)?;
    let content: Content = serde_json::from_slice(&text).map_err(|_| BadCursor)?;
    if content.expires < now.as_second() {
        return Err(BadCursor);
    }
    Ok(content.position)
}

fn nonce(bytes: &[u8]) -> Result<XNonce, BadCursor> {
    <[u8; NONCE]>::try_from(bytes).map(XNonce::from).map_err(|_| BadCursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    fn key() -> CursorKey {
        CursorKey::new(&[7; 32])
    }

    fn position() -> Position {
        let page = Some(r#"{"id":"job-foreign"}"#.into());
        Position { page, last: Some("job-1".into()), behind: None }
    }

    #[test]
    fn a_cursor_opens_where_it_was_sealed_and_tells_nothing() {
        let now = Timestamp::UNIX_EPOCH;
        let cursor = seal(&key(), "acme", position(), now).expect("sealed");
        assert!(cursor.starts_with(r#"{"v":1,"c":""#) && !cursor.contains("foreign"));
        assert_eq!(open(&key(), "acme", &cursor, now), Ok(position()));
        let place = JobPlace { created: 1_000_000, id: "job-1".into() };
        let behind = Position { behind: Some(place), ..Position::default() };
        let cursor = seal(&key(), "acme", behind.clone(), now).expect("sealed");
        assert!(cursor.starts_with(r#"{"v":2,"c":""#) && !cursor.contains("job-1"));
        assert_eq!(open(&key(), "acme", &cursor, now), Ok(behind));
    }

    #[test]
    fn a_cursor_of_another_tenant_key_or_day_is_refused() {
        let now = Timestamp::UNIX_EPOCH;
        let cursor = seal(&key(), "acme", position(), now).expect("sealed");
        assert_eq!(open(&key(), "globex", &cursor, now), Err(BadCursor));
        assert_eq!(open(&CursorKey::new(&[8; 32]), "acme", &cursor, now), Err(BadCursor));
        assert_eq!(open(&key(), "acme", &cursor, now + 25.hours()), Err(BadCursor));
    }

    #[test]
    fn a_cursor_with_any_byte_changed_is_refused() {
        let now = Timestamp::UNIX_EPOCH;
        let cursor = seal(&key(), "acme", position(), now).expect("sealed");
        for at in 12..cursor.len() - 2 {
            let mut bytes = cursor.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let tampered = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(open(&key(), "acme", &tampered, now), Err(BadCursor), "byte {at}");
        }
        for shape in ["", "null", "{}", "[]", r#"{"v":1,"c":""}"#, r#"{"v":3,"c":"AAAA"}"#] {
            assert_eq!(open(&key(), "acme", shape, now), Err(BadCursor));
        }
    }
}
