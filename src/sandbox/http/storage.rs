//! The storage behind presigned URLs, in S3's manner: PUT takes a file's bytes, GET gives them, and
//! what was not signed is refused as S3 refuses it.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>

use std::cell::RefCell;
use std::io;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, LOCATION, TRANSFER_ENCODING};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use sha2::{Digest, Sha256};

use super::super::objects::THUMBNAIL;
use super::super::presign::{BUCKET, ObjectKey, Refusal, hex};
use super::super::store::Account;
use super::super::store::file::{File, MAX_UPLOADS};
use super::super::store::progress::Pace;
use super::super::{Shared, lock};
use super::{Body, whole};

/// The path that share codes are redeemed at.
pub const SHARED: &str = "/ugc/file/download";

/// Returns whether a path is below the bucket.
pub fn has(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|path| path.starts_with(BUCKET))
}

/// Takes or gives the bytes of a file.
pub async fn respond(shared: &Shared, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    if let Err(refusal) = shared.signer.check(&head.method, &head.uri, &head.headers, shared.now())
    {
        return Ok(refused(&refusal, shared));
    }
    // What is signed is a place in the bucket.
    let Some(key) = ObjectKey::parse(head.uri.path()) else { return Ok(no_such_key()) };
    if head.method == Method::GET {
        return Ok(get(shared, &key));
    }
    if let Some(refused) = unfit(&head.headers) {
        return Ok(refused);
    }
    let bytes = Limited::new(body, MAX_UPLOADS).collect().await.map_err(io::Error::other)?;
    let bytes = bytes.to_bytes();
    let hash = Sha256::digest(&bytes);
    let kept = with_account(shared, key.client, |account| account.upload(key.file, bytes));
    if kept.flatten().is_none() {
        return Ok(no_such_key());
    }
    let mut response = Response::new(whole(""));
    if let Ok(tag) = format!("\"{}\"", hex(&hash[..16])).parse() {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

fn get(shared: &Shared, key: &ObjectKey<'_>) -> Response<Body> {
    let pace = Pace { now: shared.now(), step: shared.options.step };
    let bytes = with_account(shared, key.client, |account| {
        let file = account.files.get(key.file)?;
        if key.extension == THUMBNAIL { Some(thumbnail(file)) } else { account.content(file, pace) }
    });
    let Some(bytes) = bytes.flatten() else { return no_such_key() };
    let mut response = Response::new(whole(bytes));
    let kind = HeaderValue::from_static("binary/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn thumbnail(file: &File) -> bytes::Bytes {
    format!("thumbnail made by the sandbox: {}\n", file.id).into()
}

/// Leads from a share code to its file.
pub fn follow_code(shared: &Shared, uri: &Uri) -> Response<Body> {
    let code = uri.query().and_then(|query| query.strip_prefix("code=")).unwrap_or_default();
    let now = shared.now();
    let url = lock(&shared.accounts).values().find_map(|account| {
        let account = account.borrow();
        let file = account.files.get(account.share_codes.file(code, now)?)?;
        let key = ObjectKey { client: account.id(), file: &file.id, extension: &file.file_type };
        Some(shared.signer.url(&Method::GET, &key, now))
    });
    let Some(url) = url.and_then(|url| url.parse().ok()) else { return no_such_key() };
    let mut response = Response::new(whole(""));
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(LOCATION, url);
    response
}

fn with_account<T>(
    shared: &Shared,
    client: &str,
    act: impl FnOnce(&mut Account) -> T,
) -> Option<T> {
    let mut accounts = lock(&shared.accounts);
    let account = accounts.values_mut().map(RefCell::get_mut).find(|own| own.id() == client);
    account.map(act)
}

/// An upload that S3 does not take, before its bytes are read.
fn unfit(headers: &HeaderMap) -> Option<Response<Body>> {
    if headers.contains_key(TRANSFER_ENCODING) {
        let message = "A header you provided implies functionality that is not implemented";
        let more = "<Header>Transfer-Encoding</Header>";
        return Some(error(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message, more));
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let Some(length) = length.and_then(|text| text.parse::<usize>().ok()) else {
        let message = "You must provide the Content-Length HTTP header.";
        return Some(error(StatusCode::LENGTH_REQUIRED, "MissingContentLength", message, ""));
    };
    (length > MAX_UPLOADS).then(|| {
        let message = "Your proposed upload exceeds the maximum allowed size";
        let more = format!(
            "<ProposedSize>{length}</ProposedSize><MaxSizeAllowed>{MAX_UPLOADS}</MaxSizeAllowed>"
        );
        error(StatusCode::BAD_REQUEST, "EntityTooLarge", message, &more)
    })
}

fn refused(refusal: &Refusal, shared: &Shared) -> Response<Body> {
    let (code, message, more) = match refusal {
        Refusal::Unsigned => ("AccessDenied", "Access Denied", String::new()),
        Refusal::Mismatch(text) => (
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check \
             your key and signing method.",
            format!("<StringToSign>{}</StringToSign>", escaped(text)),
        ),
        Refusal::Expired(expires) => {
            let now = shared.now();
            let more = format!("<Expires>{expires}</Expires><ServerTime>{now}</ServerTime>");
            ("AccessDenied", "Request has expired", more)
        }
    };
    error(StatusCode::FORBIDDEN, code, message, &more)
}

fn no_such_key() -> Response<Body> {
    let message = "The specified key does not exist.";
    error(StatusCode::NOT_FOUND, "NoSuchKey", message, "")
}

fn error(status: StatusCode, code: &str, message: &str, more: &str) -> Response<Body> {
    let id = uuid::Uuid::new_v4().simple();
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>{message}</Message>{more}<RequestId>{id}</RequestId></Error>"
    );
    let mut response = Response::new(whole(xml));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
