//! The words every other module speaks: ids, tenants, callers, root fields, error codes.
//!
//! This module imports none of the others.

mod caller;
mod clock;
mod entity;
mod error_code;
mod hex;
mod ids;
mod keyed;
mod chunks;
mod progress;
mod record;
mod request;
mod root_field;
mod secret;
mod selection;
mod subscription;
mod tenant;
mod trace;
mod trail;

pub use caller::Caller;
pub use chunks::append_chunk;
pub use clock::Clock;
pub use entity::EntityKind;
pub use error_code::ErrorCode;
pub use hex::write_hex;
pub use ids::{CallersRequestId, IdError, RequestId};
pub use ids::{CredentialId, EntityId, Namespace, TenantId};
pub use keyed::{Before, ClaimCheck, Effect, KeyedMutation, Look, OnTrouble};
pub use progress::Progress;
pub use record::{
    CallFacts, CallRecord, Closing, Decision, Execution, Failure, FieldOutcome, RefusedCaller,
};
pub use request::{MediaType, RequestContext, RequestMethod};
pub use root_field::{Activity, Group, Kind, RootField, RootFields, Weights};
pub use secret::Secret;
pub use selection::Selection;
pub use subscription::Subscription;
pub use tenant::{
    Account, AccountId, ApiKey, CachePolicy, ClientView, FieldCoordinate, KeyHash, MetadataPolicy,
    Rate, RateLimits, Tenant, UnclaimedJobs, UnclaimedTakes,
};
pub use trace::{RequestHead, TraceContext, UpstreamSpan, new_span};
pub use trail::{CacheStatus, Freshness, Notes, Trail, Version};
