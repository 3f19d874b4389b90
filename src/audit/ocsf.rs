//! API Activity of OCSF 1.3.0, as far as records fill it in.
//! <https://schema.ocsf.io/1.3.0/classes/api_activity>
//!
//! Members stand in the order of the lines that are on disk already; what is not known is left out. `print` writes
//! them: serde takes 10,000 instructions more for a record, and is what tests compare it with.

use std::net::IpAddr;

use opentelemetry::trace::TraceId;
#[cfg(test)]
use serde::Serialize;

use super::chain::Link;
use crate::model::{KeyHash, Notes, RequestId};

/// The number of the class.
pub const CLASS: u32 = 6003;

/// The whole record.
#[cfg_attr(test, derive(Serialize))]
pub struct ApiActivity<'a> {
    pub activity_id: u32,
    pub activity_name: &'static str,
    pub actor: Actor<'a>,
    pub api: Api,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub count: Option<u64>,
    /// In milliseconds since 1970, as are all moments.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub start_time: Option<i64>,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub end_time: Option<i64>,
    pub category_name: &'static str,
    pub category_uid: u32,
    pub class_name: &'static str,
    pub class_uid: u32,
    /// In milliseconds.
    pub duration: u64,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub message: Option<&'a str>,
    pub metadata: Metadata<'a>,
    pub resources: Resources<'a>,
    pub severity: &'static str,
    pub severity_id: u8,
    pub src_endpoint: SrcEndpoint,
    pub status: &'static str,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub status_code: Option<&'static str>,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub status_detail: Option<&'static str>,
    pub status_id: u8,
    pub time: i64,
    pub type_name: &'static str,
    pub type_uid: u32,
    pub unmapped: Unmapped<'a>,
}

#[cfg_attr(test, derive(Serialize))]
pub struct Actor<'a> {
    pub user: User<'a>,
}

#[cfg_attr(test, derive(Serialize))]
pub struct User<'a> {
    pub uid: &'a str,
    pub r#type: &'static str,
    pub type_id: u8,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub credential_uid: Option<&'a str>,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub org: Option<Organization<'a>>,
}

#[cfg_attr(test, derive(Serialize))]
pub struct Organization<'a> {
    pub uid: &'a str,
}

#[cfg_attr(test, derive(Serialize))]
pub struct Api {
    pub operation: &'static str,
    pub service: Service,
    pub request: Request,
    pub response: Response,
}

#[cfg_attr(test, derive(Serialize))]
pub struct Service {
    pub name: &'static str,
}

#[cfg_attr(test, derive(Serialize))]
pub struct Request {
    pub uid: RequestUid,
}

#[cfg_attr(test, derive(Serialize))]
pub struct Response {
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub code: Option<u16>,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub error: Option<&'static str>,
}

#[cfg_attr(test, derive(Serialize))]
pub struct Metadata<'a> {
    pub version: &'static str,
    pub product: Product,
    pub uid: Shown<u64>,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub correlation_uid: Option<&'a str>,
}

#[cfg_attr(test, derive(Serialize))]
pub struct Product {
    pub name: &'static str,
    pub vendor_name: &'static str,
    pub version: &'static str,
}

#[cfg_attr(test, derive(Serialize))]
#[cfg_attr(test, serde(untagged))]
pub enum SrcEndpoint {
    Address { ip: IpAddr },
    Name { name: &'static str },
}

/// The facts that OCSF has no place for.
#[cfg_attr(test, derive(Serialize))]
pub struct Unmapped<'a> {
    pub chain: Link,
    pub phase: &'static str,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub tenant: Option<&'a str>,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub alias: Option<&'a str>,
    pub decision: &'static str,
    pub rule: &'static str,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub metadata: Option<GivenMetadata>,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub expires: Option<&'a str>,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub cache: Option<&'static str>,
    pub cost: u32,
    #[cfg_attr(test, serde(skip_serializing_if = "std::ops::Not::not"))]
    pub replayed: bool,
    pub upstream: Upstream<'a>,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub policy_version: Option<&'a str>,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub trace_id: Option<Shown<TraceId>>,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub retired: Option<u64>,
}

/// The metadata that a caller gave, never its text.
#[cfg_attr(test, derive(Serialize))]
pub struct GivenMetadata {
    pub bytes: usize,
    pub sha256: Shown<KeyHash>,
}

#[cfg_attr(test, derive(Serialize))]
#[derive(Default)]
pub struct Upstream<'a> {
    pub calls: u32,
    pub milliseconds: u64,
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub request_id: Option<&'a str>,
}

/// A text of what can be displayed.
pub struct Shown<T>(pub T);

/// The id of a request, if it is of one.
pub struct RequestUid(pub Option<RequestId>);

/// The entities that a root field is about.
pub struct Resources<'a>(pub Option<&'a Notes>);

#[cfg(test)]
mod as_serde {
    use std::fmt::Display;

    use serde::{Serialize, Serializer};

    use super::{RequestUid, Resources, Shown};

    #[derive(Serialize)]
    struct Resource<'a> {
        uid: &'a str,
        r#type: &'static str,
    }

    impl<T: Display> Serialize for Shown<T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(&self.0)
        }
    }

    impl Serialize for RequestUid {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match &self.0 {
                Some(id) => serializer.collect_str(id),
                None => serializer.serialize_str("none"),
            }
        }
    }

    impl Serialize for Resources<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let ids = self.0.iter().flat_map(|notes| notes.entity.iter().chain(&notes.named));
            let resource = ids.map(|id| Resource { uid: id.as_str(), r#type: id.kind().name() });
            serializer.collect_seq(resource)
        }
    }
}
