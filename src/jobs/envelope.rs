//! The envelope: how a tenant's metadata and the gateway's own record share a job's metadata.
//!
//! As written upstream:
//! `{"<namespace>":<the tenant's value, to the letter>,"_gateway":{"v":1,"owner":"acme",…}}`.
//! The tenant's value is carried as raw text and never printed anew. It is one JSON value, so
//! nothing in it can reach the record beside it; a namespace cannot start with `_`.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::model::{CredentialId, Tenant, TenantId};

/// The member that holds the gateway's record.
const RECORD: &str = "_gateway";

/// The record's format.
const VERSION: u32 = 1;

/// The record's member that holds the marks of updates.
const WRITES: &str = "writes";

/// The number of marks of updates a record holds; an older one goes with each new one.
const MAX_WRITES: usize = 16;

#[derive(Serialize)]
struct NewRecord<'a> {
    v: u32,
    owner: &'a str,
    by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stamp: Option<&'a RawValue>,
}

/// The members of a record that are read; others are left alone.
#[derive(Deserialize)]
struct Record<'a> {
    v: u32,
    owner: String,
    mark: Option<String>,
    #[serde(borrow)]
    writes: Option<&'a RawValue>,
}

/// An update that carried an `Idempotency-Key`: its mark, and when it was sent, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write(pub String, pub i64);

/// An upstream metadata text that was taken apart.
#[derive(Debug)]
pub enum Metadata<'a> {
    /// JSON without a record of the gateway: the job was created in Move directly.
    Unmanaged,
    /// A record that this gateway cannot read, or a text that may hold one: not JSON, cut short, or
    /// encoded twice.
    Malformed,
    /// An envelope.
    Envelope(Envelope<'a>),
}

/// An envelope: its owner and its members, in their order.
#[derive(Debug)]
pub struct Envelope<'a> {
    owner: TenantId,
    mark: Option<String>,
    /// The latest updates with a mark, oldest first; `None` where they cannot be read.
    writes: Option<Vec<Write>>,
    members: Members<'a>,
}

/// Wraps a tenant's metadata. `value` is its JSON text, already checked to be one JSON value; `mark`
/// finds the job again (see [`crate::model::KeyedMutation`]).
#[must_use]
pub fn wrap(tenant: &Tenant, by: &CredentialId, mark: Option<&str>, value: &str) -> String {
    let stamp = tenant.metadata.stamp.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let (owner, by) = (tenant.id.as_str(), by.as_str());
    let record = NewRecord { v: VERSION, owner, by, mark, stamp };
    let (namespace, record) = (json(tenant.metadata.namespace.as_str()), json(&record));
    format!(r#"{{{namespace}:{},"{RECORD}":{record}}}"#, trimmed(value))
}

/// Takes upstream's metadata apart.
#[must_use]
pub fn read(metadata: Option<&str>) -> Metadata<'_> {
    let Some(text) = metadata else { return Metadata::Unmanaged };
    let Ok(members) = serde_json::from_str::<Members<'_>>(text) else {
        return if is_plain_value(text) { Metadata::Unmanaged } else { Metadata::Malformed };
    };
    let mut records = members.0.iter().filter(|(name, _)| name == RECORD);
    let record = match (records.next(), records.next()) {
        (None, _) => return Metadata::Unmanaged,
        (Some((_, record)), None) => record_of(record),
        _ => None,
    };
    match record {
        Some((owner, mark, writes)) => {
            Metadata::Envelope(Envelope { owner, mark, writes, members })
        }
        None => Metadata::Malformed,
    }
}

/// Returns true if a text that is no JSON object certainly holds no record.
fn is_plain_value(text: &str) -> bool {
    if let Ok(inner) = serde_json::from_str::<String>(text) {
        // What was encoded twice, maybe what is left of it, has braces.
        return !inner.contains(['{', '}']) && !inner.contains(RECORD);
    }
    // An object whose members cannot be read may hold anything.
    !trimmed(text).starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok()
}

/// JSON text without the white space of JSON around it (RFC 8259, section 2).
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// The content of a record: the owner, the mark of the creation, and the marks of updates.
type Said = (TenantId, Option<String>, Option<Vec<Write>>);

fn record_of(record: &RawValue) -> Option<Said> {
    let Record { v, owner, mark, writes } = serde_json::from_str(record.get()).ok()?;
    let writes = match writes {
        None => Some(Vec::new()),
        Some(writes) => serde_json::from_str(writes.get()).ok(),
    };
    (v == VERSION).then(|| Some((TenantId::parse(&owner).ok()?, mark, writes))).flatten()
}

impl<'a> Envelope<'a> {
    /// Whose job it is.
    #[must_use]
    pub const fn owner(&self) -> &TenantId {
        &self.owner
    }

