//! Tokens: what is taken, and every attack that is not. Keys are made here, for each run.

mod attacks;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use axum::routing::get;
use jobs_gateway::sandbox::{SINGLECAM_TAKE, State};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::live::passing;
use crate::support::{Reply, Setup, World, send};

const ISSUER: &str = "https://sso.example.test/";

/// A key pair: it signs, and stands in a set.
pub struct Key {
    pub kid: String,
    signing: EncodingKey,
    jwk: Value,
}

impl Key {
    pub fn new(kid: &str, algorithm: Algorithm) -> Self {
        let signing = match algorithm {
            Algorithm::ES256 => {
                let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                EncodingKey::from_ec_der(key.to_pkcs8v1().unwrap().as_ref())
            }
            Algorithm::ES384 => {
                let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
                EncodingKey::from_ec_der(key.to_pkcs8v1().unwrap().as_ref())
            }
            Algorithm::EdDSA => {
                let key = Ed25519KeyPair::generate().unwrap();
                EncodingKey::from_ed_der(key.to_pkcs8v1().unwrap().as_ref())
            }
            _ => {
                let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
                let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().unwrap();
                EncodingKey::from_rsa_der(&rsa_private_key(der.as_ref()))
            }
        };
        let jwk = Jwk::from_encoding_key(&signing, algorithm).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        jwk.as_object_mut().unwrap().remove("alg");
        Self { kid: kid.to_owned(), signing, jwk }
    }

    pub fn token(&self, algorithm: Algorithm, claims: &Value) -> String {
        let mut header = Header::new(algorithm);
        header.kid = Some(self.kid.clone());
        encode(&header, claims, &self.signing).unwrap()
    }
}

/// The RSAPrivateKey inside a PKCS #8 document: its last octet string (RFC 5208, section 5).
fn rsa_private_key(pkcs8: &[u8]) -> Vec<u8> {
    // version and algorithm come first; a 2048-bit key's octet string has a two-byte length.
    let at = pkcs8.windows(2).skip(4).position(|tag| tag == [0x04, 0x82]).unwrap() + 4;
    pkcs8[at + 4..].to_vec()
}

/// A JWK set of these keys.
pub fn set_of(keys: &[&Key]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| &key.jwk).collect();
    json!({"keys": keys}).to_string()
}

/// An issuer on a port: it serves the set it is given and counts how often it is asked.
#[derive(Clone)]
pub struct Issuer {
    set: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicUsize>,
    /// The time that each answer takes, in milliseconds.
    delay: Arc<AtomicU64>,
    pub url: String,
}

