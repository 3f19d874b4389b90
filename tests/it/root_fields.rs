//! Who may use which root field: every one of them, allowed and denied in every way.

use jobs_gateway::model::{Group, Kind, RootField};
use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::support::{Setup, key, send};
use crate::tokens::{Issuer, Key, claims, with_token};

/// A document that uses one root field.
fn use_of(field: RootField) -> String {
    let source = "sources: [{deviceLabel: \"c\", fileId: \"file-1\", format: MP4}]";
    let arguments = match field {
        RootField::GetJob => "(jobId: \"job-1\")".to_owned(),
        RootField::GetTake => "(takeId: \"take-1\")".to_owned(),
        RootField::GetFile | RootField::GenerateShareCode => "(fileId: \"file-1\")".to_owned(),
        RootField::GetVolume => "(id: \"volume-1\")".to_owned(),
        RootField::CreateJob | RootField::CreateSingleCamJob | RootField::CreateMultiCamJob => {
            "(takeId: \"take-1\")".to_owned()
        }
        RootField::CreateSingleCamTake => format!("({source})"),
        RootField::CreateMultiCamTake => format!("({source}, volumeId: \"volume-1\")"),
        RootField::CreateFile => "(type: \"mp4\")".to_owned(),
        RootField::CreateVolumeWithHuman => {
            format!("({source}, areaType: LARGE, humanHeight: 2)")
        }
        RootField::UpdateJob => "(id: \"job-1\", name: \"n\")".to_owned(),
        RootField::UpdateTake => "(id: \"take-1\", name: \"n\")".to_owned(),
        RootField::UpdateFile => "(id: \"file-1\", name: \"n\")".to_owned(),
        RootField::UpdateClient => "(metadata: \"{}\")".to_owned(),
        RootField::UpsertWebhookEndpoint => "(uid: \"u\", url: \"https://h.test/\")".to_owned(),
        RootField::ListJobs
        | RootField::ListTakes
        | RootField::ListVolumes
        | RootField::ListRigs
        | RootField::ListCameraSettings
        | RootField::Client => String::new(),
    };
    let keyword = match field.kind() {
        Kind::Query | Kind::Subscription => "query",
        Kind::Mutation => "mutation",
    };
    format!("{keyword} {{ {field}{arguments} {{ __typename }} }}")
}

#[tokio::test]
async fn every_root_field_is_allowed_and_denied_by_tenant_and_key_and_can_be_hidden() {
    let every = Group::ALL.map(Group::name).join(", ");
    let others = |own: RootField| {
        let names = RootField::ALL.into_iter().filter(|field| *field != own);
        names.map(RootField::name).collect::<Vec<_>>().join(", ")
    };
    let hash = |text: &str| jobs_gateway::model::KeyHash::of(text.as_bytes());
    let mut tenants = vec![("all", format!("operations: [{every}]\n"))];
    let names: Vec<&'static str> = RootField::ALL.map(RootField::name).into();
    for (field, name) in RootField::ALL.into_iter().zip(&names) {
        let keys = format!(
            "{{ id: main, sha256: {} }}, {{ id: less, sha256: {}, operations: [{}] }}",
            hash(&key(name)),
            hash(&format!("less-of-{name}")),
            others(field)
        );
        let root = match field.kind() {
            Kind::Query | Kind::Subscription => "Query",
            Kind::Mutation => "Mutation",
        };
        let hidden = format!("hidden_fields: [{root}.{name}]\n");
        tenants.push((name, format!("auth: {{ api_keys: [{keys}] }}\noperations: [{every}]\n")));
        let denied: &'static str = format!("no-{name}").leak();
        tenants.push((denied, format!("operations: [{}]\n", others(field))));
        let hiding: &'static str = format!("hides-{name}").leak();
        tenants.push((hiding, format!("operations: [{every}]\n{hidden}")));
    }
    let world = Setup::new().tenants(tenants).start().await;
    for (field, name) in RootField::ALL.into_iter().zip(names) {
        let query = use_of(field);
        let refused = matches!(field, RootField::UpdateClient | RootField::UpsertWebhookEndpoint);
        let reply = world.ask("all", &query, json!({})).await;
        assert_eq!(reply.code() == "FORBIDDEN", refused, "{query}: {reply:?}");
        assert_ne!(reply.status, 403, "{query}: {reply:?}");
        let may_not = format!("may not call {field}");
        let denied = world.ask(&format!("no-{name}"), &query, json!({})).await;
        assert!(denied.status == 403 && denied.text.contains(&may_not), "{query}: {denied:?}");
        let request =
            world.http.post(world.url()).header("authorization", format!("less-of-{name}"));
        let denied = send(request.json(&json!({"query": query}))).await;
        assert!(denied.status == 403 && denied.text.contains(&may_not), "{query}: {denied:?}");
        let hidden = world.ask(&format!("hides-{name}"), &query, json!({})).await;
        assert_eq!(hidden.code(), "GRAPHQL_VALIDATION_FAILED", "{query}: {hidden:?}");
    }
}

#[tokio::test]
async fn every_root_field_is_allowed_and_denied_by_the_scopes_of_a_token() {
    let scopes = RootField::ALL.map(|field| format!("  of:{field}: [{field}]\n")).concat();
    let groups = Group::ALL.map(|group| format!("  {0}: [{0}]\n", group.name())).concat();
    let every = Group::ALL.map(Group::name).join(", ");
    let policy = format!(
        "auth: {{ issuers: [sso] }}\noperations: [{every}]\nscopes:\n{scopes}{groups}  none: []\n"
    );
    let signer = Key::new("k", Algorithm::ES256);
    let issuer = Issuer::start(&[&signer]).await;
    let world = Setup::new().tenant("acme", policy).config(issuer.config()).start().await;
    let with_scopes = async |scopes: &str, query: &str| {
        let mut claims = claims("acme");
        claims["scope"] = scopes.into();
        with_token(&world, &signer.token(Algorithm::ES256, &claims), query).await
    };
    for field in RootField::ALL {
        let (query, may_not) = (use_of(field), format!("may not call {field}"));
        let others = RootField::ALL.into_iter().filter(|other| *other != field);
        let others: Vec<_> = others.map(|other| format!("of:{other}")).collect();
        let other_groups = Group::ALL.into_iter().filter(|group| *group != field.group());
        let other_groups: Vec<_> = other_groups.map(Group::name).collect();
        for scopes in [&others.join(" "), &other_groups.join(" "), "none", "unknown"] {
            let denied = with_scopes(scopes, &query).await;
            assert!(denied.status == 403 && denied.text.contains(&may_not), "{query}: {denied:?}");
        }
        for scopes in [format!("none of:{field}"), field.group().name().to_owned()] {
            let allowed = with_scopes(&scopes, &query).await;
            assert!(allowed.status != 403 && !allowed.text.contains(&may_not), "{allowed:?}");
        }
    }
}
