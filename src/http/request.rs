//! A GraphQL request out of an HTTP request (GraphQL over HTTP, "Request").

use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::{Map, Value};

use super::media_type;
use crate::model::joined;

/// A GraphQL request, not yet looked into.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GraphqlRequest {
    /// The document.
    #[serde(deserialize_with = "document")]
    pub query: String,
    /// Which of its operations.
    #[serde(default, deserialize_with = "operation_name")]
    pub operation_name: Option<String>,
    /// The variables.
    #[serde(default, deserialize_with = "variables")]
    pub variables: Map<String, Value>,
    /// Extensions; none is in use.
    #[serde(default, rename = "extensions", deserialize_with = "extensions")]
    _extensions: (),
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
    /// A key that cannot be one.
    #[error("`Idempotency-Key` is a text of up to 255 visible ASCII characters.")]
    IdempotencyKey,
    /// Not JSON.
    #[error("The body is not JSON: {0}.")]
    NotJson(String),
    /// JSON of another shape.
    #[error("This is not a GraphQL request: {0}.")]
    Shape(String),
}

/// How long the request may take: what its caller wishes, and no longer than `longest`.
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

/// What is clear from the head alone: method, media types, announced length.
///
/// # Errors
/// When the request cannot be a GraphQL request.
pub fn check_head(head: &Parts, max_body: usize) -> Result<(), Error> {
    match head.method {
        Method::GET => return Ok(()),
        Method::POST => {}
        _ => return Err(Error::Method),
    }
    if !media_type::is_json(&head.headers) {
        return Err(Error::ContentType);
    }
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length > max_body => Err(Error::TooLarge(max_body)),
        _ => Ok(()),
    }
}

/// Reads the request's text: a body, or a GET's parameters.
///
/// # Errors
/// When it is not what `check_head` promised.
pub async fn read(head: &Parts, body: Body, max_body: usize) -> Result<Bytes, Error> {
    if head.method == Method::GET {
        return Ok(Bytes::copy_from_slice(head.uri.query().unwrap_or_default().as_bytes()));
    }
    let mut bytes = Bytes::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Error::Interrupted)?;
        if bytes.len() + chunk.len() > max_body {
            return Err(Error::TooLarge(max_body));
        }
        bytes = joined(bytes, chunk);
    }
    Ok(bytes)
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
    serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            if body.trim_ascii_start().first() == Some(&b'[') {
                return Error::Shape("batches are not taken, send one request at a time".into());
            }
            Error::Shape(error.to_string())
        } else {
            Error::NotJson(error.to_string())
        }
    })
}

fn from_parameters(query: &str) -> Result<GraphqlRequest, Error> {
    let mut members = Map::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let value = match &*name {
            "query" | "operationName" => Value::String(value.into_owned()),
            "variables" | "extensions" if value.is_empty() => continue,
            "variables" | "extensions" => serde_json::from_str(&value)
                .map_err(|error| Error::Shape(format!("`{name}` is not JSON: {error}")))?,
            _ => continue,
        };
        if members.insert(name.to_string(), value).is_some() {
            return Err(Error::Shape(format!("`{name}` is given twice")));
        }
    }
    serde_json::from_value(Value::Object(members)).map_err(|error| Error::Shape(error.to_string()))
}

fn document<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(document) => Ok(document),
        _ => Err(D::Error::custom("`query` must be a string")),
    }
}

fn operation_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(name) => Ok(Some(name)),
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

fn extensions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null | Value::Object(_) => Ok(()),
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
