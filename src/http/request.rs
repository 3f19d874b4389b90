//! A GraphQL request out of an HTTP request (GraphQL over HTTP, "Request").

use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, header};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::{Map, Value};

use super::bad_request::BadRequest;
use super::error::X_REQUEST_ID;
use super::media_type;
use crate::model::CallersRequestId;

/// The header in which a caller names a mutation, so that it can be sent again.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header in which a caller says how long it waits.
const X_REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// A GraphQL request, not yet looked into.
#[derive(Debug)]
pub struct GraphqlRequest {
    /// The document.
    pub query: String,
    /// Which of its operations.
    pub operation_name: Option<String>,
    /// The variables.
    pub variables: Map<String, Value>,
}

/// The members of a request, as they are sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object with a `query`")]
struct Members {
    #[serde(default, deserialize_with = "document")]
    query: Option<String>,
    #[serde(default, deserialize_with = "operation_name")]
    operation_name: Option<String>,
    #[serde(default, deserialize_with = "variables")]
    variables: Map<String, Value>,
    /// Set if they name a document by its hash (Apollo's automatic persisted queries).
    #[serde(default, rename = "extensions", deserialize_with = "persisted_query")]
    has_persisted_query: bool,
}

impl TryFrom<Members> for GraphqlRequest {
    type Error = BadRequest;

    fn try_from(members: Members) -> Result<Self, BadRequest> {
        let Members { query, operation_name, variables, has_persisted_query } = members;
        match query {
            // Hash and text are sent together by a client whose hash alone was not known.
            Some(query) if !(query.is_empty() && has_persisted_query) => {
                Ok(Self { query, operation_name, variables })
            }
            _ if has_persisted_query => Err(BadRequest::PersistedQuery),
            _ => Err(BadRequest::Shape("`query` is missing".to_owned())),
        }
    }
}

/// Returns the longest time the request may take: what its caller wishes, and no longer than `longest`.
///
/// # Errors
/// When the wish cannot be read.
pub fn time_for(headers: &HeaderMap, longest: Duration) -> Result<Duration, BadRequest> {
    let Some(wish) = headers.get(X_REQUEST_TIMEOUT) else { return Ok(longest) };
    let text = wish.to_str().map_err(|_| BadRequest::Time)?.trim();
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 0.001),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (text, 1.0),
    };
    let seconds = number.parse::<f64>().map_err(|_| BadRequest::Time)? * unit;
    match Duration::try_from_secs_f64(seconds) {
        Ok(wish) if !wish.is_zero() => Ok(wish.min(longest)),
        _ => Err(BadRequest::Time),
    }
}

/// The header in which a caller says how it would like to be answered (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Returns the time for which a caller would wait for a change (RFC 7240, section 4.3): that of the first `wait` there
/// is. One that cannot be read is none, as the RFC has it.
pub fn wish_to_wait(headers: &HeaderMap) -> Option<Duration> {
    let texts = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let (_, seconds) = texts
        .flat_map(|text| text.split(','))
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))?;
    let seconds = seconds.trim().trim_matches('"');
    if seconds.is_empty() || !seconds.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Digits that are too many are a long time.
    let seconds: u32 = seconds.parse().unwrap_or(u32::MAX);
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

/// Headers of which two would leave open what is meant. (Credentials are looked at by themselves.)
static SINGLE: [HeaderName; 3] = [header::CONTENT_TYPE, IDEMPOTENCY_KEY, X_REQUEST_TIMEOUT];

/// Checks what is clear from the head alone: method, media types, codings, announced length.
///
/// # Errors
/// When the request cannot be a GraphQL request.
pub fn check_head(head: &Parts, max_body: usize) -> Result<(), BadRequest> {
    let is_given_twice = |name: &&HeaderName| head.headers.get_all(*name).iter().nth(1).is_some();
    let has_twice = head.headers.len() > head.headers.keys_len();
    if let Some(name) = SINGLE.iter().filter(|_| has_twice).find(is_given_twice) {
        return Err(BadRequest::Twice(name.as_str()));
    }
    match head.method {
        Method::GET => return Ok(()),
        Method::POST => {}
        _ => return Err(BadRequest::Method),
    }
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    if !codings.all(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")) {
        return Err(BadRequest::TransferCoding);
    }
    if !media_type::is_json(&head.headers) {
        return Err(BadRequest::ContentType);
    }
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length > max_body => Err(BadRequest::TooLarge(max_body)),
        _ => Ok(()),
    }
}

/// Takes the text apart.
///
/// # Errors
/// When it is no GraphQL request.
pub fn parse(method: &Method, text: &[u8]) -> Result<GraphqlRequest, BadRequest> {
    match *method {
        // Parameters are ASCII: whatever else there is, is percent-encoded.
        Method::GET => from_parameters(std::str::from_utf8(text).unwrap_or_default()),
        _ => from_json(text),
    }
}

fn from_json(body: &[u8]) -> Result<GraphqlRequest, BadRequest> {
    // The members in an array would do for the parser.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(BadRequest::Shape(
            "batches are not taken, send one request at a time".to_owned(),
        ));
    }
    let members: Members = serde_json::from_slice(body).map_err(|error| {
        let problem = error.to_string();
        if error.is_data() { BadRequest::Shape(problem) } else { BadRequest::NotJson(problem) }
    })?;
    members.try_into()
}

