//! `webhooks`: the listener that Move's events come in at.

use std::net::{Ipv4Addr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::model::{AccountId, Secret, TenantId};
use crate::settings::forms::{Address, hidden};
use crate::settings::{Form, Keys, Node, Section, Settings, SomeOf, Span, ValueKind};
use crate::{scalars, settings};

/// The beginning of a secret's text (Standard Webhooks 1.0.0, "Signature scheme").
const PREFIX: &str = "whsec_";

/// The least length of a secret, in bytes (Standard Webhooks 1.0.0, "Signature scheme").
const SHORTEST: usize = 24;

settings! {
    /// The listener that Move's events come in at.
    pub struct Webhooks {
        /// The address at which `POST /webhooks/move/<account>` is served, and nothing else: a proxy in front of it needs a way to no other.
        listen: Address = SocketAddr::from((Ipv4Addr::LOCALHOST, 4001)),
        /// The Move accounts that send events.
        accounts: WebhookAccounts,
    }
}

/// A Move account that sends events, and the secrets that sign them.
#[derive(Debug, Clone, Eq)]
pub struct WebhookAccount {
    /// The account.
    pub id: AccountId,
    /// The secrets, one at least. Several while one takes another's place.
    pub secrets: Vec<Secret>,
    /// The place of its definition.
    pub span: Span,
}

impl PartialEq for WebhookAccount {
    /// Wherever it stands: another line of the file moves it.
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.secrets == other.secrets
    }
}

settings! {
    /// The keys of an account that sends events.
    struct WebhookAccountKeys {
        /// By the account's name (`shared`, or `tenant:` and the tenant whose own it is): the secrets that sign its events, `whsec_…`; several while one takes another's place.
        secrets: SomeOf<WebhookSecret> | "required",
    }
}

scalars! {
    /// A secret that signs events.
    WebhookSecret(Secret): ValueKind::Secret, webhook_secret, hidden;
    /// The name of a Move account.
    AccountName(AccountId): ValueKind::Word, account_name, hidden;
}

fn webhook_secret(text: &str) -> Result<Secret, String> {
    let key = text.strip_prefix(PREFIX).and_then(|key| STANDARD.decode(key).ok());
    match key {
        Some(key) if key.len() >= SHORTEST => Ok(Secret::new(text)),
        Some(_) => Err(format!("must be a secret of {SHORTEST} bytes at least")),
        None => Err(format!(
            "must be `{PREFIX}` and a secret in base64, as `jobs-gateway webhooks register` prints it"
        )),
    }
}

/// Reads the name of an account, as records and `/readyz` have it.
///
/// # Errors
/// When it is none.
pub fn account_name(text: &str) -> Result<AccountId, String> {
    if text == "shared" {
        return Ok(AccountId::Shared);
    }
    let tenant = text.strip_prefix("tenant:").and_then(|name| TenantId::parse(name).ok());
    tenant
        .map(AccountId::Tenant)
        .ok_or_else(|| "must be `shared`, or `tenant:` and the tenant whose own it is".to_owned())
}

/// `webhooks.accounts`
#[derive(Debug)]
pub enum WebhookAccounts {}

impl Form for WebhookAccounts {
    type Value = Vec<WebhookAccount>;

    fn kind() -> ValueKind {
        let names = Box::new(<AccountName as Form>::kind());
        ValueKind::Members { names, values: Box::new(ValueKind::Section) }
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        _: Option<Self::Value>,
    ) -> Option<Self::Value> {
        let (context, path) = (section.context(), section.name(key));
        let span = section.span_of(key);
        let members = section.members(key);
        if members.is_empty() {
            context.error(&span, format!("`{path}` must name an account, such as `shared`"));
        }
        let mut accounts = Vec::new();
        for (own, node) in members {
            let name = format!("{path}.{}", own.text);
            let keys = Section::new(context, &name, node).read::<WebhookAccountKeys>();
            if node.at(&["secrets"]).is_none_or(Node::is_null) {
                context.error(&node.span, format!("`{name}.secrets` must be set"));
            }
            match account_name(&own.text) {
                Ok(id) => accounts.extend(keys.map(|WebhookAccountKeys { secrets }| {
                    WebhookAccount { id, secrets, span: own.span.clone() }
                })),
                Err(problem) => context.error(&own.span, format!("`{name}`: {problem}")),
            }
        }
        Some(accounts)
    }

    fn unset() -> Option<Self::Value> {
        Some(Vec::new())
    }

    fn show(_: &Self::Value) -> Option<String> {
        None
    }

    fn below(keys: &mut Keys, name: &'static str) {
        keys.below(name, WebhookAccountKeys::declare);
    }
}
