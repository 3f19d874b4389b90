//! One request: how it was asked, and what its resolvers share.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};
use tokio::time::Instant;

use super::{
    Caller, CallersRequestId, ClaimCheck, KeyedMutation, RequestId, RootField, TraceContext, Trail,
};

/// The HTTP method of a request, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestMethod {
    /// `GET`, for queries.
    Get,
    /// `POST`.
    Post,
    /// Any other. Callers choose its name, so it is not told.
    Other,
}

impl From<&Method> for RequestMethod {
    fn from(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::POST => Self::Post,
            _ => Self::Other,
        }
    }
}

/// The two media types of an answer (GraphQL over HTTP, "Media Types").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaType {
    /// `application/json`: a well-formed request is answered with 200, whatever is in the answer.
    Json,
    /// `application/graphql-response+json`: the status says whether there is data.
    GraphqlResponse,
}

/// One request while it is executed: whose it is, until when, and how its answer may be had.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Its id.
    pub id: RequestId,
    /// The name that its caller gave it.
    pub callers_id: Option<CallersRequestId>,
    /// The address it came from.
    pub source: Option<IpAddr>,
    /// Who asks.
    pub caller: Caller,
    /// The moment at which the caller stops waiting.
    pub deadline: Instant,
    /// True if cached answers are passed over (`Cache-Control: no-cache`, where policy heeds it).
    pub fresh: bool,
    /// The trace it is part of.
    pub trace: Option<TraceContext>,
    /// Headers that go on to Move with each of its calls.
    pub forward: Option<Arc<HeaderMap>>,
    /// The mutation it is, if its caller may send it again.
    pub keyed: Option<KeyedMutation>,
    /// Tells whether its key is still entered for it; `None` for what bears no key, or sends nothing.
    pub claim: Option<ClaimCheck>,
    /// Its root fields.
    pub trails: Arc<[Trail]>,
}

impl RequestContext {
    /// The trail of a root field. One that nobody announced gets a trail that nobody reads.
    #[must_use]
    pub fn trail(&self, response_key: &str, field: RootField) -> Trail {
        let announced = self.trails.iter().find(|trail| *trail.response_key == *response_key);
        announced.cloned().unwrap_or_else(|| Trail::new(response_key, field))
    }
}
