//! Tokens that nobody may take.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::{Issuer, Key, claims, now};

/// A token put together by hand.
fn forged(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!(
        "{}.{}.{}",
        part(header.to_string().as_bytes()),
        part(claims.to_string().as_bytes()),
        part(signature)
    )
}

/// An attack's name, its token, and a word of its refusal.
pub type Attack = (&'static str, String, &'static str);

/// Tokens whose signature or header is not as it should be. `good` is one that is.
pub fn forgeries(issuer: &Issuer, rsa: &Key, stranger: &Key, good: &str) -> Vec<Attack> {
    let with_header = |change: &dyn Fn(&mut Header)| {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some("rsa".to_owned());
        change(&mut header);
        encode(&header, &claims("acme"), &rsa.signing).unwrap()
    };
    let (head, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let modulus = rsa.jwk["n"].as_str().unwrap();
    let stranger_jwk: Jwk = serde_json::from_value(stranger.jwk.clone()).unwrap();
    let hmac = |secret: &[u8]| {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("rsa".to_owned());
        encode(&header, &claims("acme"), &EncodingKey::from_secret(secret)).unwrap()
    };
    vec![
        (
            "alg none",
            forged(&json!({"alg": "none", "kid": "rsa"}), &claims("acme"), b""),
            "malformed",
        ),
        ("no signature", format!("{head}.{payload}."), "signature"),
        ("another's signature", stranger.token(Algorithm::RS256, &claims("acme")), "signature"),
        ("signed with the public key as a secret", hmac(modulus.as_bytes()), "signature"),
        ("signed with the set as a secret", hmac(rsa.jwk.to_string().as_bytes()), "signature"),
        (
            "changed claims",
            format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims("globex").to_string())),
            "signature",
        ),
        ("a key in the header", with_header(&|h| h.jwk = Some(stranger_jwk.clone())), "signature"),
        (
            "a set's URL in the header",
            with_header(&|h| h.jku = Some(issuer.url.clone())),
            "signature",
        ),
        (
            "a certificate's URL in the header",
            with_header(&|h| h.x5u = Some(issuer.url.clone())),
            "signature",
        ),
        (
            "a certificate in the header",
            with_header(&|h| h.x5c = Some(vec!["AA==".into()])),
            "signature",
        ),
        ("critical extensions", with_header(&|h| h.crit = Some(vec!["exp".into()])), "signature"),
        (
            "the kid of a key of another type",
            with_header(&|h| h.kid = Some("ec".into())),
            "signature",
        ),
        ("an unknown kid", with_header(&|h| h.kid = Some("nobody".into())), "signature"),
        (
            "no kid where two keys go with the algorithm",
            with_header(&|h| h.kid = None),
            "signature",
        ),
    ]
}

/// Signed tokens whose claims are not as they should be.
pub fn bad_claims(rsa: &Key) -> Vec<Attack> {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims("acme");
        change(&mut claims);
        rsa.token(Algorithm::RS256, &claims)
    };
    vec![
        ("no exp", with(&|c| drop(c.as_object_mut().unwrap().remove("exp"))), "no `exp`"),
        ("exp that is no number", with(&|c| c["exp"] = "soon".into()), "malformed"),
        ("expired", with(&|c| c["exp"] = (now() - 31).into()), "expired"),
        ("not valid yet", with(&|c| c["nbf"] = (now() + 120).into()), "not valid yet"),
        ("no audience", with(&|c| drop(c.as_object_mut().unwrap().remove("aud"))), "audience"),
        ("another audience", with(&|c| c["aud"] = json!(["somebody"])), "audience"),
        ("another issuer", with(&|c| c["iss"] = "https://evil.example.test/".into()), "issuer"),
        (
            "an issuer that is almost right",
            with(&|c| c["iss"] = "https://sso.example.test".into()),
            "issuer",
        ),
        ("no issuer", with(&|c| drop(c.as_object_mut().unwrap().remove("iss"))), "malformed"),
        ("no tenant", with(&|c| drop(c.as_object_mut().unwrap().remove("team"))), "grants nothing"),
        ("a tenant that is not there", with(&|c| c["team"] = "nobody".into()), "grants nothing"),
        (
            "a tenant that does not take the issuer",
            with(&|c| c["team"] = "globex".into()),
            "grants nothing",
        ),
        ("a tenant that is no text", with(&|c| c["team"] = json!(["acme"])), "grants nothing"),
    ]
}

/// Texts that are no tokens.
pub fn misshapen(good: &str) -> Vec<Attack> {
    let (head, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    vec![
        ("not base64", format!("{head}.!!!.{signature}"), "malformed"),
        ("not JSON", format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode("{")), "malformed"),
        ("two dots alone", "..".to_owned(), "malformed"),
        ("far too long", format!("{good}{}", "A".repeat(25_000)), "malformed"),
    ]
}
