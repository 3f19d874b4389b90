//! What the resolvers of one request share.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use http::HeaderMap;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{Caller, RequestId, RootField, TraceContext, Trail};

/// One request while it is executed: whose it is, until when, and how its answer may be had.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Its id.
    pub id: RequestId,
    /// Where it came from.
    pub source: Option<IpAddr>,
    /// Who asks.
    pub caller: Caller,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// Whether cached answers are passed over (`Cache-Control: no-cache`, where policy heeds it).
    pub fresh: bool,
    /// The trace it is part of.
    pub trace: Option<TraceContext>,
    /// Headers that go on to Move with each of its calls.
    pub forward: Option<Arc<HeaderMap>>,
    /// What marks the jobs it creates, if its caller may send it again.
    pub mark: Option<CreationMark>,
    /// Its root fields.
    pub trails: Arc<[Trail]>,
}

/// What jobs that a mutation with an `Idempotency-Key` creates carry upstream, so that they are found
/// when the mutation is made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreationMark {
    /// The SHA-256 of tenant and key.
    pub key: [u8; 32],
    /// Set if the mutation may have happened before: from when on to look for what it made.
    pub look_since: Option<Timestamp>,
}

impl CreationMark {
    /// The mark of what one root field creates: 22 letters and digits that do not tell the key.
    #[must_use]
    pub fn of(&self, response_key: &str) -> String {
        let hash = Sha256::new().chain_update(self.key).chain_update(response_key).finalize();
        URL_SAFE_NO_PAD.encode(&hash[..16])
    }
}

impl RequestContext {
    /// The trail of a root field. One that nobody announced gets a trail that nobody reads.
    #[must_use]
    pub fn trail(&self, response_key: &str, field: RootField) -> Trail {
        let announced = self.trails.iter().find(|trail| *trail.response_key == *response_key);
        announced.cloned().unwrap_or_else(|| Trail::new(response_key, field))
    }
}
