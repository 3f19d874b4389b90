//! An issuer's keys: fetched at start and in the background, kept when the issuer is down.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::header::{CACHE_CONTROL, HeaderMap};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::telemetry::{http_causes, metrics};

/// Longest set taken, in bytes.
const MAX_SET: usize = 1024 * 1024;

/// The time one fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// An unknown `kid` asks the issuer again, but not more often than this: a stranger who makes up
/// `kid`s must not make the gateway hammer the issuer.
const UNKNOWN_KID: Duration = Duration::from_secs(10);

/// How long a set is good for if its answer does not say, and the bounds of what it may say.
const DEFAULT_AGE: Duration = Duration::from_mins(5);
const AGES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_hours(24));

/// How soon a fetch that failed is tried again.
const RETRY: Duration = Duration::from_secs(15);

/// Why a set of keys cannot be had. For the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL gave no answer.
    #[error("no answer: {0}")]
    Fetch(String),
    /// It did not answer in time.
    #[error("no answer in time")]
    Timeout,
    /// It answered with a failure.
    #[error("HTTP {0}")]
    Status(u16),
    /// The set is too large.
    #[error("larger than {MAX_SET} bytes")]
    TooLarge,
    /// It is no JWK set.
    #[error("not a JWK set: {0}")]
    NotASet(#[from] serde_json::Error),
    /// No key in it can verify a token.
    #[error("no usable key in it")]
    Empty,
    /// The file cannot be read.
    #[error("{0}")]
    File(#[from] std::io::Error),
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        Self::Fetch(http_causes(error))
    }
}

/// A key and what it may verify.
pub struct VerifyingKey {
    /// The key.
    pub key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

impl VerifyingKey {
    /// A secret for HS256.
    pub fn secret(secret: &[u8]) -> Self {
        Self { key: DecodingKey::from_secret(secret), algorithms: vec![Algorithm::HS256] }
    }

    /// Whether the key's type (and its own `alg`, if it has one) goes with the algorithm.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

/// The keys at one moment.
#[derive(Default)]
pub struct Keys {
    by_kid: HashMap<String, Arc<VerifyingKey>>,
    without_kid: Vec<Arc<VerifyingKey>>,
    /// Counts the changes of the set: tokens that were verified under another are verified again.
    pub version: u64,
    text: String,
}

impl Keys {
    /// The key for a token's `kid`; without one, the only key there is.
    pub fn find(&self, kid: Option<&str>) -> Option<Arc<VerifyingKey>> {
        if let Some(kid) = kid {
            self.by_kid.get(kid).cloned()
        } else {
            let mut all = self.by_kid.values().chain(&self.without_kid);
            let only = all.next()?;
            all.next().is_none().then(|| Arc::clone(only))
        }
    }
}

/// Reads a set. Keys that cannot verify a signature here are left out.
pub fn parse(text: &str, version: u64) -> Result<Keys, Error> {
    let set: JwkSet = serde_json::from_str(text)?;
    let mut keys = Keys { version, text: text.to_owned(), ..Keys::default() };
    for jwk in set.keys {
        let Some(key) = verifying_key(&jwk) else { continue };
        match jwk.common.key_id {
            Some(kid) => {
                keys.by_kid.insert(kid, Arc::new(key));
            }
            None => keys.without_kid.push(Arc::new(key)),
        }
    }
    if keys.by_kid.is_empty() && keys.without_kid.is_empty() {
        return Err(Error::Empty);
    }
    Ok(keys)
}

fn verifying_key(jwk: &Jwk) -> Option<VerifyingKey> {
    use Algorithm as A;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => {
            vec![A::RS256, A::RS384, A::RS512, A::PS256, A::PS384, A::PS512]
        }
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![A::ES256],
            EllipticCurve::P384 => vec![A::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![A::EdDSA]
        }
        // A symmetric key in a public set is a mistake, and would let anybody sign.
        _ => return None,
    };
    if let Some(own) = jwk.common.key_algorithm {
        let own: Option<Algorithm> = own.to_string().parse().ok();
        algorithms.retain(|algorithm| own == Some(*algorithm));
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    (!algorithms.is_empty()).then_some(VerifyingKey { key, algorithms })
}

/// Reads a set from a file.
pub fn read(path: &Path) -> Result<Keys, Error> {
    parse(&std::fs::read_to_string(path)?, 0)
}

/// Keys that follow a URL.
pub struct Fetched {
    name: String,
    url: url::Url,
    http: reqwest::Client,
    keys: ArcSwap<Keys>,
    /// When the issuer was last asked because of an unknown `kid`.
    asked: Mutex<Option<Instant>>,
}

impl Fetched {
    /// Starts to follow a URL.
    pub fn start(
        name: &str,
        url: &url::Url,
        http: &reqwest::Client,
    ) -> (Arc<Self>, JoinHandle<()>) {
        let fetched = Arc::new(Self {
            name: name.to_owned(),
            url: url.clone(),
            http: http.clone(),
            keys: ArcSwap::default(),
            asked: Mutex::new(None),
        });
        let following = Arc::clone(&fetched);
        let task = tokio::spawn(async move {
            loop {
                let wait = following.refresh().await.unwrap_or(RETRY);
                tokio::time::sleep(wait).await;
            }
        });
        (fetched, task)
    }

