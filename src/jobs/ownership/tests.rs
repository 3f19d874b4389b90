use std::sync::Arc;

use super::fixture::tenant;
use super::*;
use crate::model::{Account, AccountId};

fn verify(tenant: &Tenant, metadata: Option<&str>) -> Result<Owned, NotShown> {
    let metadata = serde_json::json!({ "metadata": metadata }).to_string();
    Owned::verify(
        tenant,
        EntityKind::Job,
        Held::ByNobody,
        Entity::parse(&metadata).expect("a job"),
        &[],
        Place::Root,
    )
}

fn reader() -> Tenant {
    let mut acme = tenant("acme");
    acme.metadata.unclaimed_jobs = UnclaimedJobs::Read;
    acme
}

/// A tenant in a Move account of its own.
fn alone() -> Tenant {
    let mut acme = reader();
    let account =
        Account { id: AccountId::Tenant(acme.id.clone()), ..Account::clone(&acme.account) };
    acme.account = Arc::new(account);
    acme
}

const ACMES: &str = r#"{"acme":{"shot":1},"_gateway":{"v":1,"owner":"acme","by":"k"}}"#;

#[test]
fn only_the_owner_named_in_the_record_sees_a_job() {
    let own = verify(&tenant("acme"), Some(ACMES)).expect("acme's");
    assert_eq!(own.shown_metadata(), Some(r#""{\"shot\":1}""#));
    assert_eq!(own.claim(), Claim::Own);
    assert_eq!(verify(&tenant("globex"), Some(ACMES)), Err(NotShown::NotTheirs));
}

#[test]
fn a_job_of_nobody_is_hidden_unless_policy_says_read() {
    for metadata in [None, Some("{}"), Some(r#"{"acme":{"shot":1}}"#)] {
        assert_eq!(verify(&tenant("acme"), metadata), Err(NotShown::NotTheirs));
    }
    let seen = verify(&reader(), Some(r#"{"a":1}"#)).expect("readable");
    assert_eq!(seen.shown_metadata(), Some(r#""{\"a\":1}""#));
    assert_eq!(seen.claim(), Claim::ReadOnly);
}

#[test]
fn a_record_that_cannot_be_read_is_nobodys_to_see_whatever_policy_says() {
    let twice = serde_json::to_string(ACMES).expect("a text");
    let unreadable =
        ["", "{", &ACMES[..30], &twice, r#"{"acme":1,"_gateway":{"v":2,"owner":"acme"}}"#];
    for metadata in unreadable {
        for tenant in [tenant("acme"), reader(), alone(), tenant("globex")] {
            assert_eq!(verify(&tenant, Some(metadata)), Err(NotShown::OwnerUnknown));
        }
    }
}

#[test]
fn metadata_that_is_missing_or_no_text_tells_of_no_owner() {
    for json in [
        r#"{"id":"job-1"}"#,
        r#"{"metadata":{"a":1}}"#,
        r#"{"metadata":7}"#,
        r#"{"metadata":"\ud83d"}"#,
        r#"{"metadata":null,"metadata":"{}"}"#,
    ] {
        let job = Entity::parse(json).expect("a job");
        let seen = Owned::verify(&alone(), EntityKind::Job, Held::ByNobody, job, &[], Place::Root);
        assert_eq!(seen, Err(NotShown::OwnerUnknown), "{json}");
    }
    let null = Entity::parse(r#"{"metadata":null}"#).expect("a job");
    assert!(
        Owned::verify(&alone(), EntityKind::Job, Held::ByNobody, null, &[], Place::Root).is_ok()
    );
}

#[test]
fn an_error_at_the_metadata_or_above_a_null_makes_the_owner_unknown() {
    let path = |steps: &str| -> Vec<PathSegment> {
        let step = |step: &str| match step.parse() {
            Ok(index) => PathSegment::Index(index),
            Err(_) => PathSegment::Field(step.to_owned()),
        };
        steps.split_whitespace().map(step).collect()
    };
    let owner = |stored: Option<&str>, at: &str, place: Place| {
        let (reading, path) = (envelope::read(stored), path(at));
        let (message, error_type, error_info, data) = (String::new(), None, None, None);
        let error = FieldError { message, error_type, error_info, data, path, has_path: true };
        Owner::of(&alone(), stored, &reading, &[error], place)
    };
    let item = Place::Item(2);
    for (at, place) in [("", Place::Root), ("", item), ("items", item), ("items 2", item)] {
        assert_eq!(owner(None, at, place), Owner::Unknown, "{at}");
        assert_eq!(owner(Some("{}"), at, place), Owner::Tenant, "{at}");
    }
    for (at, place) in [("metadata", Place::Root), ("items 2 metadata", item)] {
        assert_eq!(owner(None, at, place), Owner::Unknown, "{at}");
        assert_eq!(owner(Some("{}"), at, place), Owner::Unknown, "{at}");
        assert_eq!(owner(Some(ACMES), at, place), Owner::Tenant, "{at}");
    }
    for (at, place) in
        [("name", Place::Root), ("items 1", item), ("after", item), ("items 2 name", item)]
    {
        assert_eq!(owner(None, at, place), Owner::Tenant, "{at}");
    }
}

#[test]
fn in_an_account_of_its_own_a_tenant_owns_what_has_no_record() {
    assert_eq!(verify(&alone(), Some("{}")).expect("own").claim(), Claim::Own);
    let globexs = ACMES.replace("\"owner\":\"acme\"", "\"owner\":\"globex\"");
    assert_eq!(verify(&alone(), Some(&globexs)), Err(NotShown::NotTheirs));
}
