//! TLS on both sides, with certificates made by the test.

use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;

use crate::support::{Setup, World, key, send};

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and its key, as PEM.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub fn write_server(&self, folder: &Path) {
        let (certificate, key) = self.issue();
        std::fs::write(folder.join("cert.pem"), certificate).unwrap();
        std::fs::write(folder.join("key.pem"), key).unwrap();
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    fn client(&self) -> reqwest::ClientBuilder {
        let authority = reqwest::Certificate::from_pem(self.0.pem().as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([authority]).pool_max_idle_per_host(0)
    }
}

pub async fn tls_world(folder: &Path, more: &str) -> World {
    let folder = folder.display();
    let config = format!(
        "server: {{ listen: 127.0.0.1:0, tls: {{ cert: {folder}/cert.pem, key: {folder}/key.pem{more} }} }}\n"
    );
    Setup::new().config(config).start().await
}

fn ask(world: &World, http: &reqwest::Client) -> reqwest::RequestBuilder {
    http.post(format!("https://localhost:{}/graphql", world.address.port()))
        .header("authorization", key("acme"))
        .json(&json!({"query": "{ listJobs { first } }"}))
}

#[tokio::test]
async fn the_listener_speaks_tls_and_both_versions_of_http() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.write_server(folder.path());
    let world = tls_world(folder.path(), "").await;
    let answer = ask(&world, &authority.client().build().unwrap()).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
    let http1 = authority.client().http1_only().build().unwrap();
    let answer = ask(&world, &http1).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_11));
    assert!(ask(&world, &Authority::new().client().build().unwrap()).send().await.is_err());
    assert!(
        world.metric("jobs_gateway_tls_certificate_expiry_timestamp_seconds").await > Some(0.0)
    );
}

#[tokio::test]
async fn rotated_certificates_are_used_and_broken_ones_change_nothing() {
    let (folder, before) = (tempfile::tempdir().unwrap(), Authority::new());
    before.write_server(folder.path());
    let world = tls_world(folder.path(), "").await;
    let (old, after) = (before.client().build().unwrap(), Authority::new());
    let new = after.client().build().unwrap();
    assert!(ask(&world, &old).send().await.is_ok());
    std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
    world.pass(Duration::from_secs(11)).await;
    assert!(ask(&world, &old).send().await.is_ok());
    after.write_server(folder.path());
    let give_up = std::time::Instant::now() + Duration::from_secs(10);
    while ask(&world, &new).send().await.is_err() {
        assert!(std::time::Instant::now() < give_up, "the new certificate is not used");
        world.pass(Duration::from_secs(11)).await;
    }
    assert!(ask(&world, &old).send().await.is_err());
}

#[tokio::test]
async fn with_a_client_ca_only_callers_with_its_certificates_connect() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.write_server(folder.path());
    std::fs::write(folder.path().join("ca.pem"), authority.0.pem()).unwrap();
    let more = format!(", client_ca: {}/ca.pem", folder.path().display());
    let world = tls_world(folder.path(), &more).await;
    assert!(ask(&world, &authority.client().build().unwrap()).send().await.is_err());
    let (certificate, private) = Authority::new().issue();
    let foreign = reqwest::Identity::from_pem((certificate + &private).as_bytes()).unwrap();
    let foreign = authority.client().identity(foreign).build().unwrap();
    assert!(ask(&world, &foreign).send().await.is_err());
    let (certificate, private) = authority.issue();
    let own = reqwest::Identity::from_pem((certificate + &private).as_bytes()).unwrap();
    let own = authority.client().identity(own).build().unwrap();
    assert_eq!(ask(&world, &own).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn move_is_called_over_tls_if_its_authority_is_trusted() {
    // A gateway with TLS stands for Move: what matters is whether it is called.
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.write_server(folder.path());
    std::fs::write(folder.path().join("ca.pem"), authority.0.pem()).unwrap();
    let far = tls_world(folder.path(), "").await;
    for (ca, code) in [
        (format!(", ca: {}/ca.pem", folder.path().display()), "UPSTREAM_ERROR"),
        (String::new(), "UPSTREAM_UNAVAILABLE"),
    ] {
        let url = format!("https://localhost:{}/graphql", far.address.port());
        let config = format!(
            "upstream: {{ url: '{url}', api_key: '${{MOVE_API_KEY}}', retries: {{ max: 0 }}{ca} }}\n"
        );
        let near = Setup::new().config(config).start().await;
        // The far gateway does not know Move's key: HTTP 401.
        assert_eq!(near.get("acme", "job-1", "id").await.code(), code);
    }
}

#[tokio::test]
async fn long_answers_are_compressed_for_those_who_take_it() {
    let world = World::start().await;
    let query = json!({"query": "{ __schema { types { name description fields { name } } } }"});
    let ask = |accepted: &'static str| {
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        request.header("accept-encoding", accepted).json(&query).send()
    };
    let packed = ask("gzip").await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let packed = packed.bytes().await.unwrap();
    let plain = ask("identity").await.unwrap();
    assert!(!plain.headers().contains_key("content-encoding"));
    let plain = plain.bytes().await.unwrap();
    assert!(packed.len() * 3 < plain.len(), "{} of {}", packed.len(), plain.len());
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked)
        .unwrap();
    assert_eq!(unpacked, plain);
    let short = world.http.post(world.url()).header("authorization", key("acme"));
    let short = short.header("accept-encoding", "gzip").json(&json!({"query": "{ __typename }"}));
    assert!(!send(short).await.headers.contains_key("content-encoding"));
}
