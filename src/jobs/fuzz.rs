//! The functions that the fuzz targets call: the private parsers of outside data, with what must hold of them.

use serde::de::IgnoredAny;

use super::CursorKey;
use super::cursor::{self, Position};
use super::envelope::{self, Metadata};
use super::ownership::fixture::tenant;
use crate::model::CredentialId;

/// Reads a text as stored metadata, and wraps it as a tenant's value if it is JSON.
///
/// # Panics
/// When a value does not come back to the letter: what the fuzzer looks for.
pub fn envelope(text: &str) {
    let acme = tenant("acme");
    if let Metadata::Envelope(envelope) = envelope::read(Some(text)) {
        let _ = envelope.value(&acme);
        let _ = envelope.with_value(&acme, "{}");
    }
    if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        let by = CredentialId::parse("key").expect("an id");
        let wrapped = envelope::wrap(&acme, &by, Some("mark"), text);
        let Metadata::Envelope(envelope) = envelope::read(Some(&wrapped)) else {
            panic!("no envelope: {wrapped}");
        };
        assert_eq!(*envelope.owner(), acme.id);
        let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
        assert_eq!(envelope.value(&acme), Some(trimmed));
        let rewrapped = envelope.with_value(&acme, text);
        assert_eq!(rewrapped, wrapped);
    }
}

/// Opens a text as a cursor, and seals it as a position.
///
/// # Panics
/// When a position does not open where it was sealed: what the fuzzer looks for.
pub fn cursor(text: &str) {
    let (key, now) = (CursorKey::new(&[7; 32]), jiff::Timestamp::UNIX_EPOCH);
    assert!(cursor::open(&key, "acme", text, now).is_err(), "a forged cursor");
    let position = Position { page: Some(text.to_owned()), ..Position::default() };
    let sealed = cursor::seal(&key, text, position.clone(), now).expect("sealed");
    assert_eq!(cursor::open(&key, text, &sealed, now), Ok(position));
}
