//! Share codes: links to files that whoever holds them can follow.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

/// The lifetime of a share code.
const LIFETIME: Duration = Duration::from_hours(24);

/// A share code.
#[derive(Debug, Clone)]
pub struct ShareCode {
    /// The code itself.
    pub code: String,
    /// The file's id.
    pub file: String,
    /// The time of its creation.
    pub created: Timestamp,
    /// Until when it works.
    pub expires: Timestamp,
}

/// The codes of an account that work.
#[derive(Debug, Default)]
pub struct ShareCodes(HashMap<String, ShareCode>);

impl ShareCodes {
    /// Makes a code for a file, and forgets those that are over.
    pub fn generate(&mut self, file: &str, now: Timestamp) -> ShareCode {
        self.0.retain(|_, code| code.expires > now);
        let code = ShareCode {
            code: uuid::Uuid::new_v4().simple().to_string(),
            file: file.to_owned(),
            created: now,
            expires: now.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX),
        };
        self.0.insert(code.code.clone(), code.clone());
        code
    }

    /// The id of the file that a code leads to, unless it is over.
    pub fn file(&self, code: &str, now: Timestamp) -> Option<&str> {
        self.0.get(code).filter(|own| own.expires > now).map(|own| own.file.as_str())
    }
}
