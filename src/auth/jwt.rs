//! JSON Web Tokens (RFC 7519), verified as RFC 8725 advises: the issuer decides on algorithms and
//! keys, the token on nothing.

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Error;

/// The difference between clocks that is tolerated, in seconds.
const LEEWAY: i64 = 30;

/// Claims whose signature, issuer, audience and times were checked.
#[derive(Debug)]
pub struct Claims {
    /// The whole set.
    pub all: Map<String, Value>,
    /// The moment at which the token ends.
    pub expires: Timestamp,
}

/// Three parts between dots (RFC 7515, section 7.1).
pub fn looks_like_one(credential: &str) -> bool {
    credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// A token's head, if it brings no key of its own and asks for nothing special.
pub fn head(token: &str) -> Result<Header, Error> {
    let head = decode_header(token).map_err(|_| Error::Malformed)?;
    // A key that comes with the token, or from where the token says, proves nothing (RFC 8725,
    // section 3.10). `crit` asks for extensions that are not understood here.
    let brings_a_key =
        head.jwk.is_some() || head.jku.is_some() || head.x5u.is_some() || head.x5c.is_some();
    if brings_a_key || head.crit.is_some() || head.enc.is_some() || head.zip.is_some() {
        return Err(Error::Signature);
    }
    Ok(head)
}

/// The `iss` that an unverified token claims: good for finding the issuer to verify it with.
pub fn claimed_issuer(token: &str) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Claimed {
        iss: String,
    }
    let claims: Claimed =
        jsonwebtoken::dangerous::insecure_decode(token).map_err(|_| Error::Malformed)?.claims;
    Ok(claims.iss)
}

/// The claims of a token, verified or not.
pub fn claims(token: &str) -> Result<Map<String, Value>, Error> {
    let decoded = jsonwebtoken::dangerous::insecure_decode(token);
    decoded.map(|token| token.claims).map_err(|_| Error::Malformed)
}

/// Verifies a token with one key and one algorithm.
pub fn verify(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
    issuer: &str,
    audiences: &[String],
    now: Timestamp,
) -> Result<Claims, Error> {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_audience(audiences);
    // `set_audience` alone lets a token without `aud` pass.
    validation.set_required_spec_claims(&["iss", "aud"]);
    // Times are checked below, by the gateway's clock, and that there is an `exp`.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let all = decode::<Map<String, Value>>(token, key, &validation)
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidAudience => Error::Audience,
            ErrorKind::InvalidIssuer => Error::Issuer,
            ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => Error::Audience,
            ErrorKind::MissingRequiredClaim(_) | ErrorKind::Json(_) | ErrorKind::Base64(_) => {
                Error::Malformed
            }
            _ => Error::Signature,
        })?
        .claims;
    let expires = in_time(&all, now)?.ok_or(Error::Endless)?;
    Ok(Claims { all, expires })
}

/// Judges claims without a token: their audience and times, if they are there.
pub fn judge(
    claims: &Map<String, Value>,
    audiences: &[String],
    now: Timestamp,
) -> Result<(), Error> {
    let is_wanted = |value: &Value| audiences.iter().any(|own| value.as_str() == Some(own));
    let is_right = match claims.get("aud") {
        None => true,
        Some(Value::Array(all)) => all.iter().any(is_wanted),
        Some(one) => is_wanted(one),
    };
    if !is_right {
        return Err(Error::Audience);
    }
    in_time(claims, now).map(drop)
}

/// Returns the moment at which whatever was begun with a token that is taken now ends: its own, or, where that is over
/// already, the last at which it is taken.
pub fn ends(expires: Timestamp, now: Timestamp) -> Timestamp {
    if expires > now {
        return expires;
    }
    expires.saturating_add(SignedDuration::from_secs(LEEWAY)).unwrap_or(Timestamp::MAX)
}

/// Checks `exp` and `nbf`, if they are there. Returns the former.
fn in_time(claims: &Map<String, Value>, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let expires = time(claims, "exp")?;
    if expires.is_some_and(|end| now.as_second() >= end.as_second().saturating_add(LEEWAY)) {
        return Err(Error::Expired);
    }
    if time(claims, "nbf")?.is_some_and(|from| from.as_second() > now.as_second() + LEEWAY) {
        return Err(Error::NotYetValid);
    }
    Ok(expires)
}

/// A NumericDate (RFC 7519, section 2): seconds since 1970, maybe with a fraction.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, Error> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0).ok_or(Error::Malformed)?;
    #[expect(clippy::cast_possible_truncation, reason = "a cast of floats saturates")]
    let seconds = seconds as i64;
    Ok(Some(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)))
}
