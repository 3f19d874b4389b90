//! The configured issuers, and the tokens of theirs that were verified before.

use std::sync::Arc;

use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use moka::sync::Cache;
use serde_json::{Map, Value};

use super::Error;
use super::follow::Fetched;
use super::jwks::{self, Keys, VerifyingKey};
use super::jwt::{self, Claims};
use crate::config::{self, KeySource};
use crate::model::{Caller, CredentialId, KeyHash, RootFields, Tenant, TenantId};
use crate::policy::Snapshot;
use crate::settings::{Diagnostic, Diagnostics, Sources};
use crate::supervision::{Supervisor, Task};

/// The number of verified tokens that are remembered.
const REMEMBERED: u64 = 100_000;

/// All issuers of a configuration. Made anew with each reload, so that no token outlives a change
/// of policy; keys that follow the same URL go on as they are.
pub struct Issuers {
    issuers: Vec<Issuer>,
    remembered: Cache<KeyHash, Arc<Remembered>>,
}

struct Issuer {
    config: config::Issuer,
    algorithms: Vec<Algorithm>,
    keys: IssuerKeys,
}

enum IssuerKeys {
    /// From a file or a secret: they change with a reload.
    Fixed(Arc<Keys>),
    Secret(Arc<VerifyingKey>),
    Followed {
        keys: Arc<Fetched>,
        task: Arc<Task>,
    },
}

/// A verified token, by the hash of its bytes.
struct Remembered {
    caller: Caller,
    expires: Timestamp,
    issuer: usize,
    keys_version: u64,
}

impl std::fmt::Debug for Issuers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.issuers.iter().map(|issuer| &issuer.config.name)).finish()
    }
}

impl Issuers {
    /// None: only API keys are taken.
    #[must_use]
    pub fn none() -> Self {
        Self { issuers: Vec::new(), remembered: Cache::new(0) }
    }

    /// Makes ready to verify tokens of these issuers. `before` lends its keys where the URL is the
    /// same. Needs a runtime if one of them has a URL.
    ///
    /// # Errors
    /// When a file of keys cannot be used.
    pub fn build(
        configured: &[config::Issuer],
        before: Option<&Self>,
        http: &reqwest::Client,
        supervisor: &Supervisor,
    ) -> Result<Self, Diagnostics> {
        let mut issuers = Vec::new();
        let mut problems = Vec::new();
        for config in configured {
            let keys = match &config.keys {
                KeySource::Url(url) => {
                    before.and_then(|before| before.following(config)).unwrap_or_else(|| {
                        let (keys, task) = Fetched::start(&config.name, url, http, supervisor);
                        IssuerKeys::Followed { keys, task: Arc::new(task) }
                    })
                }
                KeySource::File(path) => match std::fs::read_to_string(path)
                    .map_err(jwks::Error::from)
                    .and_then(|text| jwks::parse(&text, 0))
                {
                    Ok(keys) => IssuerKeys::Fixed(Arc::new(keys)),
                    Err(error) => {
                        problems.push(unusable(config, &error));
                        continue;
                    }
                },
                KeySource::Secret(secret) => {
                    let key = VerifyingKey::secret(secret.expose().as_bytes());
                    IssuerKeys::Secret(Arc::new(key))
                }
            };
            let algorithms = config.algorithms.iter().filter_map(|name| name.parse().ok());
            let algorithms = algorithms.collect();
            issuers.push(Issuer { config: config.clone(), algorithms, keys });
        }
        if problems.is_empty() {
            Ok(Self { issuers, remembered: Cache::new(REMEMBERED) })
        } else {
            Err(Diagnostics(problems))
        }
    }

    /// Finds what is wrong with the issuers' files of keys.
    #[must_use]
    pub fn check(configured: &[config::Issuer], sources: &Sources<'_>) -> Diagnostics {
        let read = |path: &std::path::Path| jwks::parse(&sources.text(path)?, 0);
        let problem = |config: &config::Issuer| match &config.keys {
            KeySource::File(path) => read(path).err().map(|error| unusable(config, &error)),
            KeySource::Url(_) | KeySource::Secret(_) => None,
        };
        Diagnostics(configured.iter().filter_map(problem).collect())
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.issuers.iter().map(|issuer| issuer.config.name.as_str()).collect()
    }

    fn following(&self, config: &config::Issuer) -> Option<IssuerKeys> {
        let is_same = |issuer: &&Issuer| {
            issuer.config.name == config.name && issuer.config.keys == config.keys
        };
        let same = self.issuers.iter().find(is_same)?;
        match &same.keys {
            IssuerKeys::Followed { keys, task } => {
                Some(IssuerKeys::Followed { keys: Arc::clone(keys), task: Arc::clone(task) })
            }
            IssuerKeys::Fixed(_) | IssuerKeys::Secret(_) => None,
        }
    }

