//! The gateway as a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jobs_gateway::model::KeyHash;
use jobs_gateway::sandbox::Sandbox;

use super::key;

/// A gateway over a sandbox; killed when it is dropped.
pub struct Process {
    pub child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Writes a configuration for [`Process::start`] with one tenant, `acme`, that may do everything.
pub fn prepare(folder: &Path, sandbox: &Sandbox, more: &str) -> (SocketAddr, SocketAddr) {
    prepare_before(folder, sandbox.url().as_str(), more)
}

/// The same for a gateway before another upstream.
pub fn prepare_before(folder: &Path, upstream: &str, more: &str) -> (SocketAddr, SocketAddr) {
    let (address, admin) = (free_address(), free_address());
    let policies = folder.join("policies");
    std::fs::create_dir_all(&policies).unwrap();
    let hash = KeyHash::of(key("acme").as_bytes());
    let policy = format!(
        "tenant: acme\noperations: [\"*\"]\ntakes: {{ unclaimed: use }}\nauth: {{ api_keys: [{{ id: main, sha256: {hash} }}] }}\n\
         rate_limit: {{ queries: ~, mutations: ~, max_in_flight: 1000 }}\n\
         cache: {{ get_job: {{ no_cache: true }} }}\n"
    );
    std::fs::write(policies.join("acme.yaml"), policy).unwrap();
    let config = format!(
        "server: {{ listen: {address}, drain_delay: 1s, request_timeout: 3s }}\nadmin: {{ listen: {admin} }}\n\
         policies: ./policies\n\
         upstream: {{ url: '{upstream}', timeout: 3s, api_key: '${{MOVE_API_KEY}}' }}\n\
         telemetry: {{ log: {{ level: warn }} }}\n{more}",
    );
    std::fs::write(folder.join("gateway.yaml"), config).unwrap();
    (address, admin)
}

impl Process {
    /// Starts a gateway on what [`prepare`] wrote, and waits until it takes connections.
    pub async fn start(folder: &Path, addresses: (SocketAddr, SocketAddr)) -> Self {
        Self::start_with(folder, addresses, &[], Stdio::null()).await
    }

    /// The same with more variables, and with its log.
    pub async fn start_with(
        folder: &Path,
        addresses: (SocketAddr, SocketAddr),
        environment: &[(&str, &str)],
        log: Stdio,
    ) -> Self {
        Self::start_into(folder, addresses, environment, (Stdio::null(), log)).await
    }

    /// The same with its standard output and its log.
    pub async fn start_into(
        folder: &Path,
        (address, admin): (SocketAddr, SocketAddr),
        environment: &[(&str, &str)],
        (output, log): (Stdio, Stdio),
    ) -> Self {
        // Where figures are asked for, another build of it.
        let gateway = std::env::var_os("JOBS_GATEWAY");
        let gateway = gateway.unwrap_or_else(|| env!("CARGO_BIN_EXE_jobs-gateway").into());
        let child = Command::new(gateway)
            .args(["serve", "--config"])
            .arg(folder.join("gateway.yaml"))
            .env("MOVE_API_KEY", "sandbox-move-key")
            .env("CURSOR_KEY", "07".repeat(32))
            .envs(environment.iter().copied())
            .stdout(output)
            .stderr(log)
            .spawn()
            .unwrap();
        let process = Self { child, address, admin };
        let give_up = Instant::now() + Duration::from_secs(20);
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert!(Instant::now() < give_up, "the gateway does not start");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.unwrap().success());
    }

    pub fn url(&self) -> String {
        format!("http://{}/graphql", self.address)
    }
}
