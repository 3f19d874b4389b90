//! What happened in one call: filled in on the way, told once at its end.

use tokio::time::Instant;

use super::{Caller, CredentialId, ErrorCode, Kind, RequestId, RootField, TenantId};

/// The record of one request. Logs, metrics and audit read it; nothing else measures a call.
#[derive(Debug, Clone)]
pub struct CallRecord {
    /// Its id, also in `X-Request-Id`.
    pub request_id: RequestId,
    /// When it began.
    pub began: Instant,
    /// Whose it was, once that was known.
    pub tenant: Option<TenantId>,
    /// By which credential.
    pub credential: Option<CredentialId>,
    /// Query or mutation, once that was known.
    pub kind: Option<Kind>,
    /// The operations it asked for, in order.
    pub operations: Vec<RootField>,
    /// The codes of the answer's errors, in order.
    pub codes: Vec<ErrorCode>,
    /// The HTTP status of the answer.
    pub status: u16,
}

impl CallRecord {
    /// Begins a record.
    #[must_use]
    pub fn begin(request_id: RequestId) -> Self {
        Self {
            request_id,
            began: Instant::now(),
            tenant: None,
            credential: None,
            kind: None,
            operations: Vec::new(),
            codes: Vec::new(),
            status: 0,
        }
    }

    /// Notes who called.
    pub fn identify(&mut self, caller: &Caller) {
        self.tenant = Some(caller.tenant.id.clone());
        self.credential = Some(caller.credential.clone());
    }

    /// Notes what was asked.
    pub fn describe<'a>(
        &mut self,
        kind: Kind,
        root_fields: impl Iterator<Item = (&'a str, RootField)>,
    ) {
        self.kind = Some(kind);
        self.operations = root_fields.map(|(_, field)| field).collect();
    }
}