impl Issuer {
    pub async fn start(keys: &[&Key]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let (set, asked, delay) = (Arc::default(), Arc::default(), Arc::default());
        let issuer = Self { set, asked, delay, url };
        issuer.publish(keys);
        let serving = issuer.clone();
        let answer = async move || {
            serving.asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(serving.delay.load(Ordering::Relaxed))).await;
            let set = serving.set.lock().unwrap().clone();
            match set {
                Some(set) => Ok(([("cache-control", "public, max-age=600")], set)),
                None => Err(axum::http::StatusCode::SERVICE_UNAVAILABLE),
            }
        };
        let router = axum::Router::new().route("/jwks.json", get(answer));
        tokio::spawn(axum::serve(listener, router).into_future());
        issuer
    }

    pub fn publish(&self, keys: &[&Key]) {
        *self.set.lock().unwrap() = Some(set_of(keys));
    }

    fn goes_down(&self) {
        *self.set.lock().unwrap() = None;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// The lines of gateway.yaml that name it.
    pub fn config(&self) -> String {
        format!(
            "issuers:
  - name: sso
    issuer: {ISSUER}
    audiences: [jobs-gateway, other]
    algorithms: [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA]
    jwks: {}
    tenant_claim: team
    scope_claim: scope
",
            self.url
        )
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Claims of a good token of a tenant.
pub fn claims(tenant: &str) -> Value {
    json!({"iss": ISSUER, "aud": "jobs-gateway", "sub": "ann@example.test", "team": tenant,
           "exp": now() + 600})
}

const ACME: &str = "auth: { issuers: [sso] }
operations: [\"*\"]
scopes:
  jobs:read: [getJob, listJobs]
  jobs:write: [createSingleCamJob, updateJob]
";

async fn world(issuer: &Issuer) -> World {
    Setup::new()
        .tenant("acme", ACME)
        .tenant("globex", "operations: [\"*\"]\n")
        .config(issuer.config())
        .start()
        .await
}

pub async fn with_token(world: &World, token: &str, query: &str) -> Reply {
    let request = world.http.post(world.url()).header("authorization", format!("Bearer {token}"));
    send(request.json(&json!({"query": query}))).await
}

const READ: &str = "{ listJobs { first } }";

#[tokio::test]
async fn every_algorithm_of_an_issuer_is_verified_with_a_key_of_its_type() {
    let families = [
        (
            Algorithm::RS256,
            vec![
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
        ),
        (Algorithm::ES256, vec![Algorithm::ES256]),
        (Algorithm::ES384, vec![Algorithm::ES384]),
        (Algorithm::EdDSA, vec![Algorithm::EdDSA]),
    ];
    let keys: Vec<_> =
        families.iter().map(|(kind, _)| Key::new(&format!("{kind:?}"), *kind)).collect();
    let issuer = Issuer::start(&keys.iter().collect::<Vec<_>>()).await;
    let world = world(&issuer).await;
    for (key, (_, algorithms)) in keys.iter().zip(families) {
        for algorithm in algorithms {
            let token = key.token(algorithm, &claims("acme"));
            let reply = with_token(&world, &token, READ).await;
            assert_eq!(reply.data("/listJobs/first"), 50, "{algorithm:?}");
        }
    }
    // The set was fetched at start, and no token made the gateway ask again.
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn every_token_attack_is_refused_with_401_and_one_short_reason() {
    let (rsa, ec) = (Key::new("rsa", Algorithm::RS256), Key::new("ec", Algorithm::ES256));
    let stranger = Key::new("rsa", Algorithm::RS256);
    let second_rsa = Key::new("rsa-2", Algorithm::RS256);
    let issuer = Issuer::start(&[&rsa, &second_rsa, &ec]).await;
    let world = world(&issuer).await;
    let good = rsa.token(Algorithm::RS256, &claims("acme"));
    assert_eq!(with_token(&world, &good, READ).await.status, 200);
    let attacks = [
        attacks::forgeries(&issuer, &rsa, &stranger, &good),
        attacks::bad_claims(&rsa),
        attacks::misshapen(&good),
    ]
    .concat();
    for (name, token, reason) in attacks {
        let reply = with_token(&world, &token, READ).await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "UNAUTHENTICATED"), "{name}");
        let json = reply.json();
        let message = json["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{name}: {message}");
        assert!(!message.contains("acme") && !message.contains("globex"), "{name}: {message}");
    }
    assert_eq!(world.sandbox.count("listJobs"), 1, "only the good token came through");
}

#[tokio::test]
async fn leeway_is_thirty_seconds() {
    let key = Key::new("k", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]).await;
    let world = world(&issuer).await;
    for (exp, nbf, status) in [(-20, -60, 200), (600, 20, 200), (-40, -60, 401), (600, 40, 401)] {
        let mut claims = claims("acme");
        claims["exp"] = (now() + exp).into();
        claims["nbf"] = (now() + nbf).into();
        let reply = with_token(&world, &key.token(Algorithm::ES256, &claims), READ).await;
        assert_eq!(reply.status, status, "exp {exp} nbf {nbf}");
    }
}

#[tokio::test]
async fn a_token_that_may_still_read_may_subscribe_for_as_long() {
    let key = Key::new("k", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]).await;
    let world = world(&issuer).await;
    let mut claims = claims("acme");
    let create =
        format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    let made = with_token(&world, &key.token(Algorithm::ES256, &claims), &create).await;
    let job = made.data("/createSingleCamJob/id").as_str().unwrap().to_owned();
    world.sandbox.set_state(&job, State::Running);
    claims["exp"] = (now() - 15).into();
    let token = key.token(Algorithm::ES256, &claims);
    let query = format!("subscription {{ jobUpdated(jobId: \"{job}\") {{ state }} }}");
    let request = world.http.post(world.url()).header("authorization", format!("Bearer {token}"));
    let request = request.header("accept", "text/event-stream").json(&json!({"query": query}));
    let mut stream = request.send().await.unwrap();
    assert_eq!(stream.status(), 200);
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: next\ndata: {\"data\""), "{first:?}");
    let rest = passing(&world, stream.text()).await.unwrap();
    assert!(rest.contains("UNAUTHENTICATED") && rest.contains("has expired"), "{rest}");
    assert_eq!(with_token(&world, &token, READ).await.status, 401);
}

