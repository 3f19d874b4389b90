//! Identifiers. Each is checked once, where it enters, and is then a type of its own.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::EntityKind;

/// Why a text is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct IdError {
    what: &'static str,
    problem: &'static str,
}

/// Longest id taken from a caller or from Move, in bytes. Move's own are 40 (`job-<uuid4>`).
const MAX_ID: usize = 128;

/// An entity's id as Move gives it, such as `job-<uuid4>`, and of which kind it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntityId {
    kind: EntityKind,
    text: Arc<str>,
}

impl EntityId {
    /// Checks the text's length and characters, and that it is not an id of another kind.
    ///
    /// # Errors
    /// Says what is wrong with the text, without repeating it.
    pub fn parse(kind: EntityKind, text: &str) -> Result<Self, IdError> {
        let what = match kind {
            EntityKind::Job => "a job id",
            EntityKind::Take => "a take id",
            EntityKind::File => "a file id",
            EntityKind::Volume => "a volume id",
            EntityKind::Client | EntityKind::Rigs | EntityKind::CameraSettings => "an id",
        };
        check_move_id(what, text)?;
        let is_other = |other: &EntityKind| {
            // A volume is a job of Move's: nothing says that its id does not tell so.
            let is_job = (*other, kind) == (EntityKind::Job, EntityKind::Volume);
            let has_its_prefix =
                text.strip_prefix(other.name()).is_some_and(|it| it.starts_with('-'));
            *other != kind && !is_job && has_its_prefix
        };
        if EntityKind::ALL.iter().any(is_other) {
            return Err(IdError { what, problem: "is of another kind" });
        }
        Ok(Self { kind, text: text.into() })
    }

    /// Reads an id whose beginning tells its kind, as that of all of Move's ids does.
    ///
    /// # Errors
    /// Those of [`EntityId::parse`]; also if the beginning tells none.
    pub fn of_any_kind(text: &str) -> Result<Self, IdError> {
        let is_told = |kind: &EntityKind| {
            let rest = text.strip_prefix(kind.name());
            kind.has_owner() && rest.is_some_and(|rest| rest.starts_with('-'))
        };
        let problem = "must begin with `job-`, `take-`, `file-` or `volume-`";
        let kind = EntityKind::ALL.into_iter().find(is_told);
        Self::parse(kind.ok_or(IdError { what: "an id", problem })?, text)
    }

    /// Names a thing that an account has but one of.
    #[must_use]
    pub fn the(kind: EntityKind) -> Self {
        Self { kind, text: kind.name().into() }
    }

    /// Checks a job's id.
    ///
    /// # Errors
    /// Those of [`EntityId::parse`].
    pub fn job(text: &str) -> Result<Self, IdError> {
        Self::parse(EntityKind::Job, text)
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> EntityKind {
        self.kind
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// By its text alone, which tells its kind.
impl Hash for EntityId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl AsRef<str> for EntityId {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

fn check_move_id(what: &'static str, text: &str) -> Result<(), IdError> {
    let problem = if text.is_empty() {
        "is empty"
    } else if text.len() > MAX_ID {
        "is longer than 128 characters"
    } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        "may hold only ASCII letters, digits, '-', '_' and '.'"
    } else {
        return Ok(());
    };
    Err(IdError { what, problem })
}

fn check_name(what: &'static str, text: &str) -> Result<(), IdError> {
    let problem = if text.is_empty() {
        "is empty"
    } else if text.len() > 63 {
        "is longer than 63 characters"
    } else if text.starts_with('_') {
        "may not start with '_', which is reserved for the gateway's own records"
    } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        "may hold only ASCII letters, digits, '-', '_' and '.'"
    } else {
        return Ok(());
    };
    Err(IdError { what, problem })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text's length and characters.
            ///
            /// # Errors
            /// Says what is wrong with the text, without repeating it.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                $check($what, text)?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A tenant's name: the `tenant` of its policy file.
    TenantId, "a tenant's name", check_name
);
id!(
    /// The member of a job's metadata under which a tenant's own value is kept upstream.
    Namespace, "a namespace", check_name
);
id!(
    /// Names a credential (an API key's `id`, a token's subject) in records; it is not the credential.
    CredentialId, "a credential's id", check_name
);

impl CredentialId {
    /// Returns the name of a key and which of its versions it is: `main` is the first, `main-2` the second.
    #[must_use]
    pub fn numbered(&self) -> (&str, u32) {
        let numbered = self.0.rsplit_once('-').and_then(|(name, number)| {
            // An id may end in anything: `2030-01` is no key's second version.
            Some((name, number.parse().ok().filter(|_| !number.starts_with('0'))?))
        });
        numbered.unwrap_or((&self.0, 1))
    }

    /// Names a token by its issuer and subject. Subjects are the issuer's to choose: what is not
    /// plain in one is replaced, and a long one is cut.
    #[must_use]
    pub fn of_token(issuer: &str, subject: &str) -> Self {
        let plain =
            |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '\\') { c } else { '_' };
        let text: String = issuer.chars().chain([':']).chain(subject.chars()).take(128).collect();
        Self(text.chars().map(plain).collect::<String>().into())
    }
}

/// One HTTP request, as named in logs, errors and the `X-Request-Id` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(uuid::Uuid);

impl RequestId {
    /// A new random id.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "every call makes another value")]
    pub fn new() -> Self {
        Self(uuid::Uuid::new_v4())
    }

