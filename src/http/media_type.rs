//! Negotiation of the media type of an answer (GraphQL over HTTP, "Media Types").

use axum::http::{HeaderMap, HeaderValue, header};

use crate::model::MediaType;

impl MediaType {
    /// The `Content-Type` of an answer.
    #[must_use]
    pub const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json; charset=utf-8",
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
        })
    }

    /// Returns the one that the caller prefers; `None` if it accepts neither. Without an `Accept`
    /// header, and for `*/*`, it is `application/json`, as Move answers.
    #[must_use]
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        let mut ranges = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|range| !range.is_empty())
            .peekable();
        if ranges.peek().is_none() {
            return Some(Self::Json);
        }
        for range in ranges {
            let mut parts = range.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default();
            let is = |media: &str| range.eq_ignore_ascii_case(media);
            let media_type = if ["*/*", "application/*", "application/json"].into_iter().any(is) {
                Self::Json
            } else if is("application/graphql-response+json") {
                Self::GraphqlResponse
            } else {
                continue;
            };
            let quality = parts
                .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
                .map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
            if quality > best.map_or(0.0, |(best, _)| best) {
                best = Some((quality, media_type));
            }
        }
        best.map(|(_, media_type)| media_type)
    }
}

/// Returns true if a request body says it is JSON in UTF-8. Browsers cannot send that across origins
/// without asking first, so a form on a foreign page cannot call the gateway.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    is_json
        && parts.all(|part| match part.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(value: &'static str) -> Option<MediaType> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))]);
        MediaType::accepted(&headers)
    }

    #[test]
    fn the_preferred_type_wins_and_json_stands_for_anything() {
        assert_eq!(MediaType::accepted(&HeaderMap::new()), Some(MediaType::Json));
        assert_eq!(accepted("*/*"), Some(MediaType::Json));
        assert_eq!(
            accepted("application/json;q=0.5, application/graphql-response+json; charset=utf-8"),
            Some(MediaType::GraphqlResponse)
        );
        assert_eq!(accepted("application/graphql-response+json;q=0.1, */*"), Some(MediaType::Json));
        assert_eq!(accepted("text/html"), None);
        assert_eq!(accepted("application/json;q=0"), None);
    }

    #[test]
    fn only_json_in_utf_8_is_json() {
        let json = |value: &'static str| {
            is_json(&HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(json("application/json"));
        assert!(json("Application/JSON; charset=\"UTF-8\""));
        assert!(!json("application/json; charset=latin1"));
        assert!(!json("text/plain"));
        assert!(!json("application/x-www-form-urlencoded"));
        assert!(!is_json(&HeaderMap::new()));
    }
}
