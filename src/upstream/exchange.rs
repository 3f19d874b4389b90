//! One HTTP exchange: a call there, an answer's bytes back.

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Call, Error, ErrorKind, retry_after};
use crate::model::{Account, append_chunk};

/// Longest answer taken from Move, in bytes.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

#[derive(Serialize)]
struct Body<'a> {
    query: &'a str,
    variables: &'a Map<String, Value>,
}

/// A whole answer that says it is JSON.
#[derive(Debug)]
pub struct Exchanged {
    /// Its body.
    pub body: Bytes,
    /// Move's id of the call, if it gave one.
    pub request_id: Option<Box<str>>,
}

/// Sends a call with the account's key and reads the answer whole.
///
/// # Errors
/// When no answer came, or one that is an error of HTTP, no JSON, or too large.
pub async fn exchange(
    http: &reqwest::Client,
    account: &Account,
    call: &Call,
    mut headers: HeaderMap,
) -> Result<Exchanged, Error> {
    identify(account, &mut headers)?;
    let body = body_of(call);
    let request = http.post(account.url.clone()).headers(headers).body(body);
    let response = request.send().await.map_err(Error::transport)?;
    check_status(&response)?;
    check_media_type(&response)?;
    let request_id = request_id(&response);
    Ok(Exchanged { body: read_body(response).await?, request_id })
}

#[expect(clippy::expect_used, reason = "texts and JSON values are always JSON")]
fn body_of(call: &Call) -> Vec<u8> {
    // More than most variables and the names around them take.
    let mut text = Vec::with_capacity(call.document.len() + 256);
    let body = Body { query: &call.document, variables: &call.variables };
    serde_json::to_writer(&mut text, &body).expect("texts and JSON values are always JSON");
    text
}

/// Says in a call's headers whose it is, and what it holds.
fn identify(account: &Account, headers: &mut HeaderMap) -> Result<(), Error> {
    // Raw, without `Bearer`: that is how Move takes its key.
    let mut key = HeaderValue::from_str(account.api_key.expose())
        .map_err(|_| ErrorKind::KeyRefused(StatusCode::UNAUTHORIZED.as_u16()))?;
    key.set_sensitive(true);
    headers.insert(AUTHORIZATION, key);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let agent = concat!("jobs-gateway/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    Ok(())
}

fn check_status(response: &Response) -> Result<(), Error> {
    let kind = match response.status() {
        StatusCode::OK => return Ok(()),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            ErrorKind::KeyRefused(status.as_u16())
        }
        StatusCode::TOO_MANY_REQUESTS => ErrorKind::Throttled,
        status => ErrorKind::Status(status.as_u16()),
    };
    let may_wait = matches!(kind, ErrorKind::Throttled | ErrorKind::Status(503));
    let wait = may_wait.then(|| retry_after::parse(response.headers())).flatten();
    Err(Error::from(kind).with_retry_after(wait))
}

fn check_media_type(response: &Response) -> Result<(), Error> {
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if media_type.is_some_and(is_json) { Ok(()) } else { Err(Error::not_an_answer("not JSON")) }
}

/// Returns true for JSON and what is written in it (RFC 6839), whatever parameters follow. Types are
/// the same in upper and lower case (RFC 9110, section 8.3.1).
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.split_once('/').is_some_and(|(_, subtype)| {
        let suffix = subtype.rsplit('+').next().unwrap_or_default();
        suffix.eq_ignore_ascii_case("json")
    })
}

/// Returns AppSync's name for a call, as far as it is one: it goes into records.
fn request_id(response: &Response) -> Option<Box<str>> {
    let id = response.headers().get("x-amzn-requestid")?.to_str().ok()?;
    (id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic())).then(|| id.into())
}

async fn read_body(mut response: Response) -> Result<Bytes, Error> {
    let mut body = Bytes::new();
    while let Some(chunk) = response.chunk().await.map_err(Error::transport)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(ErrorKind::TooLarge(MAX_ANSWER).into());
        }
        body = append_chunk(body, chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_by_its_media_type_in_any_case_and_with_any_parameters() {
        for json in [
            "application/json",
            "Application/JSON",
            "application/json;charset=UTF-8",
            "application/json ; charset=\"utf-8\"; profile=x",
            "application/graphql-response+json",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in ["", "json", "text/html", "text/html; note=json", "application/jsonp"] {
            assert!(!is_json(other), "{other}");
        }
    }
}