#[tokio::test]
async fn a_token_grants_what_its_scopes_and_its_tenant_grant_together() {
    let key = Key::new("k", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]).await;
    let world = world(&issuer).await;
    let write = "mutation { updateJob(id: \"job-1\", name: \"n\") { id } }";
    let multi = "mutation { createMultiCamJob(takeId: \"take-1\") { id } }";
    for (scope, read_ok, write_ok, multi_ok) in [
        (Value::Null, true, true, true),
        (json!("jobs:read"), true, false, false),
        (json!("openid jobs:write"), false, true, false),
        (json!(["jobs:read", "jobs:write"]), true, true, false),
        (json!(""), false, false, false),
        (json!("jobs"), false, false, false),
        (json!(7), false, false, false),
    ] {
        let mut claims = claims("acme");
        if !scope.is_null() {
            claims["scope"] = scope.clone();
        }
        let token = key.token(Algorithm::ES256, &claims);
        for (query, allowed) in [(READ, read_ok), (write, write_ok), (multi, multi_ok)] {
            let status = with_token(&world, &token, query).await.status;
            assert_eq!(status, if allowed { 200 } else { 403 }, "{scope} {query}");
        }
    }
}

#[tokio::test]
async fn an_unknown_kid_asks_the_issuer_again_but_strangers_cannot_make_it_ask_often() {
    let (first, second) = (Key::new("1", Algorithm::ES256), Key::new("2", Algorithm::ES256));
    let issuer = Issuer::start(&[&first]).await;
    let world = world(&issuer).await;
    let token = |key: &Key| key.token(Algorithm::ES256, &claims("acme"));
    assert_eq!(with_token(&world, &token(&first), READ).await.status, 200);
    issuer.publish(&[&first, &second]);
    assert_eq!(with_token(&world, &token(&second), READ).await.status, 200);
    assert_eq!(with_token(&world, &token(&first), READ).await.status, 200);
    let asked = issuer.asked();
    for n in 0..20 {
        let stranger = Key::new(&format!("stranger-{n}"), Algorithm::ES256);
        assert_eq!(with_token(&world, &token(&stranger), READ).await.status, 401);
    }
    assert_eq!(issuer.asked(), asked);
}

#[tokio::test]
async fn strangers_who_hang_up_do_not_keep_a_rotated_key_from_being_learnt() {
    let (first, second) = (Key::new("1", Algorithm::ES256), Key::new("2", Algorithm::ES256));
    let issuer = Issuer::start(&[&first]).await;
    let world = world(&issuer).await;
    let token = |key: &Key| key.token(Algorithm::ES256, &claims("acme"));
    assert_eq!(with_token(&world, &token(&first), READ).await.status, 200);
    issuer.publish(&[&first, &second]);
    issuer.delay.store(200, Ordering::Relaxed);
    let stranger = token(&Key::new("stranger", Algorithm::ES256));
    for _ in 0..5 {
        // Long enough for the gateway to ask, too short for the answer.
        let call = with_token(&world, &stranger, READ);
        let _ = tokio::time::timeout(Duration::from_millis(30), call).await;
    }
    assert_eq!(with_token(&world, &token(&second), READ).await.status, 200);
    assert_eq!(issuer.asked(), 2, "one fetch at start, and one for all unknown keys");
}

#[tokio::test]
async fn a_token_that_no_other_set_could_verify_does_not_make_the_gateway_ask() {
    let (first, second) = (Key::new("1", Algorithm::ES256), Key::new("2", Algorithm::ES256));
    let issuer = Issuer::start(&[&first, &second]).await;
    let world = world(&issuer).await;
    let mut header = Header::new(Algorithm::ES256);
    let good = encode(&header, &claims("acme"), &first.signing).unwrap();
    header.kid = Some("1".to_owned());
    let of_another_key = encode(&header, &claims("acme"), &second.signing).unwrap();
    for token in [good, of_another_key] {
        assert_eq!(with_token(&world, &token, READ).await.status, 401);
    }
    assert_eq!(issuer.asked(), 1, "at start");
    // So the next key that is really new is learnt at once.
    let third = Key::new("3", Algorithm::ES256);
    issuer.publish(&[&third]);
    let token = third.token(Algorithm::ES256, &claims("acme"));
    assert_eq!(with_token(&world, &token, READ).await.status, 200);
}

#[tokio::test]
async fn a_set_with_odd_and_doubled_keys_verifies_with_the_good_ones() {
    let (rsa, ec) = (Key::new("1", Algorithm::RS256), Key::new("1", Algorithm::ES256));
    let issuer = Issuer::start(&[]).await;
    let odd = |name: &str, value: Value| {
        let mut key = ec.jwk.clone();
        key[name] = value;
        key
    };
    let keys =
        json!([null, odd("kid", json!(7)), odd("alg", json!(256)), rsa.jwk, ec.jwk, "key", {}]);
    *issuer.set.lock().unwrap() = Some(json!({"keys": keys}).to_string());
    let world = world(&issuer).await;
    let mut header = Header::new(Algorithm::ES256);
    let without_kid = encode(&header, &claims("acme"), &ec.signing).unwrap();
    header.kid = Some("1".to_owned());
    let tokens = [
        rsa.token(Algorithm::RS256, &claims("acme")),
        ec.token(Algorithm::ES256, &claims("acme")),
        without_kid,
    ];
    for token in tokens {
        assert_eq!(with_token(&world, &token, READ).await.status, 200);
    }
}

