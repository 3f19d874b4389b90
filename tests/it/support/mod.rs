//! Starts gateways and sandboxes the way their users do: from files, on ports.

pub mod audit;
pub mod collector;
pub mod process;
pub mod redis;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use jobs_gateway::app::App;
use jobs_gateway::model::{Clock, KeyHash};
use jobs_gateway::reload::ConfigSource;
use jobs_gateway::sandbox::{Sandbox, SandboxOptions};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The key of a tenant of [`World`].
pub fn key(tenant: &str) -> String {
    format!("key-of-{tenant}-0001")
}

/// The secret that signs events in tests: `MOVE_WEBHOOK_SECRET`.
pub const WEBHOOK_SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";

/// Waits until so many calls of a root field came to Move.
pub async fn until_called(sandbox: &Sandbox, field: &str, times: usize) {
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while sandbox.count(field) < times {
        assert!(std::time::Instant::now() < give_up, "{field} is not called {times} times");
        tokio::task::yield_now().await;
    }
}

/// A gateway in front of a sandbox.
pub struct World {
    pub sandbox: Sandbox,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// The address for events, if `webhooks` is configured.
    pub webhooks: Option<SocketAddr>,
    pub http: reqwest::Client,
    files: TempDir,
    /// The gateway stops when this is dropped.
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

/// A policy, but for its tenant, that allows what `"*"` does.
pub const ALL: &str = "operations: [\"*\"]\n";

/// The set-up of a [`World`]: what a test does not say, does not matter to it.
pub struct Setup {
    pub sandbox: SandboxOptions,
    /// Tenants: a name and the rest of its policy.
    pub tenants: Vec<(&'static str, String)>,
    /// More lines for gateway.yaml.
    pub config: String,
    /// Is done to the files after they were read and before they are watched.
    pub change: Box<dyn FnOnce(&Path) + Send>,
}

impl Default for Setup {
    fn default() -> Self {
        let (sandbox, tenants, config) = Default::default();
        Self { sandbox, tenants, config, change: Box::new(|_| {}) }
    }
}

impl Setup {
    /// Three tenants that may do everything, unless the test has tenants of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tenant of the test's own: its name, and the rest of its policy.
    pub fn tenant(mut self, name: &'static str, policy: impl Into<String>) -> Self {
        self.tenants.push((name, policy.into()));
        self
    }

    /// Several of them.
    pub fn tenants(mut self, more: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        self.tenants.extend(more);
        self
    }

    /// More lines for gateway.yaml.
    pub fn config(mut self, lines: impl Into<String>) -> Self {
        self.config = lines.into();
        self
    }

    pub fn sandbox(mut self, options: SandboxOptions) -> Self {
        self.sandbox = options;
        self
    }

    /// A second account in Move, whose key is `OTHER_MOVE_API_KEY`.
    pub fn two_accounts(mut self) -> Self {
        self.sandbox.api_keys = ["sandbox-move-key", "other-move-key"].map(str::to_owned).to_vec();
        self
    }

    /// Does something to the files after they were read and before they are watched.
    pub fn changed(mut self, change: impl FnOnce(&Path) + Send + 'static) -> Self {
        self.change = Box::new(change);
        self
    }

    pub async fn start(self) -> World {
        let sandbox = Sandbox::start(self.sandbox.clone()).await.unwrap();
        self.over(sandbox).await
    }

    /// Two gateways of this set-up over one sandbox.
    pub async fn start_two(self) -> (World, World) {
        let Self { sandbox, tenants, config, .. } = self;
        let twin = Self::new().tenants(tenants.clone()).config(config.clone());
        let one = Self::new().sandbox(sandbox).tenants(tenants).config(config).start().await;
        let two = twin.over(one.sandbox.clone()).await;
        (one, two)
    }

