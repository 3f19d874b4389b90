//! Presigned URLs as those of S3, in both of its signature styles.
//!
//! A signature is a keyed hash of what S3 signs: method, path, dates, and every header that counts. So
//! a URL to read cannot write, and a header that was not signed breaks it. It is not S3's own
//! computation, which nobody who is given a URL can check.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, Method, Uri};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

/// The folder of everything stored, in the place of a bucket.
pub const BUCKET: &str = "move-sandbox";

/// A version of S3's signatures in URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Version 2: `Expires=<seconds since 1970>`.
    SignatureV2,
    /// Version 4: `X-Amz-Date` and `X-Amz-Expires=<seconds>`.
    SignatureV4,
}

/// An object's place in the bucket.
pub struct ObjectKey<'a> {
    /// The id of the account's client.
    pub client: &'a str,
    /// The file's id.
    pub file: &'a str,
    /// The part behind the dot.
    pub extension: &'a str,
}

/// A reason to refuse a URL.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not signed at all.
    Unsigned,
    /// It was signed for another request: the text that this one would have had signed.
    Mismatch(String),
    /// It is over.
    Expired(Timestamp),
}

/// Signs URLs of one sandbox, and knows them again.
#[derive(Debug)]
pub struct Signer {
    /// The sandbox's address.
    pub address: SocketAddr,
    /// The version of its signatures.
    style: Style,
    /// The lifetime of its URLs.
    lifetime: Duration,
    secret: uuid::Uuid,
}

impl Signer {
    /// A signer with a secret of its own.
    pub fn new(address: SocketAddr, style: Style, lifetime: Duration) -> Self {
        Self { address, style, lifetime, secret: uuid::Uuid::new_v4() }
    }

    /// Returns a URL by which an object can be read (GET) or written (PUT), signed now.
    pub fn url(&self, method: &Method, key: &ObjectKey<'_>, now: Timestamp) -> String {
        let path = key.path();
        let life = self.lifetime.as_secs();
        let query = match self.style {
            Style::SignatureV2 => {
                let expires = now.as_second().saturating_add_unsigned(life);
                format!("AWSAccessKeyId=SANDBOX&Expires={expires}&")
            }
            Style::SignatureV4 => format!(
                "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=SANDBOX&X-Amz-Date={}\
                 &X-Amz-Expires={life}&X-Amz-SignedHeaders=host&X-Amz-",
                now.strftime("%Y%m%dT%H%M%SZ"),
            ),
        };
        let signature = self.sign(&string_to_sign(method, &path, &query, &HeaderMap::new()));
        format!("http://{}{path}?{query}Signature={signature}", self.address)
    }

    /// Checks that a request is the one that its URL was signed for, and in time.
    pub fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let signed = uri.query().and_then(|query| query.split_once("Signature="));
        let (query, signature) = signed.ok_or(Refusal::Unsigned)?;
        let text = string_to_sign(method, uri.path(), query, headers);
        if self.sign(&text) != signature {
            return Err(Refusal::Mismatch(text));
        }
        let expires = expiry(query).ok_or(Refusal::Unsigned)?;
        if expires <= now { Err(Refusal::Expired(expires)) } else { Ok(()) }
    }

    fn sign(&self, text: &str) -> String {
        hex(&Sha256::new().chain_update(self.secret).chain_update(text).finalize())
    }
}

/// Writes bytes as S3 writes hashes.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

impl ObjectKey<'_> {
    fn path(&self) -> String {
        let Self { client, file, extension } = self;
        let name = format!("{file}.{extension}");
        let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
        format!("/{BUCKET}/{client}/{name}")
    }

    /// Reads the ids of client and file from a path below the bucket.
    pub fn parse(path: &str) -> Option<ObjectKey<'_>> {
        let path = path.strip_prefix('/')?.strip_prefix(BUCKET)?.strip_prefix('/')?;
        let (client, name) = path.split_once('/')?;
        let (file, extension) = name.split_once('.')?;
        Some(ObjectKey { client, file, extension })
    }
}

/// The text of version 2: the verb, the headers that count even though nobody names them, and the
/// resource. <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html>
fn string_to_sign(method: &Method, path: &str, query: &str, headers: &HeaderMap) -> String {
    let value = |name: &str| {
        let value = headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        value.unwrap_or_default().into_owned()
    };
    let mut text = format!("{method}\n{}\n{}\n", value("content-md5"), value("content-type"));
    let mut own: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    own.retain(|name| name.starts_with("x-amz-"));
    own.sort_unstable();
    for name in own {
        let _ = writeln!(text, "{name}:{}", value(name));
    }
    let _ = write!(text, "{path}?{query}");
    text
}

/// Reads when a URL that was signed here is over.
fn expiry(query: &str) -> Option<Timestamp> {
    let value = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(own, value)| (own == name).then_some(value))
    };
    if let Some(expires) = value("Expires") {
        return Timestamp::from_second(expires.parse().ok()?).ok();
    }
    let signed = DateTime::strptime("%Y%m%dT%H%M%SZ", value("X-Amz-Date")?).ok()?;
    let signed = signed.to_zoned(TimeZone::UTC).ok()?.timestamp();
    signed.checked_add(Duration::from_secs(value("X-Amz-Expires")?.parse().ok()?)).ok()
}
