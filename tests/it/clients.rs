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
    folder: tempfile::TempDir,
}

impl Dev {
    fn start() -> Self {
        use std::io::{BufRead, BufReader};
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
            .args(["dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--job-seconds", "0.1", "--folder"])
            .arg(folder.path())
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
        Self { process, address, said, folder }
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
pub fn tool(path: &str) -> Option<PathBuf> {
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
    // Any shell of POSIX's will do.
    let shell = Command::new("sh")
        .args(["-eu", "-c", &commands.replace("sleep 2", "sleep 0.05")])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(shell.status.success() && commands.contains("sleep 2"), "{shell:?}");
    let text = String::from_utf8(shell.stdout).unwrap();
    assert!(text.contains("FINISHED"), "{text}");
    let motion = std::fs::read_to_string(folder.path().join("walk.fbx")).unwrap();
    assert!(motion.starts_with("fbx made by the sandbox"), "{motion}");
    // A job that fails leaves no file, and says so.
    std::fs::remove_file(folder.path().join("walk.fbx")).unwrap();
    let failing = commands
        .replace("takeId: \\\"$TAKE", "takeId: \\\"take-0bad0bad-5f0e-4d5c-8c2a-6d1f2b7e9a40");
    assert_ne!(failing, commands);
    let shell = Command::new("sh")
        .args(["-eu", "-c", &failing.replace("sleep 2", "sleep 0.05")])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(shell.stdout).unwrap();
    assert!(text.contains("FAILED\nThere is no motion"), "{text}");
    assert!(!folder.path().join("walk.fbx").exists());
}

#[tokio::test]
async fn dev_serves_a_page_that_asks_nobody_else_for_anything() {
    let dev = Dev::start();
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    let http = http.unwrap();
    let get = async |path: &str| http.get(dev.url(path)).send().await.unwrap();
    let page = get("/").await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    let page = page.text().await.unwrap();
    let names = page.split(['"', '\'']).filter(|name| name.starts_with("/graphiql/"));
    let mut files = 0;
    for name in names {
        let file = get(name).await;
        assert!(file.status().is_success(), "{name}");
        assert!(file.text().await.unwrap().len() > 100, "{name}");
        files += 1;
    }
    assert_eq!(files, 3, "a style and two scripts");
    assert!(!page.contains("://"), "{page}");
    let scripts = get("/graphiql/graphiql.js").await.text().await.unwrap();
    assert!(scripts.contains("createFetcher") && scripts.contains("createRoot"));
    assert!(
        get("/graphiql/LICENSES.txt").await.text().await.unwrap().contains("graphiql 4.1.2: MIT")
    );
    // A browser that is given the first URL that is printed finds the page; a program finds the endpoint.
    let browser =
        http.get(dev.url("/graphql")).header("accept", "text/html,*/*;q=0.8").send().await;
    let browser = browser.unwrap();
    assert_eq!(
        (browser.status().as_u16(), browser.headers()["location"].to_str().unwrap()),
        (303, "/")
    );
    assert_ne!(get("/graphql").await.status(), 303);
}

#[tokio::test]
async fn dev_shows_the_whole_product_and_its_policies_are_edited_while_it_runs() {
    let dev = Dev::start();
    let said = dev.said.join("\n");
    let folder = dev.folder.path().canonicalize().unwrap();
    for told in ["/metrics", "audit tail --file", "--file ", &folder.display().to_string()] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let ask = async || {
        let request = reqwest::Client::new().post(dev.url("/graphql"));
        let request = request.header("authorization", "dev-key-of-acme");
        let query = "{ listJobs { first } }";
        request
            .json(&serde_json::json!({ "query": query }))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    };
    assert!(!ask().await.contains("errors"));
    let policy = folder.join("policies/acme.yaml");
    let text = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, text.replace("operations: [\"*\", sharing]", "operations: [getJob]"))
        .unwrap();
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !ask().await.contains("FORBIDDEN") {
        assert!(std::time::Instant::now() < give_up, "the change is not in force");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let records = std::fs::read_to_string(folder.join("audit/audit.jsonl")).unwrap();
    assert!(records.contains("\"tenant\":\"acme\""), "{records}");
    // The folder is one that every command takes.
    let listed = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .args(["explain", "--tenant", "acme", "--config"])
        .arg(folder.join("gateway.yaml"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&listed.stdout);
    assert!(listed.status.success() && text.contains("unlimited"), "{text}");
}

#[test]
fn dev_names_its_own_flag_where_an_address_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (command, flags) in
        [("dev", &["--listen", "--admin-listen"][..]), ("sandbox", &["--listen"])]
    {
        for flag in flags {
            let other = if *flag == "--listen" { "--admin-listen" } else { "--listen" };
            let free = if command == "dev" { &[other, "127.0.0.1:0"][..] } else { &[] };
            let ran = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
                .args([command, flag, &address])
                .args(free)
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&ran.stderr);
            assert!(told.contains(&format!("{flag} names another address")), "{told}");
            assert_eq!(ran.status.code(), Some(1));
        }
    }
}

#[test]
fn every_must_and_should_of_graphql_over_http_passes() {
    let Some(mut node) = node("audit.mjs") else { return };
    let dev = Dev::start();
    passes(node.args([&dev.url("/graphql"), "dev-key-of-acme"]));
}
