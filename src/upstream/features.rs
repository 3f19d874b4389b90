//! The features of an account's Move API, learned beside the request path.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use reqwest::header::HeaderMap;
use tokio::time::Instant;

use super::{Call, Described, Error, Upstream};
use crate::json::JsonRef;
use crate::model::{Account, AccountId, RootField};

/// The existence of `createJob`, by account; an account is absent until it has been asked.
#[derive(Debug, Default)]
pub struct Features(ArcSwap<HashMap<AccountId, bool>>);

impl Features {
    fn has_create_job(&self, account: &Account) -> Option<bool> {
        self.0.load().get(&account.id).copied()
    }

    fn learn(&self, account: &Account, create_job: bool) {
        self.0.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.insert(account.id.clone(), create_job);
            Arc::new(known)
        });
    }
}

impl Upstream {
    /// The mutation to call for `field`: an account without the older `createJob` gets
    /// `createSingleCamJob` instead. As long as that is not known, `createJob` goes as it is.
    #[must_use]
    pub fn creation_field(&self, account: &Account, field: RootField) -> RootField {
        match (field, self.features.has_create_job(account)) {
            (RootField::CreateJob, Some(false)) => RootField::CreateSingleCamJob,
            _ => field,
        }
    }

    /// Asks the account's API what it has. To be called at start and now and then, never by a
    /// request.
    ///
    /// # Errors
    /// When Move gives no answer; what was known before stays.
    pub async fn learn_features(&self, account: &Account) -> Result<(), Error> {
        let (call, headers) = (Call::mutation_names(), HeaderMap::new());
        let deadline = Instant::now() + 2 * self.settings.timeout;
        let reply = self.call_once::<Described>(account, None, &call, headers, deadline).await?;
        let mutations = reply.value.as_ref();
        let fields = mutations.and_then(|type_| type_.json().root().get("fields"));
        let fields = fields.ok_or_else(|| Error::not_an_answer("without its mutations"))?;
        let is_create_job = |field: JsonRef<'_>| {
            field.text_of("name").as_deref() == Some(RootField::CreateJob.name())
        };
        let create_job = fields.items().any(is_create_job);
        self.features.learn(account, create_job);
        Ok(())
    }
}
