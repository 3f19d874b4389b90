//! The places in which a credential may stand in a request.

use axum::http::{HeaderMap, HeaderName, header};

use crate::auth;

/// The header that carries an API key alone.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Returns the credential a request carries, in any of three ways: raw in `Authorization` (as Move's own
/// clients send it), `Authorization: Bearer <credential>`, or `X-API-Key`.
///
/// # Errors
/// When there is none, or two that differ.
pub fn presented(headers: &HeaderMap) -> Result<&str, auth::Error> {
    let authorization = single(headers, &header::AUTHORIZATION)?.map(without_scheme).transpose()?;
    let api_key = single(headers, &X_API_KEY)?;
    match (authorization, api_key) {
        (Some(one), Some(other)) if one != other => Err(auth::Error::Conflicting),
        (Some(credential), _) | (None, Some(credential)) if !credential.is_empty() => {
            Ok(credential)
        }
        _ => Err(auth::Error::Missing),
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, auth::Error> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(|text| Some(text.trim())).map_err(|_| auth::Error::Malformed)
        }
        (Some(_), Some(_)) => Err(auth::Error::Conflicting),
    }
}

/// Schemes that clients send by habit, and that are not taken: it helps to say so.
const OTHER_SCHEMES: [&str; 4] = ["basic", "token", "apikey", "digest"];

fn without_scheme(value: &str) -> Result<&str, auth::Error> {
    match value.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => Ok(rest.trim()),
        Some((scheme, _)) if OTHER_SCHEMES.iter().any(|own| scheme.eq_ignore_ascii_case(own)) => {
            Err(auth::Error::Scheme)
        }
        None if value.eq_ignore_ascii_case("bearer") => Ok(""),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn found(pairs: &[(&'static str, &'static str)]) -> Result<String, auth::Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        presented(&headers).map(str::to_owned)
    }

    #[test]
    fn a_key_is_found_in_all_three_places() {
        for pair in [
            ("authorization", "the-key"),
            ("authorization", "Bearer the-key"),
            ("authorization", "bearer  the-key "),
            ("x-api-key", "the-key"),
        ] {
            assert_eq!(found(&[pair]).as_deref(), Ok("the-key"), "{pair:?}");
        }
        let both = [("authorization", "Bearer the-key"), ("x-api-key", "the-key")];
        assert_eq!(found(&both).as_deref(), Ok("the-key"));
    }

    #[test]
    fn another_scheme_is_told_apart_from_a_key_that_nobody_has() {
        for value in ["Token the-key", "Basic dGhlLWtleTo=", "ApiKey the-key", "Digest x"] {
            assert_eq!(found(&[("authorization", value)]), Err(auth::Error::Scheme), "{value}");
        }
    }

    #[test]
    fn no_key_an_empty_one_and_two_that_differ_are_refused() {
        assert_eq!(found(&[]), Err(auth::Error::Missing));
        for empty in [("authorization", ""), ("authorization", "Bearer "), ("x-api-key", " ")] {
            assert_eq!(found(&[empty]), Err(auth::Error::Missing), "{empty:?}");
        }
        let differ = [("authorization", "one"), ("x-api-key", "other")];
        assert_eq!(found(&differ), Err(auth::Error::Conflicting));
        let twice = [("x-api-key", "one"), ("x-api-key", "other")];
        assert_eq!(found(&twice), Err(auth::Error::Conflicting));
    }
}