    /// The version of the keys in use.
    pub fn version(&self) -> u64 {
        self.keys.load().version
    }

    /// The key for a token, after asking the issuer again if it is not known.
    pub async fn find(&self, kid: Option<&str>) -> Option<Arc<VerifyingKey>> {
        if let Some(key) = self.keys.load().find(kid) {
            return Some(key);
        }
        // Whoever waits here finds the key that the first one fetched.
        let mut asked = self.asked.lock().await;
        if let Some(key) = self.keys.load().find(kid) {
            return Some(key);
        }
        if asked.is_some_and(|asked| asked.elapsed() < UNKNOWN_KID) {
            return None;
        }
        *asked = Some(Instant::now());
        let _ = self.refresh().await;
        self.keys.load().find(kid)
    }

    /// Fetches the set and says for how long it is good. When that fails the last good set stays.
    async fn refresh(&self) -> Result<Duration, Error> {
        let result = match timeout(FETCH_TIMEOUT, self.fetch()).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout),
        };
        let result = result.and_then(|(text, age)| self.take(&text).map(|()| age));
        metrics::issuer_keys(&self.name, result.is_ok());
        result.inspect_err(|error| self.complain(error))
    }

    /// Puts a set in force, if it is another one.
    fn take(&self, text: &str) -> Result<(), Error> {
        let known = self.keys.load();
        if known.text != text {
            let keys = parse(text, known.version + 1)?;
            tracing::info!(
                issuer = self.name,
                keys = keys.by_kid.len(),
                "the issuer's keys changed"
            );
            self.keys.store(Arc::new(keys));
        }
        Ok(())
    }

    fn complain(&self, error: &Error) {
        tracing::warn!(
            issuer = self.name,
            %error,
            "the issuer's keys cannot be fetched; the last good ones stay in use"
        );
    }

    async fn fetch(&self) -> Result<(String, Duration), Error> {
        let mut response = self.http.get(self.url.clone()).send().await?;
        if !response.status().is_success() {
            return Err(Error::Status(response.status().as_u16()));
        }
        let age = max_age(response.headers()).unwrap_or(DEFAULT_AGE).clamp(AGES.0, AGES.1);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_SET {
                return Err(Error::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok((String::from_utf8_lossy(&body).into_owned(), age))
    }
}

/// `Cache-Control: max-age` in seconds; `no-store` and `no-cache` are 0 (RFC 9111, section 5.2.2).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(CACHE_CONTROL)?.to_str().ok()?.to_ascii_lowercase();
    let mut directives = value.split(',').map(str::trim);
    directives.find_map(|directive| match directive {
        "no-store" | "no-cache" => Some(Duration::ZERO),
        _ => {
            let seconds = directive.strip_prefix("max-age=")?.trim_matches('"').parse().ok()?;
            Some(Duration::from_secs(seconds))
        }
    })
}
