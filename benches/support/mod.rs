//! Tenants by the thousand, and tokens for them.
#![allow(dead_code, reason = "each bench uses its part")]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use jobs_gateway::auth::Issuers;
use jobs_gateway::model::{Clock, KeyHash};
use jobs_gateway::reload::{ConfigSource, Loaded};
use jobs_gateway::supervision::Supervisor;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use tempfile::TempDir;

/// The key of a tenant.
pub fn key(tenant: usize, number: usize) -> String {
    format!("key-of-tenant-{tenant}-number-{number}")
}

/// An issuer's RSA key of 2048 bits.
pub struct Signer {
    key: EncodingKey,
    pub jwk: serde_json::Value,
}

impl Signer {
    pub fn new() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        // The RSAPrivateKey is the last octet string of the PKCS #8 document.
        let at = der.as_ref().windows(2).skip(4).position(|tag| tag == [0x04, 0x82]).unwrap() + 4;
        let key = EncodingKey::from_rsa_der(&der.as_ref()[at + 4..]);
        let jwk = Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = "k".into();
        Self { key, jwk }
    }

    /// A token for a tenant, unlike any other with another number.
    pub fn token(&self, tenant: usize, number: usize) -> String {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some("k".into());
        let exp = jiff::Timestamp::now().as_second() + 3600;
        let claims = json!({
            "iss": "https://sso.example.test/", "aud": "jobs-gateway", "exp": exp,
            "sub": format!("user-{number}"), "team": format!("tenant-{tenant}"),
        });
        encode(&header, &claims, &self.key).unwrap()
    }
}

/// A folder with gateway.yaml and so many tenants of three keys each.
pub fn folder(tenants: usize, signer: Option<&Signer>, more: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    for tenant in 0..tenants {
        let mut text = format!(
            "tenant: tenant-{tenant}\noperations: [\"*\"]\ntakes: {{ unclaimed: use }}\nauth:\n  api_keys:\n"
        );
        for number in 0..3 {
            let hash = KeyHash::of(key(tenant, number).as_bytes());
            writeln!(text, "    - {{ id: key-{number}, sha256: {hash} }}").unwrap();
        }
        if signer.is_some() {
            text += "  issuers: [sso]\n";
        }
        std::fs::write(policies.join(format!("tenant-{tenant}.yaml")), text + more).unwrap();
    }
    let mut config = "upstream: { url: 'http://127.0.0.1:1/', api_key: '${MOVE_API_KEY}' }\n\
                      policies: ./policies\n"
        .to_owned();
    if let Some(signer) = signer {
        let set = json!({"keys": [signer.jwk]}).to_string();
        std::fs::write(folder.path().join("jwks.json"), set).unwrap();
        config += "issuers: [{ name: sso, issuer: 'https://sso.example.test/', audiences: \
                   [jobs-gateway], algorithms: [RS256], jwks: ./jwks.json, tenant_claim: team }]\n";
    }
    std::fs::write(folder.path().join("gateway.yaml"), config).unwrap();
    folder
}

/// Reads and checks a folder.
pub fn load(folder: &Path) -> Loaded {
    let env = Arc::new(|name: &str| (name == "MOVE_API_KEY").then(|| "move-key".to_owned()));
    let origin = ConfigSource::new(&folder.join("gateway.yaml"), env);
    origin.load(Clock::system().now()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The issuers of what was loaded, with nothing remembered.
pub fn issuers(loaded: &Loaded) -> Issuers {
    Issuers::build(&loaded.config.issuers, None, &reqwest::Client::new(), &Supervisor::default())
        .unwrap()
}

/// Resident memory of this process, in bytes.
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
