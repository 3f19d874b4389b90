//! Clients that others wrote, unmodified, against `jobs-gateway dev` as a user starts it.
//!
//! `scripts/test` installs them into target/test-tools; without it these tests say so and pass,
//! except in CI.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use jobs_gateway::sandbox::{MULTICAM_TAKE, SINGLECAM_TAKE, Sandbox, SandboxOptions};

/// `jobs-gateway dev` on free ports.
struct Dev {
    process: Child,
    address: String,
}

impl Dev {
    fn start() -> Self {
        use std::io::{BufRead, BufReader};
        let mut process = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
            .args(["dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.map(Result::unwrap).find(|line| line.contains("GraphQL    ")).unwrap();
        let (_, rest) = line.split_once("http://").unwrap();
        let (address, _) = rest.split_once('/').unwrap();
        Self { process, address: address.to_owned() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A tool of target/test-tools.
fn tool(path: &str) -> Option<PathBuf> {
    let tool = root().join("target/test-tools").join(path);
    if tool.exists() {
        return Some(tool);
    }
    assert!(std::env::var_os("CI").is_none(), "{path} is missing: run scripts/test");
    eprintln!("skipped: {path} is missing, scripts/test installs it");
    None
}

/// Runs a script of tests/clients with node.
pub fn node(script: &str) -> Option<Command> {
    tool("npm/node_modules/graphql-http")?;
    let mut node = Command::new("node");
    node.current_dir(root().join("target/test-tools/npm")).arg(script);
    Some(node)
}

/// Returns true if a client ends well and says `ok`.
pub fn passes(command: &mut Command) {
    let output = command.output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && text.lines().any(|line| line == "ok"), "{text}");
}

#[test]
fn moves_python_client_works_unmodified() {
    let Some(python) = tool("python/bin/python") else { return };
    let dev = Dev::start();
    passes(
        Command::new(python)
            .arg(root().join("tests/clients/move_ugc_jobs.py"))
            .arg(dev.url("/ugc/graphql"))
            .args(["dev-key-of-acme", SINGLECAM_TAKE, MULTICAM_TAKE]),
    );
}

/// A sandbox whose jobs and volumes are finished soon: a client that polls has nothing to wait for.
async fn quick_sandbox() -> Sandbox {
    let step = std::time::Duration::from_millis(50);
    Sandbox::start(SandboxOptions { step, ..SandboxOptions::default() }).await.unwrap()
}

#[tokio::test]
async fn moves_python_client_takes_the_sandbox_for_move() {
    let Some(python) = tool("python/bin/python") else { return };
    let sandbox = quick_sandbox().await;
    let url = sandbox.url().to_string();
    let journey = move || {
        let script = root().join("tests/clients/move_ugc_journey.py");
        passes(Command::new(python).arg(script).args([&url, "sandbox-move-key", "account"]));
    };
    tokio::task::spawn_blocking(journey).await.unwrap();
}

#[test]
fn every_must_and_should_of_graphql_over_http_passes() {
    let Some(mut node) = node("audit.mjs") else { return };
    let dev = Dev::start();
    passes(node.args([&dev.url("/graphql"), "dev-key-of-acme"]));
}
