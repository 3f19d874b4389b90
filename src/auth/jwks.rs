//! Sets of an issuer's keys (RFC 7517, section 5). One key that cannot be read says nothing of the others.

use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::telemetry::http_causes;

/// The number of keys a token is tried with where several have its `kid`.
const TRIED: usize = 4;

/// Why a set of keys cannot be had. For the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL gave no answer.
    #[error("no answer: {0}")]
    Fetch(String),
    /// It did not answer in time.
    #[error("no answer in time")]
    Timeout,
    /// It answered with a failure.
    #[error("HTTP {0}")]
    Status(u16),
    /// The set is too large.
    #[error("larger than {0} bytes")]
    TooLarge(usize),
    /// It is no JWK set.
    #[error("not a JWK set: {0}")]
    NotASet(#[from] serde_json::Error),
    /// No key in it can verify a token.
    #[error("no usable key in it")]
    Empty,
    /// The file cannot be read.
    #[error("{0}")]
    File(#[from] std::io::Error),
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        Self::Fetch(http_causes(error))
    }
}

/// A key and what it may verify.
pub struct VerifyingKey {
    /// The key.
    pub key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

impl VerifyingKey {
    /// A secret for HS256.
    pub fn secret(secret: &[u8]) -> Self {
        Self { key: DecodingKey::from_secret(secret), algorithms: vec![Algorithm::HS256] }
    }

    /// Returns true if the key's type (and its own `alg`, if it has one) goes with the algorithm.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

/// The keys at one moment.
#[derive(Default)]
pub struct Keys {
    known: Vec<(Option<String>, Arc<VerifyingKey>)>,
    /// Counts the changes of the set: tokens that were verified under another are verified again.
    pub version: u64,
    text: String,
}

impl Keys {
    /// The keys that may have signed a token: those of its `kid` that go with its algorithm. A `kid`
    /// may name several keys (RFC 7517, section 4.5). A token without one needs a set in which one key
    /// alone goes with its algorithm.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<Arc<VerifyingKey>> {
        let fitting = self.known.iter().filter(|(_, key)| key.fits(algorithm));
        let Some(kid) = kid else {
            let mut fitting = fitting.map(|(_, key)| key);
            return match (fitting.next(), fitting.next()) {
                (Some(only), None) => vec![Arc::clone(only)],
                _ => Vec::new(),
            };
        };
        let own = fitting.filter(|(own, _)| own.as_deref() == Some(kid));
        own.take(TRIED).map(|(_, key)| Arc::clone(key)).collect()
    }

    /// Returns true if another set could have a key for a token that this one has none for: its `kid`
    /// is not here, or nothing is.
    pub fn may_be_outdated(&self, kid: Option<&str>) -> bool {
        let knows = |kid: &str| self.known.iter().any(|(own, _)| own.as_deref() == Some(kid));
        self.known.is_empty() || kid.is_some_and(|kid| !knows(kid))
    }

    /// Returns true if the set was read from this text.
    pub fn is_of(&self, text: &str) -> bool {
        self.text == text
    }

    /// Returns the number of keys there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }
}

/// Reads a set. Keys that cannot be read, or cannot verify a signature here, are left out (RFC 7517,
/// section 5).
pub fn parse(text: &str, version: u64) -> Result<Keys, Error> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_str(text)?;
    let usable = |key: Value| {
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        let key = verifying_key(&jwk)?;
        Some((jwk.common.key_id, Arc::new(key)))
    };
    let keys: Vec<_> = set.keys.into_iter().filter_map(usable).collect();
    if keys.is_empty() {
        return Err(Error::Empty);
    }
    Ok(Keys { known: keys, version, text: text.to_owned() })
}

