//! A subscription that may go on: judged when it came, and again by the rules of each reload.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::Method;
use bytes::Bytes;

use super::{ReloadableState, Service};
use crate::auth;
use crate::http::error::Refusal;
use crate::http::request;
use crate::model::{Caller, MediaType, Secret};
use crate::operation::Operation;

/// A subscription as it was asked for, to be judged again.
#[derive(Debug)]
pub struct FollowRequest {
    /// The credential that was shown.
    pub credential: Secret,
    /// The address it came from.
    pub source: Option<IpAddr>,
    /// The method.
    pub method: Method,
    /// The request: a body, or a GET's parameters.
    pub text: Bytes,
}

/// A subscription that may go on.
#[derive(Debug)]
pub struct Judged {
    /// The rules it was judged by.
    pub rules: Arc<ReloadableState>,
    /// Its caller.
    pub caller: Caller,
    /// The operation that it is.
    pub operation: Arc<Operation>,
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The job is over.
    Finished,
    /// The job cannot be read any more.
    Failed,
    /// The caller may not have it any more.
    Refused,
    /// Its credential has ended, or is not taken any more.
    Unauthenticated,
    /// It was open for as long as a stream may be.
    TooOld,
    /// The gateway sends its callers away.
    Draining,
    /// The caller went.
    HungUp,
}

impl StreamEnd {
    /// As records and metrics name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unauthenticated => "unauthenticated",
            Self::TooOld => "too_old",
            Self::Draining => "draining",
            Self::HungUp => "hung_up",
        }
    }
}

/// The refusal of a stream that was open.
#[derive(Debug)]
pub struct Withdrawal {
    /// The answer that a new one would get.
    pub refusal: Refusal,
    /// Why its credential is not taken any more, in a word; `None` if it is.
    pub because: Option<&'static str>,
}

impl From<auth::Error> for Withdrawal {
    fn from(error: auth::Error) -> Self {
        Self { refusal: error.into(), because: Some(error.reason()) }
    }
}

impl From<Refusal> for Withdrawal {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, because: None }
    }
}

impl Judged {
    /// Judges a subscription anew, by the rules of now.
    ///
    /// # Errors
    /// With the refusal that a new one would get.
    pub async fn again(service: &Service, asked: &FollowRequest) -> Result<Self, Withdrawal> {
        let rules = service.rules.load_full();
        let (credential, now) = (asked.credential.expose(), service.clock.now());
        let ReloadableState { policies, issuers, gateways, .. } = &*rules;
        let caller = auth::authenticate(credential, policies, issuers, now).await?;
        auth::check_source(credential, &caller, policies, asked.source)?;
        let of_document = |errors| Refusal::of_document(errors, MediaType::Json);
        let parsed = request::parse(&asked.method, &asked.text).map_err(Refusal::from)?;
        let document = gateways.parse(&caller.tenant, &parsed.query).map_err(of_document)?;
        let operation = document
            .operation(parsed.operation_name.as_deref(), parsed.variables)
            .map_err(|error| of_document(vec![error.into()]))?;
        let operation = Arc::new(super::authorize(&caller, operation)?.into_operation());
        Ok(Self { rules, caller, operation })
    }
}
