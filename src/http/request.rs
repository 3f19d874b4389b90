//! A GraphQL request out of an HTTP request (GraphQL over HTTP, "Request").

use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::{Map, Value};

use super::body::Coding;
use super::media_type;

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
    type Error = Error;

    fn try_from(members: Members) -> Result<Self, Error> {
        let Members { query, operation_name, variables, has_persisted_query } = members;
        match query {
            // Hash and text are sent together by a client whose hash alone was not known.
            Some(query) if !(query.is_empty() && has_persisted_query) => {
                Ok(Self { query, operation_name, variables })
            }
            _ if has_persisted_query => Err(Error::PersistedQuery),
            _ => Err(Error::Shape("`query` is missing".to_owned())),
        }
    }
}

/// Why an HTTP request is no GraphQL request. The text is what the caller reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither GET nor POST.
    #[error("GraphQL is asked by POST, or by GET for queries.")]
    Method,
    /// A mutation by GET.
    #[error("A mutation is sent by POST.")]
    MutationByGet,
    /// A body of another type.
    #[error("The body must be JSON: `Content-Type: application/json`, in UTF-8.")]
    ContentType,
    /// A body in another transfer coding than chunks (RFC 9112, section 6.1).
    #[error("Of transfer codings `chunked` alone is known.")]
    TransferCoding,
    /// A body in a coding that is not taken.
    #[error("The body must be as it is, or in one layer of gzip: `Content-Encoding: gzip`.")]
    ContentEncoding,
    /// A body that is not what `Content-Encoding` says.
    #[error("The body is not gzip, though `Content-Encoding` says so.")]
    NotGzip,
    /// No media type in common.
    #[error("Answers are `application/json` or `application/graphql-response+json`: accept one.")]
    NotAcceptable,
    /// A body over the limit.
    #[error("The body is larger than {0} bytes.")]
    TooLarge(usize),
    /// A body that did not come in time.
    #[error("The body did not arrive in time.")]
    Slow,
    /// A body that broke off.
    #[error("The body broke off.")]
    Interrupted,
    /// A time that is none.
    #[error("`X-Request-Timeout` is a time such as 2s or 500ms.")]
    Time,
    /// A key that cannot be one, or several.
    #[error("`Idempotency-Key` is one text of up to 255 visible ASCII characters.")]
    IdempotencyKey,
    /// No host, two of them, or one that is none.
    #[error("A request names its host once, in `Host`.")]
    Host,
    /// A header that has one value came twice.
    #[error("`{0}` is given twice: send it once.")]
    Twice(&'static str),
    /// A document's hash without its text. The words are those that clients look for.
    #[error("PersistedQueryNotSupported")]
    PersistedQuery,
    /// Not JSON.
    #[error("The body is not JSON: {0}.")]
    NotJson(String),
    /// JSON of another shape.
    #[error("This is not a GraphQL request: {0}.")]
    Shape(String),
}

/// Returns the longest time the request may take: what its caller wishes, and no longer than `longest`.
///
/// # Errors
/// When the wish cannot be read.
pub fn time_for(headers: &HeaderMap, longest: Duration) -> Result<Duration, Error> {
    let Some(wish) = headers.get("x-request-timeout") else { return Ok(longest) };
    let text = wish.to_str().map_err(|_| Error::Time)?.trim();
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 0.001),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (text, 1.0),
    };
    let seconds = number.parse::<f64>().map_err(|_| Error::Time)? * unit;
    match Duration::try_from_secs_f64(seconds) {
        Ok(wish) if !wish.is_zero() => Ok(wish.min(longest)),
        _ => Err(Error::Time),
    }
}

/// Headers of which two would leave open what is meant. (Credentials are looked at by themselves.)
const SINGLE: [&str; 3] = ["content-type", "idempotency-key", "x-request-timeout"];

/// Checks what is clear from the head alone: method, media types, codings, announced length.
///
/// # Errors
/// When the request cannot be a GraphQL request.
pub fn check_head(head: &Parts, max_body: usize) -> Result<(), Error> {
    let is_given_twice = |name: &&str| head.headers.get_all(*name).iter().nth(1).is_some();
    if let Some(name) = SINGLE.into_iter().find(is_given_twice) {
        return Err(Error::Twice(name));
    }
    match head.method {
        Method::GET => return Ok(()),
        Method::POST => {}
        _ => return Err(Error::Method),
    }
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    if !codings.all(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")) {
        return Err(Error::TransferCoding);
    }
    if !media_type::is_json(&head.headers) {
        return Err(Error::ContentType);
    }
    Coding::from_headers(&head.headers)?;
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length > max_body => Err(Error::TooLarge(max_body)),
        _ => Ok(()),
    }
}

/// Takes the text apart.
///
/// # Errors
/// When it is no GraphQL request.
pub fn parse(method: &Method, text: &[u8]) -> Result<GraphqlRequest, Error> {
    match *method {
        // Parameters are ASCII: whatever else there is, is percent-encoded.
        Method::GET => from_parameters(std::str::from_utf8(text).unwrap_or_default()),
        _ => from_json(text),
    }
}

fn from_json(body: &[u8]) -> Result<GraphqlRequest, Error> {
    // The members in an array would do for the parser.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Error::Shape("batches are not taken, send one request at a time".to_owned()));
    }
    let members: Members = serde_json::from_slice(body).map_err(|error| {
        let problem = error.to_string();
        if error.is_data() { Error::Shape(problem) } else { Error::NotJson(problem) }
    })?;
    members.try_into()
}

fn from_parameters(query: &str) -> Result<GraphqlRequest, Error> {
    let shape = |error: &dyn std::fmt::Display| Error::Shape(error.to_string());
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

    fn json(body: &str) -> Result<GraphqlRequest, Error> {
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
            assert_eq!(json(&bare).expect_err("a refusal"), Error::PersistedQuery);
        }
        let both = json(&format!(r#"{{"query":"{{a}}",{hash}}}"#)).expect("a request");
        assert_eq!(both.query, "{a}");
        let parameters = "extensions=%7B%22persistedQuery%22%3A%7B%7D%7D";
        let bare = from_parameters(parameters).expect_err("a refusal");
        assert_eq!(bare, Error::PersistedQuery);
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
