//! The issuers of tokens in `gateway.yaml`.

use std::path::{Path, PathBuf};

use super::secrets::SigningSecret;
use crate::model::Secret;
use crate::settings;
use crate::settings::forms::Text;
use crate::settings::{
    Context, Form, Item, Items, Keys, List, Optional, Scalar, Section, Span, ValueKind, values,
};

/// The algorithm of a shared secret.
const HMAC: &str = "HS256";

/// The algorithms a token may be signed with, by their names in RFC 7518.
const ALGORITHMS: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256"];

/// A token issuer that policies may name.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuer {
    /// Its name in policies.
    pub name: String,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// A token's `aud` must hold one of these.
    pub audiences: Vec<String>,
    /// The algorithms its tokens may be signed with, by their names in RFC 7518.
    pub algorithms: Vec<String>,
    /// The place of its keys.
    pub keys: KeySource,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// The claim that holds the scopes, if its tokens carry any.
    pub scope_claim: Option<String>,
    /// The place of its definition.
    pub span: Span,
}

/// The place of an issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A JWK set behind a URL (RFC 7517, section 5): fetched, cached, fetched again.
    Url(url::Url),
    /// A JWK set in a file.
    File(PathBuf),
    /// One secret, for HS256.
    Secret(Secret),
}

settings! {
    /// An issuer as it is written.
    struct IssuerKeys {
        /// The name by which policies list the issuer.
        name: Text,
        /// The `iss` of its tokens, to the letter.
        issuer: Text,
        /// Names of this gateway: a token's `aud` must hold one of these.
        audiences: List<Text> | "required",
        /// `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`; `HS256` with a `secret` alone.
        algorithms: Optional<List<Algorithm>> | "`[RS256, ES256, EdDSA]`",
        /// An https URL (http on this machine only) or a file: the issuer's JWK set.
        jwks: Optional<JwkSet>,
        /// Instead of `jwks`: a secret of 32 bytes or more, for `HS256`.
        secret: Optional<SigningSecret>,
        /// The claim that names the tenant.
        tenant_claim: Text,
        /// The claim that holds scopes: a text separated by spaces, or a list; a token with `null` there carries none, as one without it.
        scope_claim: Optional<Text>,
    }
}

/// `issuers`
#[derive(Debug)]
pub enum Issuers {}

impl Form for Issuers {
    type Value = Vec<Issuer>;

    fn kind() -> ValueKind {
        Items::<IssuerKeys>::kind()
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        _: Option<Self::Value>,
    ) -> Option<Self::Value> {
        let context = section.context();
        let mut issuers: Vec<Issuer> = Vec::new();
        for item in Items::<IssuerKeys>::read(section, key, None)? {
            let span = item.span.clone();
            let node = section.items(key).unwrap_or_default().iter().find(|node| node.span == span);
            if node.is_none_or(|node| node.at(&["jwks"]).or(node.at(&["secret"])).is_none()) {
                context.error(&span, "an issuer has its keys in `jwks`, or a `secret` for HS256");
            }
            let Some(issuer) = issuer(context, item) else { continue };
            if issuers.iter().any(|known| known.name == issuer.name) {
                context.error(&span, format!("issuer `{}` is defined twice", issuer.name));
            }
            if let Some(known) = issuers.iter().find(|known| take_same(known, &issuer)) {
                let message = format!(
                    "issuers `{}` and `{}` take the same tokens: `issuer` and an audience are equal",
                    known.name, issuer.name
                );
                context.error(&span, message);
            }
            issuers.push(issuer);
        }
        Some(issuers)
    }

    fn unset() -> Option<Self::Value> {
        Some(Vec::new())
    }

    fn show(_: &Self::Value) -> Option<String> {
        None
    }

    fn below(keys: &mut Keys, name: &'static str) {
        Items::<IssuerKeys>::below(keys, name);
    }
}

fn take_same(one: &Issuer, other: &Issuer) -> bool {
    one.issuer == other.issuer
        && one.audiences.iter().any(|audience| other.audiences.contains(audience))
}

fn issuer(context: &Context<'_>, item: Item<IssuerKeys>) -> Option<Issuer> {
    let Item { settings, span } = item;
    let IssuerKeys { name, issuer, audiences, algorithms, tenant_claim, scope_claim, .. } =
        settings;
    if audiences.is_empty() {
        context.error(&span, "`audiences` must name at least one: this gateway");
    }
    let (keys, by_default) = match (settings.jwks, settings.secret) {
        (Some(jwks), None) => (jwks, vec!["RS256", "ES256", "EdDSA"]),
        (None, Some(secret)) => (KeySource::Secret(secret), vec![HMAC]),
        (Some(_), Some(_)) => {
            context.error(&span, "an issuer has either `jwks` or a `secret`, not both");
            return None;
        }
        (None, None) => return None,
    };
    let algorithms =
        algorithms.unwrap_or_else(|| by_default.into_iter().map(str::to_owned).collect());
    let is_secret = matches!(keys, KeySource::Secret(_));
    if algorithms.is_empty() || algorithms.iter().any(|name| (name == HMAC) != is_secret) {
        context.error(&span, "HS256 goes with a `secret` and nothing else does");
    }
    Some(Issuer { name, issuer, audiences, algorithms, keys, tenant_claim, scope_claim, span })
}

/// The name of an algorithm.
#[derive(Debug)]
enum Algorithm {}

impl Scalar for Algorithm {
    type Value = String;

    fn kind() -> ValueKind {
        ValueKind::OneOf(ALGORITHMS.to_vec())
    }

    fn parse(text: &str) -> Result<String, String> {
        if ALGORITHMS.contains(&text) {
            Ok(text.to_owned())
        } else {
            Err(format!("must be one of {}", ALGORITHMS.join(", ")))
        }
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }
}

/// A URL, which must be https unless it stays on this machine, or the path of a file.
#[derive(Debug)]
enum JwkSet {}

impl Scalar for JwkSet {
    type Value = KeySource;

    fn kind() -> ValueKind {
        ValueKind::Word
    }

    fn parse(text: &str) -> Result<KeySource, String> {
        if !text.contains("://") {
            return Ok(KeySource::File(text.trim_start_matches("./").into()));
        }
        let url = values::web_url(text)?;
        if url.scheme() == "https" || values::is_local(&url) {
            Ok(KeySource::Url(url))
        } else {
            Err("must be an https URL: over plain http whoever is on the way can replace the keys, and so be any caller".to_owned())
        }
    }

    fn show(_: &KeySource) -> Option<String> {
        None
    }

    fn within(value: KeySource, folder: &Path) -> KeySource {
        match value {
            KeySource::File(path) => KeySource::File(folder.join(path)),
            other => other,
        }
    }
}