    /// Who a token with these claims is; `None` if no issuer alone issues such tokens. Nothing is
    /// verified here.
    pub(super) fn claimed_caller(
        &self,
        claims: &Map<String, Value>,
        policies: &Snapshot,
    ) -> Option<Caller> {
        let claimed = claims.get("iss").and_then(Value::as_str)?;
        let mut issuers = self.issuers.iter().filter(|issuer| issuer.config.issuer == claimed);
        let (Some(issuer), None) = (issuers.next(), issuers.next()) else { return None };
        caller(&issuer.config, claims, policies).ok()
    }

    /// Verifies a token, or remembers that it did.
    pub(super) async fn authenticate(
        &self,
        token: &str,
        hash: &KeyHash,
        policies: &Snapshot,
        now: Timestamp,
    ) -> Result<Caller, Error> {
        if let Some(remembered) = self.remembered.get(hash) {
            let version = self.issuers.get(remembered.issuer).map(Issuer::keys_version);
            if remembered.expires > now && version == Some(remembered.keys_version) {
                return Ok(remembered.caller.clone());
            }
            self.remembered.invalidate(hash);
        }
        let head = jwt::head(token)?;
        let claimed = jwt::claimed_issuer(token)?;
        let known = self.issuers.iter().enumerate();
        let mut refusal = Error::Issuer;
        for (at, issuer) in known.filter(|(_, issuer)| issuer.config.issuer == claimed) {
            // Before the keys are looked at: what is verified under them must not outlive them.
            let keys_version = issuer.keys_version();
            match issuer.verify(token, head.alg, head.kid.as_deref(), now).await {
                Ok(claims) => {
                    let expires = claims.expires;
                    let caller = caller(&issuer.config, &claims.all, policies)?;
                    let caller = Caller { expires: Some(jwt::ends(expires, now)), ..caller };
                    let remembered =
                        Remembered { caller: caller.clone(), expires, issuer: at, keys_version };
                    self.remembered.insert(*hash, Arc::new(remembered));
                    return Ok(caller);
                }
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }
}

fn unusable(config: &config::Issuer, error: &jwks::Error) -> Diagnostic {
    let message = format!("the keys of issuer `{}` cannot be used: {error}", config.name);
    Diagnostic::error(message, Some(config.span.clone()))
}

impl Issuer {
    fn keys_version(&self) -> u64 {
        match &self.keys {
            IssuerKeys::Fixed(_) | IssuerKeys::Secret(_) => 0,
            IssuerKeys::Followed { keys, .. } => keys.version(),
        }
    }

    async fn verify(
        &self,
        token: &str,
        algorithm: Algorithm,
        kid: Option<&str>,
        now: Timestamp,
    ) -> Result<Claims, Error> {
        if !self.algorithms.contains(&algorithm) {
            return Err(Error::Signature);
        }
        let keys = match &self.keys {
            IssuerKeys::Secret(key) => vec![Arc::clone(key)],
            IssuerKeys::Fixed(keys) => keys.find(kid, algorithm),
            IssuerKeys::Followed { keys, .. } => keys.find(kid, algorithm).await,
        };
        let config::Issuer { issuer, audiences, .. } = &self.config;
        let mut refusal = Error::Signature;
        for key in keys.iter().filter(|key| key.fits(algorithm)) {
            match jwt::verify(token, &key.key, algorithm, issuer, audiences, now) {
                // Another key of this `kid` may have signed it.
                Err(Error::Signature) => {}
                Err(error) => refusal = error,
                verified => return verified,
            }
        }
        Err(refusal)
    }
}

/// The tenant that an issuer's claims name, if it takes its tokens, and what they grant.
pub(super) fn caller(
    issuer: &config::Issuer,
    claims: &Map<String, Value>,
    policies: &Snapshot,
) -> Result<Caller, Error> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let tenant = text(&issuer.tenant_claim)
        .and_then(|name| TenantId::parse(name).ok())
        .and_then(|id| policies.tenant(&id))
        .ok_or(Error::NoTenant)?;
    if !tenant.issuers.contains(&issuer.name) {
        return Err(Error::NotListed);
    }
    let subject = text("sub");
    Ok(Caller {
        tenant: Arc::clone(tenant),
        credential: CredentialId::of_token(&issuer.name, subject.unwrap_or("-")),
        subject: subject.map(Arc::from),
        expires: None,
        grants: tenant.operations.intersect(scoped(issuer, claims, tenant)),
        policy_version: Arc::clone(policies.version()),
    })
}

/// Returns the root fields that a token's scopes grant; all if it carries none.
fn scoped(issuer: &config::Issuer, claims: &Map<String, Value>, tenant: &Tenant) -> RootFields {
    let claim = issuer.scope_claim.as_ref().and_then(|claim| claims.get(claim));
    let scopes: Vec<&str> = match claim {
        None | Some(Value::Null) => return RootFields::ALL,
        // RFC 8693, section 4.2: one text, separated by spaces. Some issuers send a list.
        Some(Value::String(text)) => text.split(' ').collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        Some(_) => Vec::new(),
    };
    let granted = tenant.scopes.iter().filter(|(scope, _)| scopes.contains(&scope.as_str()));
    granted.fold(RootFields::NONE, |all, (_, fields)| all.union(*fields))
}