    /// The mark it was created with.
    #[must_use]
    pub fn mark(&self) -> Option<&str> {
        self.mark.as_deref()
    }

    /// The tenant's own value, to the letter; `None` if it stored none.
    #[must_use]
    pub fn value(&self, tenant: &Tenant) -> Option<&'a str> {
        let namespace = tenant.metadata.namespace.as_str();
        self.members.0.iter().find(|(name, _)| name == namespace).map(|(_, value)| value.get())
    }

    /// Returns true if the update of this mark was written.
    #[must_use]
    pub fn has_write(&self, mark: &str) -> bool {
        self.writes.iter().flatten().any(|write| write.0 == mark)
    }

    /// Returns true if an update that was written after `since` would still be among the marks.
    #[must_use]
    pub fn remembers_since(&self, since: Timestamp) -> bool {
        self.writes.as_ref().is_some_and(|writes| {
            writes.len() < MAX_WRITES
                || writes.first().is_some_and(|oldest| oldest.1 < since.as_second())
        })
    }

    /// The same envelope with another value of the tenant's: the record and other namespaces stay
    /// to the letter.
    #[must_use]
    pub fn with_value(&self, tenant: &Tenant, value: &str) -> String {
        self.print(tenant, Some(value), None)
    }

    /// The same envelope with one more update in its record, and another value if there is one.
    #[must_use]
    pub fn with_write(&self, tenant: &Tenant, value: Option<&str>, write: Write) -> String {
        let record = self.members.0.iter().find(|(name, _)| name == RECORD);
        let members = record.and_then(|(_, record)| serde_json::from_str(record.get()).ok());
        let members: Members<'_> = members.unwrap_or_else(|| Members(Vec::new()));
        let mut writes = self.writes.clone().unwrap_or_default();
        writes.push(write);
        let kept = &writes[writes.len().saturating_sub(MAX_WRITES)..];
        let others = members.0.iter().filter(|(name, _)| name != WRITES);
        let others = others.map(|(name, value)| format!("{}:{value}", json(name)));
        let own = std::iter::once(format!("\"{WRITES}\":{}", json(kept)));
        let record = format!("{{{}}}", others.chain(own).collect::<Vec<_>>().join(","));
        self.print(tenant, value, Some(&record))
    }

    /// The members as JSON text, with what takes the place of others.
    fn print(&self, tenant: &Tenant, value: Option<&str>, record: Option<&str>) -> String {
        let namespace = tenant.metadata.namespace.as_str();
        let own = value.map(|value| format!("{}:{}", json(namespace), trimmed(value)));
        let is_kept = |name: &str| own.is_none() || name != namespace;
        let others =
            self.members.0.iter().filter(|(name, _)| is_kept(name)).map(|(name, value)| {
                let value =
                    if name == RECORD { record.unwrap_or(value.get()) } else { value.get() };
                format!("{}:{value}", json(name))
            });
        let members: Vec<String> = own.iter().cloned().chain(others).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// Prints what cannot fail to be JSON: texts and flat structs of them.
#[expect(clippy::expect_used, reason = "texts and flat structs of them are always JSON")]
fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("it is JSON")
}

