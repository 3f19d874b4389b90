//! Forms that `gateway.yaml` has, and those of keys, which policies have too.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue};

use crate::model::{CredentialId, KeyHash};
use crate::scalars;
use crate::settings::forms::hidden;
use crate::settings::{Form, KEY_PREFIX, List, Section, Value, ValueKind, values};

scalars! {
    /// An origin of web pages (RFC 6454).
    Origin(HeaderValue): ValueKind::Word, origin, hidden;
    /// The name of a header.
    Header(HeaderName): ValueKind::Word, header, hidden;
    /// The name of a header that may go on to Move.
    ForwardedHeader(HeaderName): ValueKind::Word, forwarded_header, hidden;
    /// The path of an endpoint.
    EndpointPath(String): ValueKind::Word, endpoint_path, String::clone;
    /// The name of a key.
    KeyName(CredentialId): ValueKind::Word, key_name, hidden;
    /// The hash of a key.
    Hash(KeyHash): ValueKind::Hash, hash, hidden;
    /// A filter of log lines.
    LogFilter(String): ValueKind::Word, log_filter, String::clone;
}

fn key_name(text: &str) -> Result<CredentialId, String> {
    CredentialId::parse(text).map_err(|error| error.to_string())
}

fn hash(text: &str) -> Result<KeyHash, String> {
    KeyHash::parse(text).ok_or_else(|| {
        let problem = if text.starts_with(KEY_PREFIX) {
            "must be the hash of a key, and is a key: make another one, as this one is not secret any more"
        } else {
            "must be 64 hexadecimal digits: `jobs-gateway key new` prints them"
        };
        problem.to_owned()
    })
}

fn endpoint_path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/')
        && text.len() > 1
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.'));
    if is_path { Ok(text.to_owned()) } else { Err("must be a path such as /graphql".to_owned()) }
}

fn origin(text: &str) -> Result<HeaderValue, String> {
    let url = values::web_url(text)?;
    match url.origin().ascii_serialization() {
        origin if origin == text => {
            HeaderValue::try_from(origin).map_err(|_| "must be an origin".to_owned())
        }
        origin => Err(format!("must be an origin alone, such as {origin}")),
    }
}

fn header(text: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(text)
        .map_err(|_| "must be the name of a header such as x-app-version".to_owned())
}

/// Takes the name of a header unless it carries a credential, belongs to the connection or describes
/// the body.
fn forwarded_header(name: &str) -> Result<HeaderName, String> {
    const OWN: [&str; 9] = [
        "authorization",
        "connection",
        "cookie",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-api-key",
    ];
    let name = name.to_ascii_lowercase();
    let is_own = OWN.contains(&name.as_str())
        || ["accept", "content-", "proxy-", "keep-", "if-"].iter().any(|own| name.starts_with(own));
    HeaderName::try_from(name).ok().filter(|_| !is_own).ok_or_else(|| {
        "must be the name of a header such as x-correlation-id, none of HTTP's own and none that \
         carries a credential"
            .to_owned()
    })
}

fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) if !text.is_empty() => Ok(text.to_owned()),
        _ => {
            Err("must be a level such as info, or a filter such as warn,jobs_gateway=debug".into())
        }
    }
}

/// The paths of the endpoint: one at least, each once.
#[derive(Debug)]
pub enum EndpointPaths {}

impl Form for EndpointPaths {
    type Value = Vec<String>;

    fn kind() -> ValueKind {
        List::<EndpointPath>::kind()
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        default: Option<Self::Value>,
    ) -> Option<Self::Value> {
        let (context, name) = (section.context(), section.name(key));
        if let Some(node) = section.node(key)
            && let Value::List(items) = &node.value
        {
            if items.is_empty() {
                context.error(&node.span, format!("`{name}` must have one path at least"));
            }
            for (at, item) in items.iter().enumerate() {
                if let Value::Scalar { text, .. } = &item.value
                    && items[..at].iter().any(|known| known.is_scalar(text))
                {
                    context.error(&item.span, format!("`{name}`: {text} is listed twice"));
                }
            }
        }
        List::<EndpointPath>::read(section, key, default)
    }

    fn show(value: &Self::Value) -> Option<String> {
        List::<EndpointPath>::show(value)
    }
}

/// The file of what is remembered of mutations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreFile {
    /// One that the configuration names: the gateway does not start without it.
    Named(PathBuf),
    /// The usual one, beside the configuration.
    Usual(PathBuf),
    /// None: this process's memory.
    Memory,
}

/// `idempotency.file`
#[derive(Debug)]
pub enum IdempotencyFile {}

impl Form for IdempotencyFile {
    type Value = StoreFile;

    fn kind() -> ValueKind {
        ValueKind::Text
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        _: Option<StoreFile>,
    ) -> Option<StoreFile> {
        use crate::settings::forms::FilePath;
        let usual = StoreFile::Usual(section.folder().join("state/idempotency.redb"));
        let Some(node) = section.node(key) else { return Some(usual) };
        Some(section.scalar::<FilePath>(key, node).map_or(usual, StoreFile::Named))
    }

    fn unset() -> Option<StoreFile> {
        Some(StoreFile::Memory)
    }

    fn show(_: &StoreFile) -> Option<String> {
        None
    }
}