#[tokio::test]
async fn a_token_that_was_remembered_is_forgotten_when_its_issuer_withdraws_the_key() {
    let (first, second) = (Key::new("1", Algorithm::ES256), Key::new("2", Algorithm::ES256));
    let issuer = Issuer::start(&[&first]).await;
    let world = world(&issuer).await;
    let old = first.token(Algorithm::ES256, &claims("acme"));
    assert_eq!(with_token(&world, &old, READ).await.status, 200);
    issuer.publish(&[&second]);
    let new = second.token(Algorithm::ES256, &claims("acme"));
    assert_eq!(with_token(&world, &new, READ).await.status, 200);
    assert_eq!(with_token(&world, &old, READ).await.status, 401);
}

#[tokio::test]
async fn the_last_good_keys_stay_when_the_issuer_is_down_and_a_metric_says_so() {
    let key = Key::new("1", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]).await;
    let world = world(&issuer).await;
    let token = |n: i64| {
        let mut claims = claims("acme");
        claims["exp"] = (now() + 600 + n).into();
        key.token(Algorithm::ES256, &claims)
    };
    assert_eq!(with_token(&world, &token(0), READ).await.status, 200);
    assert_eq!(world.metric("jobs_gateway_issuer_keys_ok").await, Some(1.0));
    issuer.goes_down();
    let stranger = Key::new("stranger", Algorithm::ES256).token(Algorithm::ES256, &claims("acme"));
    assert_eq!(with_token(&world, &stranger, READ).await.status, 401);
    assert_eq!(world.metric("jobs_gateway_issuer_keys_ok").await, Some(0.0));
    assert_eq!(with_token(&world, &token(1), READ).await.status, 200);
}

#[tokio::test]
async fn an_issuer_without_a_usable_key_is_shown_as_failing() {
    let issuer = Issuer::start(&[]).await;
    let world = world(&issuer).await;
    let stranger = Key::new("stranger", Algorithm::ES256).token(Algorithm::ES256, &claims("acme"));
    assert_eq!(with_token(&world, &stranger, READ).await.status, 401);
    assert_eq!(world.metric("jobs_gateway_issuer_keys_ok").await, Some(0.0));
}

#[tokio::test]
async fn keys_from_a_file_and_a_shared_secret_work_and_do_not_mix() {
    let key = Key::new("1", Algorithm::ES256);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({"keys": [key.jwk]}).to_string()).unwrap();
    let config = format!(
        "issuers:
  - {{ name: file, issuer: 'https://file.test', audiences: [a], algorithms: [ES256],
      jwks: '{}', tenant_claim: team }}
  - {{ name: secret, issuer: 'https://secret.test', audiences: [a], algorithms: [HS256],
      secret: '${{TOKEN_SECRET}}', tenant_claim: team }}
",
        file.path().display()
    );
    let policy = "auth: { issuers: [file, secret] }\noperations: [\"*\"]\n".to_owned();
    let world = Setup::new().tenant("acme", policy).config(config).start().await;
    let claims =
        |issuer: &str| json!({"iss": issuer, "aud": ["a"], "team": "acme", "exp": now() + 60});
    let secret = EncodingKey::from_secret(b"a-secret-of-thirty-two-bytes-or-more");
    let hmac =
        |issuer: &str| encode(&Header::new(Algorithm::HS256), &claims(issuer), &secret).unwrap();
    for (token, status) in [
        (key.token(Algorithm::ES256, &claims("https://file.test")), 200),
        (hmac("https://secret.test"), 200),
        (key.token(Algorithm::ES256, &claims("https://secret.test")), 401),
        (hmac("https://file.test"), 401),
    ] {
        assert_eq!(with_token(&world, &token, READ).await.status, status);
    }
}

#[tokio::test]
async fn a_token_with_hundreds_of_groups_is_taken() {
    let key = Key::new("ec", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]).await;
    let world = world(&issuer).await;
    for (groups, status) in [(240, 200), (480, 401)] {
        let mut claims = claims("acme");
        let group = |n: usize| format!("00000000-0000-0000-0000-{n:012}");
        claims["groups"] = (0..groups).map(group).collect::<Vec<_>>().into();
        let token = key.token(Algorithm::ES256, &claims);
        assert!(token.len() > 12 * 1024);
        assert_eq!(with_token(&world, &token, READ).await.status, status, "{groups} groups");
    }
}
