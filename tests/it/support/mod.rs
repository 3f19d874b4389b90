//! Starts gateways and sandboxes the way their users do: from files, on ports.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use jobs_gateway::app::App;
use jobs_gateway::config::{self, Config};
use jobs_gateway::model::{Clock, KeyHash};
use jobs_gateway::policy;
use jobs_gateway::sandbox::{Sandbox, SandboxOptions};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// The key of a tenant of [`World`].
pub fn key(tenant: &str) -> String {
    format!("key-of-{tenant}-0001")
}

/// A gateway in front of a sandbox.
pub struct World {
    pub sandbox: Sandbox,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub http: reqwest::Client,
    /// The gateway stops when this is dropped.
    _stop: oneshot::Sender<()>,
    _files: Arc<TempDir>,
}

/// How a [`World`] is set up.
pub struct Setup {
    pub sandbox: SandboxOptions,
    /// Tenants: a name and the rest of its policy.
    pub tenants: Vec<(&'static str, String)>,
    /// More lines for gateway.yaml.
    pub config: String,
}

impl Default for Setup {
    fn default() -> Self {
        let all = "operations: [\"*\"]\n".to_owned();
        Self {
            sandbox: SandboxOptions::default(),
            tenants: vec![("acme", all.clone()), ("globex", all.clone()), ("initech", all)],
            config: String::new(),
        }
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
    pub async fn start() -> Self {
        Self::set_up(Setup::default()).await
    }

    pub async fn set_up(setup: Setup) -> Self {
        let sandbox = Sandbox::start(setup.sandbox).await.unwrap();
        Self::over(sandbox, &setup.tenants, &setup.config).await
    }

    /// Another gateway over a sandbox that runs.
    pub async fn over(sandbox: Sandbox, tenants: &[(&str, String)], more: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let (config, policies) = load(&files, &sandbox, tenants, more);
        let app = App::build(&config, policies, Clock::system(), None).unwrap();
        let bound = app.bind().await.unwrap();
        let (address, admin) = (bound.address, bound.admin_address);
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(bound.serve(async {
            let _ = stopped.await;
        }));
        // The gateway asks what Move's API has as soon as it runs: wait for it, so that tests can
        // count calls.
        while sandbox.count("__type") == 0 {
            tokio::task::yield_now().await;
        }
        sandbox.clear_calls();
        let http = reqwest::Client::new();
        Self { sandbox, address, admin, http, _stop: stop, _files: Arc::new(files) }
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
    Reply {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await.unwrap(),
    }
}

fn load(
    files: &TempDir,
    sandbox: &Sandbox,
    tenants: &[(&str, String)],
    more: &str,
) -> (Config, policy::Snapshot) {
    let folder = files.path().join("policies");
    std::fs::create_dir(&folder).unwrap();
    for (name, rest) in tenants {
        let mut text = format!("tenant: {name}\n");
        if !rest.contains("auth:") {
            let hash = KeyHash::of(key(name).as_bytes());
            writeln!(text, "auth: {{ api_keys: [{{ id: main, sha256: {hash} }}] }}").unwrap();
        }
        text.push_str(rest);
        std::fs::write(folder.join(format!("{name}.yaml")), text).unwrap();
    }
    let path = files.path().join("gateway.yaml");
    let base = "upstream: { url: '${MOVE_API_URL}', api_key: '${MOVE_API_KEY}' }
policies: ./policies
admin: { listen: 127.0.0.1:0 }\n";
    let server = if more.contains("server:") { "" } else { "server: { listen: 127.0.0.1:0 }\n" };
    std::fs::write(&path, format!("{base}{server}{more}")).unwrap();
    let url = sandbox.url().to_string();
    let env = |name: &str| match name {
        "MOVE_API_URL" => Some(url.clone()),
        "MOVE_API_KEY" => Some("sandbox-move-key".to_owned()),
        "OTHER_MOVE_API_KEY" => Some("other-move-key".to_owned()),
        _ => None,
    };
    let (config, _) = config::load(&path, &env).unwrap_or_else(|problems| panic!("{problems}"));
    let now = jiff::Timestamp::now();
    let (policies, _) =
        policy::load(&config, &env, now).unwrap_or_else(|problems| panic!("{problems}"));
    (config, policies)
}