fn from_parameters(query: &str) -> Result<GraphqlRequest, BadRequest> {
    let shape = |error: &dyn std::fmt::Display| BadRequest::Shape(error.to_string());
    let mut members = Map::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let value = match &*name {
            "query" | "operationName" => Value::String(value.into_owned()),
            "variables" | "extensions" if value.is_empty() => continue,
            "variables" | "extensions" => serde_json::from_str(&value)
                .map_err(|error| shape(&format!("`{name}` is not JSON: {error}")))?,
            _ => continue,
        };
        if members.insert(name.to_string(), value).is_some() {
            return Err(shape(&format!("`{name}` is given twice")));
        }
    }
    let members = serde_json::from_value::<Members>(Value::Object(members));
    members.map_err(|error| shape(&error))?.try_into()
}

/// The name that the caller gave the request; `None` if there is none, none that is taken, or several.
pub fn callers_id(headers: &HeaderMap) -> Option<CallersRequestId> {
    let mut values = headers.get_all(X_REQUEST_ID).iter();
    let name = CallersRequestId::parse(values.next()?.to_str().ok()?)?;
    values.next().is_none().then_some(name)
}

fn document<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(document) => Ok(Some(document)),
        _ => Err(D::Error::custom("`query` must be a string")),
    }
}

fn operation_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        // Tools that have no name to give send an empty one.
        Value::String(name) => Ok(Some(name).filter(|name| !name.is_empty())),
        _ => Err(D::Error::custom("`operationName` must be a string or null")),
    }
}

fn variables<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(Map::new()),
        Value::Object(variables) => Ok(variables),
        _ => Err(D::Error::custom("`variables` must be an object or null")),
    }
}

fn persisted_query<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(false),
        Value::Object(extensions) => Ok(extensions.contains_key("persistedQuery")),
        _ => Err(D::Error::custom("`extensions` must be an object or null")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &str) -> Result<GraphqlRequest, BadRequest> {
        from_json(body.as_bytes())
    }

    #[test]
    fn a_request_has_a_query_and_maybe_a_name_and_variables() {
        let full = r#"{"query":"{a}","operationName":"A","variables":{"x":1},"extensions":{}}"#;
        let request = json(full).expect("a request");
        assert_eq!((request.query.as_str(), request.operation_name.as_deref()), ("{a}", Some("A")));
        assert_eq!(request.variables["x"], 1);
        let nulls = r#"{"query":"{a}","operationName":null,"variables":null,"more":1}"#;
        assert!(json(nulls).expect("a request").variables.is_empty());
    }

    #[test]
    fn the_refusal_names_the_member_that_is_wrong() {
        let problem = |body| json(body).expect_err("a refusal").to_string();
        assert!(problem("{").starts_with("The body is not JSON"));
        assert!(problem("[]").contains("batches are not taken"));
        assert!(problem("{}").contains("`query`"));
        assert!(problem(r#"{"query":7}"#).contains("`query` must be a string"));
        assert!(problem(r#"{"query":"{a}","variables":[]}"#).contains("`variables`"));
        assert!(problem(r#"{"query":"{a}","operationName":1}"#).contains("`operationName`"));
        assert!(problem(r#"{"query":"{a}","extensions":1}"#).contains("`extensions`"));
        assert!(problem(r#"["{a}"]"#).contains("batches are not taken"));
        assert!(problem("7").contains("expected an object with a `query`"));
    }

    #[test]
    fn a_wish_to_wait_is_read_as_rfc_7240_has_it_and_one_that_is_none_is_passed_over() {
        let wish = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, axum::http::HeaderValue::from_static(value));
            }
            wish_to_wait(&headers).map(|time| time.as_secs())
        };
        for thirty in [
            &["wait=30"][..],
            &["respond-async, WAIT = 30"],
            &["wait=\"30\"; x=1"],
            &["handling=lenient", "wait=30, wait=5"],
        ] {
            assert_eq!(wish(thirty), Some(30), "{thirty:?}");
        }
        assert_eq!(wish(&["wait=99999999999999999999"]), Some(u64::from(u32::MAX)));
        for none in [&[][..], &["wait"], &["wait=0"], &["wait=-1"], &["wait=1.5"], &["waiting=30"]]
        {
            assert_eq!(wish(none), None, "{none:?}");
        }
    }

    #[test]
    fn an_empty_name_is_none() {
        for empty in ["query=%7Ba%7D&operationName=", "query=%7Ba%7D"] {
            assert_eq!(from_parameters(empty).expect("a request").operation_name, None);
        }
        let request = json(r#"{"query":"{a}","operationName":""}"#).expect("a request");
        assert_eq!(request.operation_name, None);
    }

    #[test]
    fn a_hash_without_a_text_is_not_supported_and_with_one_it_is_passed_over() {
        let hash = r#""extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}}"#;
        for bare in [format!("{{{hash}}}"), format!(r#"{{"query":null,{hash}}}"#)] {
            assert_eq!(json(&bare).expect_err("a refusal"), BadRequest::PersistedQuery);
        }
        let both = json(&format!(r#"{{"query":"{{a}}",{hash}}}"#)).expect("a request");
        assert_eq!(both.query, "{a}");
        let parameters = "extensions=%7B%22persistedQuery%22%3A%7B%7D%7D";
        let bare = from_parameters(parameters).expect_err("a refusal");
        assert_eq!(bare, BadRequest::PersistedQuery);
        assert!(from_parameters(&format!("query=%7Ba%7D&{parameters}")).is_ok());
    }

    #[test]
    fn a_get_says_the_same_in_its_parameters() {
        let request = from_parameters("query=%7Ba%7D&variables=%7B%22x%22%3A1%7D&operationName=A")
            .expect("a request");
        assert_eq!(request.query, "{a}");
        assert_eq!(request.variables["x"], 1);
        assert!(from_parameters("").is_err());
        assert!(from_parameters("query=a&query=b").is_err());
        assert!(from_parameters("query=a&variables=7").is_err());
    }
}
