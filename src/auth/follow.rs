//! Keys that follow a URL: fetched at start and in the background, kept when the issuer is down.
//!
//! The follower's task alone fetches. A caller whose token has an unknown `kid` asks it to, and waits for
//! the end of the fetch; whether that caller stays or hangs up makes no difference to it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::Algorithm;
use reqwest::header::{CACHE_CONTROL, HeaderMap};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::jwks::{Error, Keys, VerifyingKey, parse};
use crate::supervision::{Supervisor, Task};
use crate::telemetry::metrics;

/// Longest set taken, in bytes.
const MAX_SET: usize = 1024 * 1024;

/// The time one fetch may take, and a caller may wait for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// An unknown `kid` asks the issuer again, but not sooner than this after the last answer to one: a
/// stranger who makes up `kid`s must not make the gateway hammer the issuer.
const UNKNOWN_KID: Duration = Duration::from_secs(10);

/// The time for which a set is good if its answer does not say, and the bounds of what it may say.
const DEFAULT_AGE: Duration = Duration::from_mins(5);
const AGES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_hours(24));

/// The pause before a fetch that failed is tried again.
const RETRY: Duration = Duration::from_secs(15);

/// Keys that follow a URL.
pub struct Fetched {
    name: String,
    url: url::Url,
    http: reqwest::Client,
    keys: ArcSwap<Keys>,
    progress: watch::Sender<Progress>,
}

/// The follower's state.
#[derive(Debug, Clone, Copy)]
struct Progress {
    stage: Stage,
    /// The moment at which the last fetch ended that an unknown `kid` asked for.
    answered: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fetching,
    Resting,
    /// Resting, and asked to fetch now.
    Asked,
}

impl Fetched {
    /// Starts to follow a URL, for as long as the task is held. Needs a runtime.
    pub fn start(
        name: &str,
        url: &url::Url,
        http: &reqwest::Client,
        supervisor: &Supervisor,
    ) -> (Arc<Self>, Task) {
        let fetched = Arc::new(Self {
            name: name.to_owned(),
            url: url.clone(),
            http: http.clone(),
            keys: ArcSwap::default(),
            progress: watch::Sender::new(Progress { stage: Stage::Fetching, answered: None }),
        });
        let following = Arc::clone(&fetched);
        let task = supervisor.start("issuer_keys", move || {
            let following = Arc::clone(&following);
            async move { following.follow().await }
        });
        (fetched, task)
    }

    /// The version of the keys in use.
    pub fn version(&self) -> u64 {
        self.keys.load().version
    }

    /// The keys that may have signed a token, after asking the issuer again if its `kid` is not known.
    pub async fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<Arc<VerifyingKey>> {
        let refreshed =
            async { while self.keys.load().may_be_outdated(kid) && self.next_fetch().await {} };
        // Out of time: what is known now has to do.
        let _ = timeout(FETCH_TIMEOUT, refreshed).await;
        self.keys.load().find(kid, algorithm)
    }

    /// Waits for the end of the fetch that is under way, or of another one; false if the issuer was
    /// asked a moment ago.
    async fn next_fetch(&self) -> bool {
        let mut progress = self.progress.subscribe();
        self.progress.send_if_modified(|progress| {
            let may_ask = progress.answered.is_none_or(|then| then.elapsed() >= UNKNOWN_KID);
            let asks = progress.stage == Stage::Resting && may_ask;
            if asks {
                progress.stage = Stage::Asked;
            }
            asks
        });
        if progress.borrow_and_update().stage == Stage::Resting {
            return false;
        }
        progress.wait_for(|progress| progress.stage == Stage::Resting).await.is_ok()
    }

    /// Fetches when the set is too old and when it is asked to.
    async fn follow(&self) {
        let mut asked = self.progress.subscribe();
        loop {
            let was_asked = asked.borrow_and_update().stage == Stage::Asked;
            self.progress.send_modify(|progress| progress.stage = Stage::Fetching);
            let wait = self.refresh().await.unwrap_or(RETRY);
            self.progress.send_modify(|progress| {
                progress.stage = Stage::Resting;
                if was_asked {
                    progress.answered = Some(Instant::now());
                }
            });
            tokio::select! {
                () = sleep(wait) => {}
                _ = asked.wait_for(|progress| progress.stage == Stage::Asked) => {}
            }
        }
    }

    /// Fetches the set and says for how long it is good. When that fails the last good set stays.
    async fn refresh(&self) -> Result<Duration, Error> {
        let result = fetch(&self.http, &self.url).await;
        let result = result.and_then(|(text, age)| self.take(&text).map(|()| age));
        metrics::issuer_keys(&self.name, result.is_ok());
        result.inspect_err(|error| self.complain(error))
    }

    /// Puts a set in force, if it is another one.
    fn take(&self, text: &str) -> Result<(), Error> {
        let known = self.keys.load();
        if !known.is_of(text) {
            let keys = parse(text, known.version + 1)?;
            tracing::info!(issuer = self.name, keys = keys.len(), "the issuer's keys changed");
            self.keys.store(Arc::new(keys));
        }
        Ok(())
    }

    fn complain(&self, error: &Error) {
        let issuer = &self.name;
        if self.keys.load().len() == 0 {
            tracing::warn!(issuer, %error, "the issuer's keys cannot be fetched: its tokens are refused");
        } else {
            tracing::warn!(
                issuer,
                %error,
                "the issuer's keys cannot be fetched; the last good ones stay in use"
            );
        }
    }
}

/// Asks an issuer for its keys, once, and returns the number of those that can be used.
///
/// # Errors
/// When no set comes within five seconds, or none with a usable key.
pub async fn probe(http: &reqwest::Client, url: &url::Url) -> Result<usize, Error> {
    let (text, _) = fetch(http, url).await?;
    Ok(parse(&text, 0)?.len())
}

/// Fetches a set, and says how long it is good.
async fn fetch(http: &reqwest::Client, url: &url::Url) -> Result<(String, Duration), Error> {
    let fetching = async {
        let mut response = http.get(url.clone()).send().await?;
        if !response.status().is_success() {
            return Err(Error::Status(response.status().as_u16()));
        }
        let age = max_age(response.headers()).unwrap_or(DEFAULT_AGE).clamp(AGES.0, AGES.1);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_SET {
                return Err(Error::TooLarge(MAX_SET));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((String::from_utf8_lossy(&body).into_owned(), age))
    };
    timeout(FETCH_TIMEOUT, fetching).await.unwrap_or(Err(Error::Timeout))
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
