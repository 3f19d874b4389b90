//! Clients that others wrote, unmodified, against `jobs-gateway dev` as a user starts it.
//!
//! `scripts/test` installs them into target/test-tools; without it these tests say so and pass,
//! except in CI.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::{Setup, key};
use jobs_gateway::sandbox::{MULTICAM_TAKE, SINGLECAM_TAKE, Sandbox, SandboxOptions};

/// `jobs-gateway dev` on free ports.
struct Dev {
    process: Child,
    address: String,
    /// The words it says when it has started.
    said: Vec<String>,
}

impl Dev {
    fn start() -> Self {
        use std::io::{BufRead, BufReader};
        let mut process = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
            .args(["dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--job-seconds", "0.1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let lines = lines.map(Result::unwrap);
        let said: Vec<_> = lines.take_while(|line| !line.starts_with("Stop with")).collect();
        let line = said.iter().find(|line| line.contains("GraphQL    ")).unwrap();
        let (_, rest) = line.split_once("http://").unwrap();
        let (address, _) = rest.split_once('/').unwrap();
        let address = address.to_owned();
        Self { process, address, said }
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
fn quick() -> SandboxOptions {
    SandboxOptions { step: std::time::Duration::from_millis(50), ..SandboxOptions::default() }
}

/// Walks from a film to its motion with Move's Python client.
async fn walk_the_journey(python: PathBuf, url: String, key: String, options: &'static [&str]) {
    let journey = move || {
        let script = root().join("tests/clients/move_ugc_journey.py");
        passes(Command::new(python).arg(script).args([url, key]).args(options));
    };
    tokio::task::spawn_blocking(journey).await.unwrap();
}

#[tokio::test]
async fn moves_python_client_takes_the_sandbox_for_move() {
    let Some(python) = tool("python/bin/python") else { return };
    let sandbox = Sandbox::start(quick()).await.unwrap();
    let key = "sandbox-move-key".to_owned();
    walk_the_journey(python, sandbox.url().to_string(), key, &["account"]).await;
}

#[tokio::test]
async fn moves_python_client_walks_from_films_to_motion_as_two_tenants() {
    let Some(python) = tool("python/bin/python") else { return };
    let all = "operations: [\"*\", sharing]\n".to_owned();
    let world = Setup::new()
        .sandbox(quick())
        .tenant("acme", all.clone())
        .tenant("globex", all)
        .start()
        .await;
    let url = format!("http://{}/ugc/graphql", world.address);
    let walk = |tenant| walk_the_journey(python.clone(), url.clone(), key(tenant), &[]);
    tokio::join!(walk("acme"), walk("globex"));
    for calls in world.sandbox.calls() {
        assert_eq!(calls.api_key, "sandbox-move-key");
    }
}

#[test]
fn the_journey_that_dev_prints_can_be_pasted() {
    let dev = Dev::start();
    let commands = dev.said.iter().skip_while(|line| !line.starts_with("ask() "));
    let commands = commands.map(String::as_str).collect::<Vec<_>>().join("\n");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("film.mp4"), "a film").unwrap();
    let shell = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &commands.replace("sleep 2", "sleep 0.05")])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(shell.status.success() && commands.contains("sleep 2"), "{shell:?}");
    let text = String::from_utf8(shell.stdout).unwrap();
    assert!(text.contains("FINISHED"), "{text}");
    let motion = std::fs::read_to_string(folder.path().join("walk.fbx")).unwrap();
    assert!(motion.starts_with("fbx made by the sandbox"), "{motion}");
}

#[test]
fn every_must_and_should_of_graphql_over_http_passes() {
    let Some(mut node) = node("audit.mjs") else { return };
    let dev = Dev::start();
    passes(node.args([&dev.url("/graphql"), "dev-key-of-acme"]));
}
