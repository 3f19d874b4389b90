//! The background tasks, beside the requests.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::App;
use crate::cache::CacheSize;
use crate::jobs::Jobs;
use crate::live::watch::{IsTold, Watcher};
use crate::model::Account;
use crate::pipeline::Service;
use crate::reload::{Follower, Gateway};
use crate::supervision::Task;
use crate::telemetry::{self, metrics};
use crate::upstream::{self, Upstream};

/// The interval at which the gateway asks each account's API what it has.
const LEARN_EVERY: Duration = Duration::from_mins(10);

/// The interval at which it forgets old idempotency keys.
const SWEEP_EVERY: Duration = Duration::from_hours(1);

/// The interval at which it looks whether the store of idempotency keys was in trouble.
const RECOVER_EVERY: Duration = Duration::from_millis(500);

/// The interval at which it shows how much its caches hold.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// The time for which it waits to ask again where no answer came.
const LEARN_AGAIN: Duration = Duration::from_secs(15);

/// Starts what goes on beside the requests; it ends when what is returned is dropped.
pub(super) fn start(app: App) -> io::Result<Vec<Task>> {
    let mut tasks = Vec::new();
    if let Some(webhooks) = app.webhooks.clone() {
        tasks.push(app.supervisor.start("webhooks", move || Arc::clone(&webhooks).run()));
    }
    let App {
        service, upstream, jobs, shared, http, tls, config, origin, reloads, supervisor, ..
    } = app;
    tasks.push(supervisor.start("features", {
        let (service, upstream) = (Arc::clone(&service), Arc::clone(&upstream));
        move || learn_features(Arc::clone(&service), Arc::clone(&upstream))
    }));
    let max_requests = config.server.max_requests;
    tasks.push(supervisor.start("report", {
        let (service, jobs) = (Arc::clone(&service), jobs.clone());
        move || report(Arc::clone(&service), Arc::clone(&upstream), jobs.clone(), max_requests)
    }));
    if let Some(shared) = shared {
        let versions = Arc::clone(jobs.versions());
        tasks.push(supervisor.start("redis", move || {
            let (shared, versions) = (Arc::clone(&shared), Arc::clone(&versions));
            async move { shared.follow(&versions).await }
        }));
    }
    let watcher = Watcher::new(&jobs, &config.watch, is_told(Arc::clone(&service)));
    tasks.push(supervisor.start("watch", move || {
        let watcher = watcher.clone();
        async move { watcher.run().await }
    }));
    if let Some(tls) = tls {
        tasks.push(supervisor.start("tls", move || {
            let tls = Arc::clone(&tls);
            async move { tls.follow().await }
        }));
    }
    tasks.push(supervisor.start("index", {
        let (service, jobs, pause) = (Arc::clone(&service), jobs.clone(), config.index.pause());
        move || {
            let (service, jobs) = (Arc::clone(&service), jobs.clone());
            async move { jobs.keep_indexes(|| shared_account(&service), pause).await }
        }
    }));
    tasks.push(supervisor.start("idempotency", {
        let service = Arc::clone(&service);
        move || keep_idempotency(Arc::clone(&service))
    }));
    tasks.push(supervisor.start("summaries", {
        let journal = service.journal.clone();
        move || {
            let journal = journal.clone();
            async move { journal.summarize().await }
        }
    }));
    if let Some(audit) = &config.audit {
        let file = audit.journal.file.clone();
        tasks.push(supervisor.start("volume", move || report_volume(file.clone())));
    }
    if let Some((origin, basis)) = origin {
        let gateway =
            Gateway { service, jobs, http, supervisor: supervisor.clone(), report: reloads };
        let follower = Follower::new(origin, config, basis, gateway)?;
        // One run at a time: what a run that panicked knew, the next one knows.
        let follower = Arc::new(Mutex::new(follower));
        tasks.push(supervisor.start("reload", move || {
            let follower = Arc::clone(&follower);
            async move { follower.lock().await.run().await }
        }));
    }
    Ok(tasks)
}

/// Returns the account that tenants share, if any do.
pub(super) fn shared_account(service: &Service) -> Option<Arc<Account>> {
    let accounts = service.rules.load().policies.accounts();
    accounts.into_iter().find(|account| account.is_shared())
}

/// Tells of which accounts events are taken.
fn is_told(service: Arc<Service>) -> IsTold {
    Arc::new(move |account| service.rules.load().webhooks.iter().any(|own| own.id == *account))
}

/// Looks after what is remembered of idempotency keys.
async fn keep_idempotency(service: Arc<Service>) {
    let mut sweep_at = Instant::now() + SWEEP_EVERY;
    loop {
        service.idempotency.recover().await;
        if Instant::now() >= sweep_at {
            service.idempotency.sweep().await;
            sweep_at = Instant::now() + SWEEP_EVERY;
        }
        tokio::time::sleep(RECOVER_EVERY).await;
    }
}

/// Shows what has no moment of its own to be counted at.
async fn report(service: Arc<Service>, upstream: Arc<Upstream>, jobs: Jobs, max_requests: usize) {
    loop {
        let rules = service.rules.load_full();
        upstream
            .forget_others(&rules.policies.accounts(), |id| rules.policies.tenant(id).is_some());
        upstream::show_breakers(&upstream.breakers());
        metrics::issuers(&rules.issuers.names());
        telemetry::report_refused();
        let requests = max_requests.saturating_sub(service.concurrency_limit.available_permits());
        metrics::queues(requests, service.journal.waiting());
        jobs.show_indexes(shared_account(&service)).await;
        let CacheSize { entries, bytes } = jobs.cache_size();
        metrics::cache_size("jobs", entries, bytes);
        let CacheSize { entries, bytes } = rules.answers.size();
        metrics::cache_size("answers", entries, bytes);
        drop(rules);
        tokio::time::sleep(REPORT_EVERY).await;
    }
}

/// Shows how full the volume of the audit file is. A volume that hangs holds up nothing but this.
async fn report_volume(file: PathBuf) {
    loop {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        let looked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(folder)).await;
        if let Ok(Ok(volume)) = looked {
            metrics::audit_volume(
                volume.f_frsize * volume.f_blocks,
                volume.f_frsize * volume.f_bavail,
            );
        }
        tokio::time::sleep(REPORT_EVERY).await;
    }
}

/// Asks every account in use what its API has, beside the request path.
async fn learn_features(service: Arc<Service>, upstream: Arc<Upstream>) {
    loop {
        let accounts = service.rules.load().policies.accounts();
        let mut wait = LEARN_EVERY;
        for account in accounts {
            if let Err(error) = upstream.learn_features(&account).await {
                let (account, cause) = (&account.id, telemetry::causes(&error));
                tracing::warn!(%account, cause, "cannot learn what Move's API has; will ask again");
                wait = LEARN_AGAIN;
            }
        }
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Bound;
    use crate::config::Config;
    use crate::model::{Clock, Secret};
    use crate::policy::Snapshot;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_again_and_again_drains_the_gateway_and_ends_it_with_an_error() {
        let url = "http://127.0.0.1:1/".parse().unwrap();
        let mut config = Config::new(url, Secret::new("key"));
        config.server.listen = ([127, 0, 0, 1], 0).into();
        config.admin.listen = config.server.listen;
        let app = App::build(&config, Snapshot::default(), Clock::system(), None).unwrap();
        let _task = app.supervisor.start("test", async || panic!("a bug"));
        let bound: Bound = app.bind().unwrap();
        let served =
            tokio::time::timeout(Duration::from_mins(5), bound.serve(std::future::pending()));
        let error = served.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the background task `test` failed 6 times in a row");
    }
}