/// A JSON object's members in their order, repeated names included.
#[derive(Debug)]
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::ownership::fixture::tenant;

    fn by() -> CredentialId {
        CredentialId::parse("key-1").expect("an id")
    }

    fn unwrapped(tenant: &Tenant, wrapped: &str) -> Option<String> {
        match read(Some(wrapped)) {
            Metadata::Envelope(envelope) => envelope.value(tenant).map(str::to_owned),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_stored_comes_back_to_the_letter() {
        let acme = tenant("acme");
        for value in [
            "{}",
            "null",
            r#""text""#,
            r#""{\"twice\": \"encoded\"}""#,
            "123456789012345678901234567890.10e5",
            r#"{"b":1, "a" : 2,"a":3}"#,
            r#"{"_gateway":{"v":1,"owner":"globex","by":"x"}}"#,
            r#"{"acme":1}"#,
            r#""\u0000\ud83d\ude00""#,
        ] {
            let wrapped = wrap(&acme, &by(), None, value);
            assert_eq!(unwrapped(&acme, &wrapped).as_deref(), Some(value));
        }
    }

    #[test]
    fn the_envelope_has_the_documented_form() {
        let wrapped = wrap(&tenant("acme"), &by(), None, r#"{"shot": 1}"#);
        assert_eq!(
            wrapped,
            r#"{"acme":{"shot": 1},"_gateway":{"v":1,"owner":"acme","by":"key-1"}}"#
        );
    }

    #[test]
    fn an_update_leaves_the_record_and_other_namespaces_alone() {
        let acme = tenant("acme");
        let stored =
            r#"{"acme":1,"other":{"n":1.0},"_gateway":{"v":1,"owner":"acme","by":"k","new":[1]}}"#;
        let Metadata::Envelope(envelope) = read(Some(stored)) else { panic!("no envelope") };
        assert_eq!(
            envelope.with_value(&acme, "2"),
            r#"{"acme":2,"other":{"n":1.0},"_gateway":{"v":1,"owner":"acme","by":"k","new":[1]}}"#
        );
    }

    #[test]
    fn an_updates_mark_is_added_to_the_record_and_everything_else_stays() {
        let acme = tenant("acme");
        let stored = r#"{"acme":{"a" : 1},"_gateway":{"v":1,"owner":"acme","by":"k","mark":"m","new":[1.0]},"x":1}"#;
        let Metadata::Envelope(envelope) = read(Some(stored)) else { panic!("no envelope") };
        assert!(!envelope.has_write("w1"));
        let named = envelope.with_write(&acme, None, Write("w1".into(), 7));
        assert_eq!(
            named,
            r#"{"acme":{"a" : 1},"_gateway":{"v":1,"owner":"acme","by":"k","mark":"m","new":[1.0],"writes":[["w1",7]]},"x":1}"#
        );
        let Metadata::Envelope(envelope) = read(Some(&named)) else { panic!("no envelope") };
        assert!(envelope.has_write("w1") && envelope.mark() == Some("m"));
        let valued = envelope.with_write(&acme, Some("2"), Write("w2".into(), 8));
        assert_eq!(
            valued,
            r#"{"acme":2,"_gateway":{"v":1,"owner":"acme","by":"k","mark":"m","new":[1.0],"writes":[["w1",7],["w2",8]]},"x":1}"#
        );
    }

    #[test]
    fn a_record_holds_so_many_marks_and_tells_since_when_it_holds_them_all() {
        let acme = tenant("acme");
        let mut text = wrap(&acme, &by(), None, "1");
        let at = |second| Timestamp::from_second(second).expect("a time");
        for n in 0..40 {
            let Metadata::Envelope(envelope) = read(Some(&text)) else { panic!("no envelope") };
            assert!(n >= 16 || envelope.remembers_since(at(-1)), "no mark went yet");
            text = envelope.with_write(&acme, None, Write(format!("w{n}"), 100 + n));
        }
        let Metadata::Envelope(envelope) = read(Some(&text)) else { panic!("no envelope") };
        assert!(!envelope.has_write("w23") && envelope.has_write("w24"));
        assert!(!envelope.remembers_since(at(124)) && envelope.remembers_since(at(125)));
        let odd = r#"{"_gateway":{"v":1,"owner":"acme","by":"k","writes":{}}}"#;
        let Metadata::Envelope(envelope) = read(Some(odd)) else { panic!("no envelope") };
        assert!(!envelope.remembers_since(at(0)));
    }

    #[test]
    fn json_without_a_record_is_plain() {
        let texts = [
            "null",
            "7",
            "[{}]",
            "{}",
            r#"{"acme":1}"#,
            r#""a text""#,
            r#"{"nested":{"_gateway":{"v":1,"owner":"globex"}}}"#,
        ];
        for text in texts.map(Some).into_iter().chain([None]) {
            assert!(matches!(read(text), Metadata::Unmanaged), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_json_or_was_encoded_twice_may_hold_a_record() {
        let acme = tenant("acme");
        let whole = wrap(&acme, &by(), None, r#"{"shot":"a"}"#);
        let twice = json(&whole);
        let thrice = json(&twice);
        let object_twice = r#""{\"shot\":1}""#;
        for text in
            ["", "{", "_gateway", "<html>", r#"{"\ud83d":1}"#, object_twice, &twice, &thrice]
        {
            assert!(matches!(read(Some(text)), Metadata::Malformed), "{text}");
        }
        for end in 0..whole.len() {
            assert!(matches!(read(Some(&whole[..end])), Metadata::Malformed), "{}", &whole[..end]);
        }
        for end in 1..whole.len() {
            let cut = json(&whole[..end]);
            assert!(matches!(read(Some(&cut)), Metadata::Malformed), "{cut}");
        }
    }

    #[test]
    fn a_record_of_a_wrong_shape_or_version_is_broken() {
        for record in [
            "1",
            "null",
            "[]",
            r#"{"owner":"acme"}"#,
            r#"{"v":2,"owner":"acme"}"#,
            r#"{"v":"1","owner":"acme"}"#,
            r#"{"v":1,"owner":""}"#,
            r#"{"v":1,"owner":["acme"]}"#,
            r#"{"v":1,"owner":"acme"},"_gateway":{"v":1,"owner":"globex"}"#,
            r#"{"v":1,"owner":"acme","owner":"globex"}"#,
        ] {
            let text = format!(r#"{{"acme":1,"_gateway":{record}}}"#);
            assert!(matches!(read(Some(&text)), Metadata::Malformed), "{text}");
        }
    }
}
