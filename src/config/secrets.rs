//! The forms of secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::model::{KeyHash, Secret};
use crate::scalars;
use crate::settings::ValueKind;
use crate::settings::forms::hidden;

scalars! {
    /// A secret that can stand in an HTTP header.
    HeaderSecret(Secret): ValueKind::Secret, secret, hidden;
    /// A key of 32 bytes.
    SealingKey([u8; 32]): ValueKind::Secret, key_of_32_bytes, hidden;
    /// A secret that signs tokens.
    SigningSecret(Secret): ValueKind::Secret, signing_secret, hidden;
    /// The URL of a Redis, which may hold a password.
    RedisUrl(Secret): ValueKind::Word, redis_url, hidden;
}

/// RFC 7518, section 3.2: as long as the hash at least.
fn signing_secret(text: &str) -> Result<Secret, String> {
    if text.len() < 32 {
        return Err("must be at least 32 bytes long".to_owned());
    }
    secret(text)
}

fn redis_url(text: &str) -> Result<Secret, String> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "redis" | "rediss") && url.has_host() => {
            Ok(Secret::new(text))
        }
        _ => Err("must be a URL such as redis://127.0.0.1:6379".to_owned()),
    }
}

/// A secret of at least one character that can stand in an HTTP header.
fn secret(text: &str) -> Result<Secret, String> {
    if text.ends_with(['\r', '\n']) {
        return Err(
            "must be a secret of visible ASCII characters; this one ends in a newline, which \
                    `printf '%s'` leaves out and `echo` does not"
                .to_owned(),
        );
    }
    if text.is_empty() || !text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        return Err("must be a secret of visible ASCII characters, not empty".to_owned());
    }
    Ok(Secret::new(text))
}

/// 32 bytes as 64 hexadecimal digits or in base64.
fn key_of_32_bytes(text: &str) -> Result<[u8; 32], String> {
    let from_hex = KeyHash::parse(text).map(|bytes| bytes.0);
    let from_base64 = || STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    from_hex.or_else(from_base64).ok_or_else(|| {
        "must be 32 bytes in base64 or as 64 hexadecimal digits: `openssl rand -base64 32`"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*") {
            let _ = (secret(&text), key_of_32_bytes(&text));
        }
    }
}
