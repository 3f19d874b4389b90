//! The envelope: how a tenant's metadata and the gateway's own record share a job's metadata.
//!
//! As written upstream:
//! `{"<namespace>":<the tenant's value, to the letter>,"_gateway":{"v":1,"owner":"acme",…}}`.
//! The tenant's value is carried as raw text and never printed anew. It is one JSON value, so
//! nothing in it can reach the record beside it; a namespace cannot start with `_`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::model::{CredentialId, Tenant, TenantId};

/// The member that holds the gateway's record.
const RECORD: &str = "_gateway";

/// The record's format.
const VERSION: u32 = 1;

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

/// What is read of a record; other members are left alone.
#[derive(Deserialize)]
struct Record {
    v: u32,
    owner: String,
    mark: Option<String>,
}

/// An upstream metadata text that was taken apart.
#[derive(Debug)]
pub enum Reading<'a> {
    /// JSON without a record of the gateway: the job was created in Move directly.
    Plain,
    /// A record that this gateway cannot read, or a text that may hold one: not JSON, cut short, or
    /// encoded twice.
    Broken,
    /// An envelope.
    Envelope(Envelope<'a>),
}

/// An envelope: its owner and its members, in their order.
#[derive(Debug)]
pub struct Envelope<'a> {
    owner: TenantId,
    mark: Option<String>,
    members: Members<'a>,
}

/// Wraps a tenant's metadata. `value` is its JSON text, already checked to be one JSON value; `mark`
/// finds the job again (see [`crate::model::CreationMark`]).
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
pub fn read(metadata: Option<&str>) -> Reading<'_> {
    let Some(text) = metadata else { return Reading::Plain };
    let Ok(members) = serde_json::from_str::<Members<'_>>(text) else {
        return if is_plain_value(text) { Reading::Plain } else { Reading::Broken };
    };
    let mut records = members.0.iter().filter(|(name, _)| name == RECORD);
    let record = match (records.next(), records.next()) {
        (None, _) => return Reading::Plain,
        (Some((_, record)), None) => record_of(record),
        _ => None,
    };
    match record {
        Some((owner, mark)) => Reading::Envelope(Envelope { owner, mark, members }),
        None => Reading::Broken,
    }
}

/// Whether a text that is no JSON object certainly holds no record.
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

fn record_of(record: &RawValue) -> Option<(TenantId, Option<String>)> {
    let Record { v, owner, mark } = serde_json::from_str(record.get()).ok()?;
    (v == VERSION).then(|| Some((TenantId::parse(&owner).ok()?, mark))).flatten()
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

    /// The same envelope with another value of the tenant's: the record and other namespaces stay
    /// to the letter.
    #[must_use]
    pub fn with_value(&self, tenant: &Tenant, value: &str) -> String {
        let namespace = tenant.metadata.namespace.as_str();
        let others = self.members.0.iter().filter(|(name, _)| name != namespace);
        let own = format!("{}:{}", json(namespace), trimmed(value));
        let rest = others.map(|(name, value)| format!("{}:{value}", json(name)));
        let members: Vec<String> = std::iter::once(own).chain(rest).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// Prints what cannot fail to be JSON: texts and flat structs of them.
fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
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
            Reading::Envelope(envelope) => envelope.value(tenant).map(str::to_owned),
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
        let Reading::Envelope(envelope) = read(Some(stored)) else { panic!("no envelope") };
        assert_eq!(
            envelope.with_value(&acme, "2"),
            r#"{"acme":2,"other":{"n":1.0},"_gateway":{"v":1,"owner":"acme","by":"k","new":[1]}}"#
        );
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
            assert!(matches!(read(text), Reading::Plain), "{text:?}");
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
            assert!(matches!(read(Some(text)), Reading::Broken), "{text}");
        }
        for end in 0..whole.len() {
            assert!(matches!(read(Some(&whole[..end])), Reading::Broken), "{}", &whole[..end]);
        }
        for end in 1..whole.len() {
            let cut = json(&whole[..end]);
            assert!(matches!(read(Some(&cut)), Reading::Broken), "{cut}");
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
            assert!(matches!(read(Some(&text)), Reading::Broken), "{text}");
        }
    }
}
