//! Who asked, and from where, as far as a record knows.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{CallRecord, Caller, CredentialId, TenantId};

/// Who asked, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Nobody who is known.
    Stranger,
    /// An operator, by the name of a key for the records.
    Operator(CredentialId),
    /// Holders of a tenant's credentials, too many to be told apart.
    Several(TenantId),
    /// Whoever showed a credential, be it good or not.
    Holder(TenantId, CredentialId),
    /// An authenticated caller.
    Caller {
        tenant: TenantId,
        credential: CredentialId,
        /// A token's subject.
        subject: Option<Arc<str>>,
        /// The policies it was judged by: see `policy::Snapshot::version`.
        policy_version: Arc<str>,
    },
}

/// The origin of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceEndpoint {
    /// One address.
    Address(IpAddr),
    /// More addresses than are told.
    Several,
    /// Nobody knows.
    Unknown,
}

impl From<Option<IpAddr>> for SourceEndpoint {
    fn from(address: Option<IpAddr>) -> Self {
        address.map_or(Self::Unknown, Self::Address)
    }
}

impl From<&Caller> for Actor {
    fn from(caller: &Caller) -> Self {
        Self::Caller {
            tenant: caller.tenant.id.clone(),
            credential: caller.credential.clone(),
            subject: caller.subject.clone(),
            policy_version: Arc::clone(&caller.policy_version),
        }
    }
}

impl From<&CallRecord> for Actor {
    fn from(record: &CallRecord) -> Self {
        let (Some(tenant), Some(credential)) = (&record.tenant, &record.credential) else {
            return Self::Stranger;
        };
        let (tenant, credential) = (tenant.clone(), credential.clone());
        match &record.policy_version {
            None => Self::Holder(tenant, credential),
            Some(version) => Self::Caller {
                tenant,
                credential,
                subject: record.subject.clone(),
                policy_version: Arc::clone(version),
            },
        }
    }
}

impl Actor {
    /// The tenant whose credential was shown.
    pub const fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Stranger | Self::Operator(_) => None,
            Self::Several(tenant) | Self::Holder(tenant, _) | Self::Caller { tenant, .. } => {
                Some(tenant)
            }
        }
    }

    /// The credential that was shown.
    pub const fn credential(&self) -> Option<&CredentialId> {
        match self {
            Self::Stranger | Self::Several(_) => None,
            Self::Operator(credential)
            | Self::Holder(_, credential)
            | Self::Caller { credential, .. } => Some(credential),
        }
    }

    /// The subject of its token.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Caller { subject, .. } => subject.as_deref(),
            Self::Stranger | Self::Operator(_) | Self::Several(_) | Self::Holder(..) => None,
        }
    }

    /// The policies it was judged by.
    pub fn policy_version(&self) -> Option<&str> {
        match self {
            Self::Caller { policy_version, .. } => Some(policy_version),
            Self::Stranger | Self::Operator(_) | Self::Several(_) | Self::Holder(..) => None,
        }
    }
}