fn verifying_key(jwk: &Jwk) -> Option<VerifyingKey> {
    use Algorithm as A;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    // RFC 7517, section 4.3: what it says it is for is what it is for.
    if jwk.common.key_operations.as_ref().is_some_and(|own| !own.contains(&KeyOperations::Verify)) {
        return None;
    }
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => {
            vec![A::RS256, A::RS384, A::RS512, A::PS256, A::PS384, A::PS512]
        }
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![A::ES256],
            EllipticCurve::P384 => vec![A::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![A::EdDSA]
        }
        // A symmetric key in a public set is a mistake, and would let anybody sign.
        _ => return None,
    };
    if let Some(own) = jwk.common.key_algorithm {
        let own: Option<Algorithm> = own.to_string().parse().ok();
        algorithms.retain(|algorithm| own == Some(*algorithm));
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    (!algorithms.is_empty()).then_some(VerifyingKey { key, algorithms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Ed25519 (RFC 8037, appendix A.2) and P-256 (RFC 7517, appendix A.1).
    fn keys() -> (Value, Value) {
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let ec = json!({"kty": "EC", "crv": "P-256", "kid": "ec",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"});
        (ed, ec)
    }

    fn with(key: &Value, name: &str, value: Value) -> Value {
        let mut key = key.clone();
        key[name] = value;
        key
    }

    fn set(keys: &[Value]) -> Keys {
        parse(&json!({"keys": keys}).to_string(), 0).unwrap()
    }

    #[test]
    fn one_malformed_key_does_not_void_the_others() {
        let (ed, ec) = keys();
        for odd in [
            with(&ec, "kid", json!(7)),
            with(&ec, "alg", json!(256)),
            with(&ec, "x", json!("!")),
            with(&ec, "crv", json!("P-1")),
            with(&ec, "kty", json!("XYZ")),
            json!(null),
            json!("key"),
            json!([]),
            json!({}),
        ] {
            for keys in [[ed.clone(), odd.clone()], [odd.clone(), ed.clone()]] {
                let found = set(&keys).find(Some("ed"), Algorithm::EdDSA);
                assert_eq!(found.len(), 1, "{odd}");
            }
        }
    }

    #[test]
    fn a_key_that_is_for_something_else_verifies_nothing() {
        let (ed, ec) = keys();
        for (name, use_) in [("use", json!("enc")), ("key_ops", json!(["sign"]))] {
            let found = set(&[with(&ed, name, use_), ec.clone()]);
            assert_eq!(found.find(Some("ed"), Algorithm::EdDSA).len(), 0, "{name}");
        }
        for (name, use_) in [("use", json!("sig")), ("key_ops", json!(["sign", "verify"]))] {
            let found = set(&[with(&ed, name, use_)]).find(Some("ed"), Algorithm::EdDSA);
            assert_eq!(found.len(), 1, "{name}");
        }
    }

    #[test]
    fn keys_of_one_kid_are_told_apart_by_type_and_tried_in_turn_if_they_cannot() {
        let (ed, ec) = keys();
        let twin = with(&ed, "kid", json!("ec"));
        for keys in [[ec.clone(), twin.clone()], [twin.clone(), ec.clone()]] {
            let keys = set(&keys);
            assert_eq!(keys.find(Some("ec"), Algorithm::ES256).len(), 1);
            assert_eq!(keys.find(Some("ec"), Algorithm::EdDSA).len(), 1);
            assert_eq!(keys.find(Some("ec"), Algorithm::RS256).len(), 0);
        }
        assert_eq!(set(&[ed.clone(), ed.clone()]).find(Some("ed"), Algorithm::EdDSA).len(), 2);
        let many = vec![ed; 100];
        assert_eq!(set(&many).find(Some("ed"), Algorithm::EdDSA).len(), TRIED);
    }

    #[test]
    fn a_token_without_a_kid_needs_one_key_alone_that_goes_with_its_algorithm() {
        let (ed, ec) = keys();
        let both = set(&[ed.clone(), ec.clone()]);
        assert_eq!(both.find(None, Algorithm::EdDSA).len(), 1);
        assert_eq!(both.find(None, Algorithm::ES256).len(), 1);
        assert_eq!(both.find(None, Algorithm::RS256).len(), 0);
        let two = set(&[ec.clone(), with(&ec, "kid", json!("other")), ed]);
        assert_eq!(two.find(None, Algorithm::ES256).len(), 0);
        assert_eq!(two.find(None, Algorithm::EdDSA).len(), 1);
    }

    #[test]
    fn only_a_kid_that_is_not_in_the_set_is_worth_asking_again() {
        let known = set(&[keys().0]);
        assert!(known.may_be_outdated(Some("new")));
        assert!(!known.may_be_outdated(Some("ed")));
        assert!(!known.may_be_outdated(None));
        assert!(Keys::default().may_be_outdated(None));
    }
}
