//! The ways past Move's API, for tests: what is done in Move directly.

use jiff::Timestamp;

use super::store::Account;
use super::store::file::File;
use super::store::job::Job;
use super::store::progress::State;
use super::store::table::{Row, Table};
use super::store::take::Take;
use super::store::volume::Volume;
use super::{Sandbox, lock, seed};

impl Sandbox {
    /// The same sandbox, adding entities to the account of this API key; `None` if it has no such
    /// account.
    #[must_use]
    pub fn account(&self, api_key: &str) -> Option<Self> {
        let is_known = lock(&self.shared.accounts).contains_key(api_key);
        is_known.then(|| Self { account: api_key.into(), ..self.clone() })
    }

    /// Puts a job into the account (the first one, or that of [`Sandbox::account`]) as if it had
    /// been created in Move; a job with the same id goes.
    pub fn add_job(&self, job: Job) {
        self.with_account(|account| account.add_job(job));
    }

    /// Takes a job away, of any account.
    pub fn remove_job(&self, id: &str) {
        for account in lock(&self.shared.accounts).values_mut() {
            account.get_mut().remove_job(id);
        }
    }

    /// Names a job anew, of any account.
    pub fn rename_job(&self, id: &str, name: &str) {
        for account in lock(&self.shared.accounts).values_mut() {
            if let Some(job) = account.get_mut().job_mut(id) {
                job.name = Some(name.to_owned());
            }
        }
    }

    /// Puts a take by one camera into the account. Its metadata is JSON text, or null.
    pub fn add_take(&self, id: &str, metadata: Option<&str>) {
        let created = self.now();
        self.with_account(|account| seed::add_take(account, id, metadata, created));
    }

    /// Puts a calibrated volume into the account. Its metadata is JSON text, or null.
    pub fn add_volume(&self, id: &str, metadata: Option<&str>) {
        let created = self.now();
        self.with_account(|account| seed::add_volume(account, id, metadata, created));
    }

    /// Puts a film into the account whose bytes are there. Its metadata is JSON text, or null.
    pub fn add_file(&self, id: &str, metadata: Option<&str>) {
        let created = self.now();
        self.with_account(|account| {
            seed::add_file(account, Some(id), "mp4", created);
            if let Some(file) = account.files.get_mut(id) {
                file.metadata = metadata.map(str::to_owned);
            }
        });
    }

    /// Puts the bytes of a file where an upload would, in any account.
    pub fn upload(&self, id: &str, bytes: impl Into<bytes::Bytes>) {
        let bytes = bytes.into();
        for account in lock(&self.shared.accounts).values_mut() {
            account.get_mut().upload(id, bytes.clone());
        }
    }

    /// Sends the account's events to a URL from now on, signed with a secret, as an endpoint does that
    /// `upsertWebhookEndpoint` makes.
    pub fn send_events(&self, url: &str, secret: &str) {
        self.with_account(|account| {
            let uid = account.endpoints.len().to_string();
            let endpoint = serde_json::json!({"uid": uid, "url": url, "events": []});
            account.endpoints.insert(uid.clone(), endpoint);
            account.endpoint_secrets.insert(uid, secret.to_owned());
        });
        self.shared.endpoint_made.notify_one();
    }

    /// Pins the state of a job or volume, of any account.
    pub fn set_state(&self, id: &str, state: State) {
        for account in lock(&self.shared.accounts).values_mut() {
            account.get_mut().set_state(id, state);
        }
    }

    /// A job of any account as it is stored.
    #[must_use]
    pub fn job(&self, id: &str) -> Option<Job> {
        self.find(id, Account::jobs)
    }

    /// A take of any account as it is stored.
    #[must_use]
    pub fn take(&self, id: &str) -> Option<Take> {
        self.find(id, |account| &account.takes)
    }

    /// A file of any account as it is stored.
    #[must_use]
    pub fn file(&self, id: &str) -> Option<File> {
        self.find(id, |account| &account.files)
    }

    /// A volume of any account as it is stored.
    #[must_use]
    pub fn volume(&self, id: &str) -> Option<Volume> {
        self.find(id, |account| &account.volumes)
    }

    /// The jobs of all accounts as they are stored, oldest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.all(Account::jobs)
    }

    /// The takes of all accounts as they are stored, oldest first; those of the seed are among them.
    #[must_use]
    pub fn takes(&self) -> Vec<Take> {
        self.all(|account| &account.takes)
    }

    /// The volumes of all accounts as they are stored, oldest first; that of the seed is among them.
    #[must_use]
    pub fn volumes(&self) -> Vec<Volume> {
        self.all(|account| &account.volumes)
    }

    /// The files of all accounts as they are stored, oldest first; those of the seed and the outputs
    /// of jobs and volumes are among them.
    #[must_use]
    pub fn files(&self) -> Vec<File> {
        self.all(|account| &account.files)
    }

    /// The number of jobs in all accounts.
    #[must_use]
    pub fn job_count(&self) -> usize {
        lock(&self.shared.accounts).values().map(|own| own.borrow().jobs().iter().count()).sum()
    }

    /// The time of day in the sandbox.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.now()
    }

    fn find<T: Row>(&self, id: &str, table: impl Fn(&Account) -> &Table<T>) -> Option<T> {
        let accounts = lock(&self.shared.accounts);
        accounts.values().find_map(|own| table(&own.borrow()).get(id).map(|row| (**row).clone()))
    }

    fn all<T: Row>(&self, table: impl Fn(&Account) -> &Table<T>) -> Vec<T> {
        let mut all = Vec::new();
        for account in lock(&self.shared.accounts).values() {
            all.extend(table(&account.borrow()).iter().map(|row| (**row).clone()));
        }
        all.sort_by_key(Row::created);
        all
    }

    fn with_account(&self, change: impl FnOnce(&mut Account)) {
        if let Some(account) = lock(&self.shared.accounts).get_mut(&*self.account) {
            change(account.get_mut());
        }
    }
}