    /// Writes it as text, as `Display` does.
    #[must_use]
    pub fn encode(self, into: &mut [u8; uuid::fmt::Hyphenated::LENGTH]) -> &str {
        self.0.hyphenated().encode_lower(into)
    }

    /// A number from 0 to 1, which differs from one id to the next.
    #[must_use]
    pub fn chance(self) -> f64 {
        let [first, second, ..] = *self.0.as_bytes();
        f64::from(u16::from_be_bytes([first, second])) / f64::from(u16::MAX)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The name that a caller gave its request, in `X-Request-Id`. It stands beside the gateway's own in records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallersRequestId(Arc<str>);

impl CallersRequestId {
    /// Takes 1 to 128 letters and digits of ASCII, and `-` `_` `.` `:` `/` `+` `=` `~`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=~".contains(&byte);
        let is_taken = (1..=MAX_ID).contains(&text.len()) && text.bytes().all(is_plain);
        is_taken.then(|| Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_ids_are_taken() {
        assert!(EntityId::job("job-43171933-7526-41a9-a1e2-d6ef328e2cbe").is_ok());
    }

    #[test]
    fn ids_with_odd_characters_are_refused() {
        for odd in ["", "job-1\n", "job 1", "job-\u{e9}", "../x", "a\"b", &"x".repeat(129)] {
            assert!(EntityId::job(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        assert!(EntityId::job("take-1").is_err());
        assert!(EntityId::parse(EntityKind::Take, "take-1").is_ok());
        assert!(EntityId::parse(EntityKind::Take, "job-1").is_err());
        assert!(EntityId::job("takes").is_ok(), "only what is certainly of another kind");
    }

    #[test]
    fn the_beginning_of_an_id_tells_its_kind() {
        for kind in [EntityKind::Job, EntityKind::Take, EntityKind::File, EntityKind::Volume] {
            let id = EntityId::of_any_kind(&format!("{kind}-1")).expect("an id");
            assert_eq!(id.kind(), kind);
        }
        for other in ["", "job", "jobs-1", "client-1", "rigs-1", "take-\n"] {
            assert!(EntityId::of_any_kind(other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_callers_name_for_its_request_holds_nothing_that_a_line_or_a_query_could_trip_over() {
        for plain in
            ["a", "Root=1-67891233-abcdef012345678912345678", "c2Vydg==/+", &"x".repeat(128)]
        {
            assert_eq!(CallersRequestId::parse(plain).unwrap().as_str(), plain);
        }
        for odd in ["", "a b", "a\"b", "a\n", "a,b", "{a}", "a\\b", "\u{e9}", &"x".repeat(129)] {
            assert!(CallersRequestId::parse(odd).is_none(), "{odd:?}");
        }
    }

    #[test]
    fn a_namespace_cannot_reach_the_gateways_record() {
        assert!(Namespace::parse("_gateway").is_err());
        assert!(Namespace::parse("acme").is_ok());
    }
}