    /// A gateway over a sandbox that runs.
    pub async fn over(self, sandbox: Sandbox) -> World {
        World::over(sandbox, self).await
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The answer without what no two have in common: the request's id, and the date.
    pub fn comparable(mut self) -> Self {
        let id = self.headers.remove("x-request-id").unwrap();
        self.headers.remove("date");
        self.text = self.text.replace(id.to_str().unwrap(), "ID");
        self
    }

    /// A member of the data; panics with the whole answer if there are errors.
    pub fn data(&self, pointer: &str) -> Value {
        let json = self.json();
        assert!(json.get("errors").is_none(), "{json}");
        json["data"].pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {json}")).clone()
    }

    /// The code of the first error.
    pub fn code(&self) -> String {
        let json = self.json();
        json["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl World {
    /// A world in which nothing is set up in particular.
    pub async fn start() -> Self {
        Self::set_up(Setup::new()).await
    }

    pub async fn set_up(setup: Setup) -> Self {
        setup.start().await
    }

    async fn over(sandbox: Sandbox, setup: Setup) -> Self {
        let Setup { mut tenants, config, change, .. } = setup;
        if tenants.is_empty() {
            tenants = ["acme", "globex", "initech"].map(|name| (name, ALL.to_owned())).to_vec();
        }
        let files = tempfile::tempdir().unwrap();
        let origin = write_files(&files, &sandbox, &tenants, &config);
        let clock = Clock::starting_at(sandbox.now());
        let loaded = origin.load(clock.now()).unwrap_or_else(|problems| panic!("{problems}"));
        change(files.path());
        let app = App::build(&loaded.config, loaded.policies, clock, None).unwrap();
        let bound = app.reloading_from(origin, loaded.basis).bind().unwrap();
        let (address, admin) = (bound.address, bound.admin_address);
        let webhooks = bound.webhooks_address;
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async {
            let _ = bound.serve(async { drop(stopped.await) }).await;
        });
        // The gateway asks what Move's API has as soon as it runs: wait for it, so that tests can
        // count calls.
        // Where Move is somewhere else, nothing comes to the sandbox.
        let is_elsewhere = config.contains("url: https:") || config.contains("url: 'https:");
        while sandbox.count("__type") == 0 && !is_elsewhere {
            tokio::task::yield_now().await;
        }
        sandbox.clear_calls();
        // Time may pass for the gateway that does not pass for the client's pool.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { sandbox, address, admin, webhooks, http, files, stop, served }
    }

    /// Writes a tenant's policy anew; the gateway notices by itself.
    pub fn write_policy(&self, name: &str, rest: &str) {
        let path = self.files.path().join("policies").join(format!("{name}.yaml"));
        // As editors do: a whole file takes the place of the old one.
        let draft = path.with_extension("draft~");
        std::fs::write(&draft, policy_text(name, rest)).unwrap();
        std::fs::rename(draft, path).unwrap();
    }

    /// The folder of gateway.yaml.
    pub fn folder(&self) -> &Path {
        self.files.path()
    }

    /// Stops the gateway and gives its folder, with all that it keeps written.
    pub async fn stop(self) -> TempDir {
        drop(self.stop);
        self.served.await.unwrap();
        self.files
    }

    /// Lets time pass for gateway and sandbox, without waiting.
    pub async fn pass(&self, time: std::time::Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    /// A metric's value, as Prometheus would read it.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = send(self.http.get(format!("http://{}/metrics", self.admin))).await.text;
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    pub fn url(&self) -> String {
        format!("http://{}/graphql", self.address)
    }

    /// Posts a GraphQL request as a tenant.
    pub async fn ask(&self, tenant: &str, query: &str, variables: Value) -> Reply {
        self.post(tenant, &json!({"query": query, "variables": variables})).await
    }

    pub async fn post(&self, tenant: &str, body: &Value) -> Reply {
        let request = self.http.post(self.url()).header("authorization", key(tenant)).json(body);
        send(request).await
    }

    /// Creates a job as a tenant and gives its id.
    pub async fn create(&self, tenant: &str, metadata: &str) -> String {
        let query = "mutation($take: String!, $metadata: AWSJSON) {
            createSingleCamJob(takeId: $take, metadata: $metadata) { id } }";
        let take = jobs_gateway::sandbox::SINGLECAM_TAKE;
        let reply = self.ask(tenant, query, json!({"take": take, "metadata": metadata})).await;
        reply.data("/createSingleCamJob/id").as_str().unwrap().to_owned()
    }

    /// Reads a job as a tenant.
    pub async fn get(&self, tenant: &str, id: &str, selection: &str) -> Reply {
        let query = format!("query($id: ID!) {{ getJob(jobId: $id) {{ {selection} }} }}");
        self.ask(tenant, &query, json!({"id": id})).await
    }
}

/// Sends a request and reads its answer whole.
pub async fn send(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    let reply = Reply {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await.unwrap(),
    };
    check_request_ids(&reply);
    reply
}

/// Every error of an answer of the gateway's names the request as the head does, in every test.
fn check_request_ids(reply: &Reply) {
    let Some(id) = reply.headers.get("x-request-id") else { return };
    let body: Value = serde_json::from_str(&reply.text).unwrap_or_default();
    for error in body["errors"].as_array().into_iter().flatten() {
        assert_eq!(error["extensions"]["requestId"], id.to_str().unwrap(), "{reply:?}");
    }
}

fn policy_text(name: &str, rest: &str) -> String {
    let mut text = format!("tenant: {name}\n");
    if !rest.contains("auth:") {
        let hash = KeyHash::of(key(name).as_bytes());
        writeln!(text, "auth: {{ api_keys: [{{ id: main, sha256: {hash} }}] }}").unwrap();
    }
    // The sandbox's takes are nobody's: tests about that say so.
    if !rest.contains("takes:") {
        text += "takes: { unclaimed: use }\n";
    }
    // Most tests count calls: those about the cache say so.
    if !rest.contains("cache:") {
        text += "cache: { get_job: { unfinished: 0, finished: 0, not_found: 0, \
                 stale_while_revalidate: 0, stale_if_error: 0 } }\n";
    }
    if !rest.contains("rate_limit:") {
        text += "rate_limit: { queries: ~, mutations: ~, max_in_flight: 10000 }\n";
    }
    text + rest
}

fn write_files(
    files: &TempDir,
    sandbox: &Sandbox,
    tenants: &[(&str, String)],
    more: &str,
) -> ConfigSource {
    let folder = files.path().join("policies");
    std::fs::create_dir(&folder).unwrap();
    for (name, rest) in tenants {
        std::fs::write(folder.join(format!("{name}.yaml")), policy_text(name, rest)).unwrap();
    }
    let path = files.path().join("gateway.yaml");
    let mut base = "policies: ./policies\n".to_owned();
    if !more.contains("admin:") {
        base += "admin: { listen: 127.0.0.1:0 }\n";
    }
    if !more.contains("upstream:") {
        // Most tests count calls: those about retries say so.
        base += "upstream: { url: '${MOVE_API_URL}', api_key: '${MOVE_API_KEY}', retries: { max: 0 } }\n";
    }
    // So it is of those about the index.
    if !more.contains("index:") {
        base += "index: { enabled: false }\n";
    }
    let server = if more.contains("server:") { "" } else { "server: { listen: 127.0.0.1:0 }\n" };
    std::fs::write(&path, format!("{base}{server}{more}")).unwrap();
    let url = sandbox.url().to_string();
    let env = move |name: &str| match name {
        "MOVE_API_URL" => Some(url.clone()),
        "MOVE_API_KEY" => Some("sandbox-move-key".to_owned()),
        "CURSOR_KEY" => Some("07".repeat(32)),
        "MOVE_WEBHOOK_SECRET" => Some(WEBHOOK_SECRET.to_owned()),
        "OTHER_MOVE_API_KEY" => Some("other-move-key".to_owned()),
        "PANIC" => panic!("asked for a variable that nobody may ask for"),
        "TOKEN_SECRET" => Some("a secret of thirty-two bytes or more".replace(' ', "-")),
        _ => None,
    };
    ConfigSource::new(&path, Arc::new(env))
}
