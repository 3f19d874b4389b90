//! The issuers of tokens in `gateway.yaml`.

use std::path::Path;

use super::secrets::secret;
use super::{Issuer, KeySource};
use crate::model::Secret;
use crate::settings::Node;
use crate::settings::values::{text, web_url};
use crate::settings::{Context, Section};

/// The algorithm of a shared secret.
const HMAC: &str = "HS256";

/// The algorithms a token may be signed with.
const ALGORITHMS: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256"];

/// Reads all of them.
pub fn read(context: &Context<'_>, top: &mut Section<'_, '_>, folder: &Path) -> Vec<Issuer> {
    let mut issuers: Vec<Issuer> = Vec::new();
    for node in top.items("issuers").unwrap_or_default() {
        let section = Section::new(context, "issuers[]", node);
        let Some(issuer) = issuer(context, section, node, folder) else { continue };
        if issuers.iter().any(|known| known.name == issuer.name) {
            context.error(&node.place, format!("issuer `{}` is defined twice", issuer.name));
        }
        let takes_same = |known: &&Issuer| {
            known.issuer == issuer.issuer
                && known.audiences.iter().any(|audience| issuer.audiences.contains(audience))
        };
        if let Some(known) = issuers.iter().find(takes_same) {
            let message = format!(
                "issuers `{}` and `{}` take the same tokens: `issuer` and an audience are equal",
                known.name, issuer.name
            );
            context.error(&node.place, message);
        }
        issuers.push(issuer);
    }
    issuers
}

fn issuer(
    context: &Context<'_>,
    mut section: Section<'_, '_>,
    node: &Node,
    folder: &Path,
) -> Option<Issuer> {
    let name = section.need("name", text);
    let issuer = section.need("issuer", text);
    let audiences = section.list("audiences", text).unwrap_or_default();
    let algorithms = section.list("algorithms", algorithm);
    let jwks = section.get("jwks", |text| key_source(text, folder));
    let secret = section.secret("secret", signing_secret);
    let tenant_claim = section.need("tenant_claim", text);
    let scope_claim = section.get("scope_claim", text);
    let has_keys = section.node("jwks").is_some() || section.node("secret").is_some();
    section.finish();

    if audiences.is_empty() {
        context.error(&node.place, "`audiences` must name at least one: this gateway");
    }
    if !has_keys {
        context.error(&node.place, "an issuer has its keys in `jwks`, or a `secret` for HS256");
    }
    let (keys, by_default) = match (jwks, secret) {
        (Some(jwks), None) => (jwks, vec!["RS256", "ES256", "EdDSA"]),
        (None, Some(secret)) => (KeySource::Secret(secret), vec![HMAC]),
        (Some(_), Some(_)) => {
            context.error(&node.place, "an issuer has either `jwks` or a `secret`, not both");
            return None;
        }
        (None, None) => return None,
    };
    let algorithms =
        algorithms.unwrap_or_else(|| by_default.into_iter().map(str::to_owned).collect());
    let is_secret = matches!(keys, KeySource::Secret(_));
    if algorithms.is_empty() || algorithms.iter().any(|name| (name == HMAC) != is_secret) {
        context.error(&node.place, "HS256 goes with a `secret` and nothing else does");
    }
    Some(Issuer {
        name: name?,
        issuer: issuer?,
        audiences,
        algorithms,
        keys,
        tenant_claim: tenant_claim?,
        scope_claim,
        place: node.place.clone(),
    })
}

fn algorithm(text: &str) -> Result<String, String> {
    if ALGORITHMS.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be one of {}", ALGORITHMS.join(", ")))
    }
}

/// A URL, which must be https unless it stays on this machine, or the path of a file.
fn key_source(text: &str, folder: &Path) -> Result<KeySource, String> {
    if !text.contains("://") {
        return Ok(KeySource::File(folder.join(text.trim_start_matches("./"))));
    }
    let url = web_url(text)?;
    let is_local = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() == "https" || is_local {
        Ok(KeySource::Url(url))
    } else {
        Err("must be an https URL: over plain http whoever is on the way can replace the keys, and so be any caller".to_owned())
    }
}

/// RFC 7518, section 3.2: as long as the hash at least.
fn signing_secret(text: &str) -> Result<Secret, String> {
    if text.len() < 32 {
        return Err("must be at least 32 bytes long".to_owned());
    }
    secret(text)
}
