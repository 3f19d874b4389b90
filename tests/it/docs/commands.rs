use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use jobs_gateway::model::KeyHash;
use jobs_gateway::sandbox::{SINGLECAM_TAKE, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use super::{blocks, spans};
use crate::documents::pages;
use crate::support::key;
use crate::support::process::{Process, prepare};

/// Commands that are not run here: how they begin, and why.
const ELSEWHERE: [(&str, &str); 13] = [
    ("cargo run --release -- dev", "builds; tests/it/stopping.rs runs `dev`"),
    ("scripts/test", "runs this"),
    ("jobs-gateway serve", "runs until it is stopped; the gateway of this test is one"),
    ("MOVE_API_KEY=… jobs-gateway serve", "as above"),
    ("jobs-gateway webhooks ", "asks Move, and from there; tests/it/webhooks.rs runs it"),
    ("docker ", "needs Docker and a registry"),
    ("helm ", "needs a cluster; scripts/ship renders the chart"),
    ("kubectl create ", "needs a cluster"),
    ("kubectl get ", "needs a cluster"),
    ("kubectl patch ", "needs a cluster"),
    ("kubectl port-forward ", "needs a cluster"),
    (
        "kubectl exec POD -- /jobs-gateway healthcheck --url https://api.move.ai/",
        "asks Move itself",
    ),
    ("kubectl exec POD -- /jobs-gateway …", "is no command"),
];

/// Commands that come before a block is run: the page's end, the heading, and the command.
const MEANWHILE: [(&str, &str, &str); 2] = [
    (
        "first-five-minutes.md",
        "\"A change has no effect\"",
        "echo 'operatons: []' >> policies/globex.yaml; \
         for _ in $(seq 400); do grep -q 'reload is refused' pod.log && break; sleep 0.05; done; \
         cp pod.log gateway.log",
    ),
    (
        "getting-started.md",
        "The team's first job",
        "for _ in $(seq 400); do \
         curl -s http://127.0.0.1:9090/metrics | grep -q '^jobs_gateway_tenants 4' && break; sleep 0.05; done",
    ),
];

/// The key for audit records.
const AUDIT_KEY: &str = "jgw_of-the-night-shift";

/// `kubectl` for one pod, which is this gateway: `/` is where its commands run, and its files are
/// elsewhere.
const KUBECTL: &str = r#"#!/bin/bash
folder=FOLDER
verb=$1
shift
while [ "$1" = -n ]; do shift 2; done
shift
case $verb in
    logs) exec cat "$folder/pod.log" ;;
    exec)
        [ "$1" = -- ] && [ "$2" = /jobs-gateway ] || { echo "no such program: $2" >&2; exit 126; }
        shift 2
        arguments=()
        for argument; do
            argument=${argument/#\/etc\/jobs-gateway\/config\//$folder/}
            arguments+=("${argument/#\/var\/lib\/jobs-gateway\//$folder/}")
        done
        # The port is another one here.
        [ "$*" = healthcheck ] && arguments+=(--url ADMIN/livez)
        cd / && exec "$folder/bin/jobs-gateway" "${arguments[@]}"
        ;;
esac
echo "not here: $verb" >&2
exit 127
"#;

/// A gateway that something has happened to, and a folder to run commands in.
struct Workplace {
    folder: tempfile::TempDir,
    process: Process,
    _sandbox: Sandbox,
    /// The words that stand for others, in commands and in what they print.
    words: Vec<(&'static str, String)>,
}

impl Workplace {
    async fn set_up() -> Self {
        // A job is finished before anybody asks for it.
        let step = Duration::from_millis(1);
        let options = SandboxOptions { step, ..SandboxOptions::default() };
        let sandbox = Sandbox::start(options).await.unwrap();
        let of_atlas = r#"{"_gateway":{"v":1,"owner":"atlas","by":"k"}}"#;
        sandbox.add_take("take-of-atlas", Some(of_atlas));
        sandbox.add_file("file-of-atlas", Some(of_atlas));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("film.mp4"), "a film").unwrap();
        let more =
            "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\ncursor_key: '${CURSOR_KEY}'\n";
        let addresses = prepare(folder.path(), &sandbox, more);
        let path = folder.path().join("gateway.yaml");
        let config = std::fs::read_to_string(&path).unwrap();
        let hash = KeyHash::of(AUDIT_KEY.as_bytes());
        let keys = format!(", audit_keys: [{{ id: night-shift, sha256: {hash} }}] }}\npolicies:");
        let config = config.replace("level: warn", "level: info");
        std::fs::write(&path, config.replacen(" }\npolicies:", &keys, 1)).unwrap();
        for (tenant, rest) in [
            ("globex", "rate_limit: { queries: { rate: 1/s, burst: 5 } }\n"),
            // Nothing listens there.
            (
                "initech",
                "upstream: { url: 'http://127.0.0.1:9/graphql', api_key: '${OTHER_KEY}' }\n",
            ),
        ] {
            let hash = KeyHash::of(key(tenant).as_bytes());
            let policy = format!(
                "tenant: {tenant}\nauth:\n  api_keys:\n    - id: main\n      sha256: {hash}\n{rest}"
            );
            std::fs::write(folder.path().join(format!("policies/{tenant}.yaml")), policy).unwrap();
        }
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_jobs-gateway"), bin.join("jobs-gateway")).unwrap();
        let kubectl = KUBECTL.replace("FOLDER", &folder.path().display().to_string());
        let kubectl = kubectl.replace("ADMIN", &format!("http://{}", addresses.1));
        std::fs::write(bin.join("kubectl"), kubectl).unwrap();
        std::fs::set_permissions(bin.join("kubectl"), PermissionsExt::from_mode(0o755)).unwrap();
        let log = std::fs::File::create(folder.path().join("pod.log")).unwrap();
        let environment = [("OTHER_KEY", "another-move-key")];
        let process = Process::start_with(folder.path(), addresses, &environment, log.into()).await;
        let mut workplace = Self { folder, process, _sandbox: sandbox, words: Vec::new() };
        workplace.let_things_happen().await;
        workplace
    }

    async fn ask(&self, key: &str, query: &str) -> (String, Value) {
        let request = reqwest::Client::new().post(self.process.url());
        let asked = request.header("authorization", key).json(&json!({"query": query})).send();
        let answer = asked.await.unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        (id, answer.json().await.unwrap())
    }

    /// One of each that a page shows.
    async fn let_things_happen(&mut self) {
        self.ask("nobody's-key", "{ listJobs { first } }").await;
        self.ask(&key("globex"), "mutation { updateJob(id: \"job-1\", metadata: \"{}\") { id } }")
            .await;
        for _ in 0..2 {
            self.ask(&key("globex"), "{ listJobs { first } }").await;
        }
        self.ask(&key("initech"), "{ listJobs { first } }").await;
        let create =
            format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
        let (_, created) = self.ask(&key("acme"), &create).await;
        let job = created["data"]["createSingleCamJob"]["id"].as_str().unwrap().to_owned();
        let create = "mutation { createFile(type: \"mp4\") { presignedUrl } }";
        let (_, created) = self.ask(&key("acme"), create).await;
        let upload = created["data"]["createFile"]["presignedUrl"].as_str().unwrap();
        std::fs::write(self.folder.path().join("walk.mp4"), "the film").unwrap();
        let (request, _) = self.ask(&key("acme"), "{ getJob(jobId: \"job-none\") { id } }").await;
        let give_up = Instant::now() + Duration::from_secs(20);
        let audit = self.folder.path().join("audit/audit.jsonl");
        while !std::fs::read_to_string(&audit).unwrap_or_default().contains(&request) {
            assert!(Instant::now() < give_up, "the call is not recorded");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let admin = format!("http://{}", self.process.admin);
        let head = reqwest::get(format!("{admin}/audit/head")).await.unwrap().text().await.unwrap();
        self.words = vec![
            (
                "https://jobs.example.test/ugc/graphql",
                format!("http://{}/ugc/graphql", self.process.address),
            ),
            ("http://127.0.0.1:4000", format!("http://{}", self.process.address)),
            ("http://127.0.0.1:9090", admin.clone()),
            ("jgw_…", key("acme")),
            ("dev-key-of-acme", key("acme")),
            ("4711:8c1f…", head.trim().to_owned()),
            ("JOBS_GATEWAY_AUDIT_KEY=…", format!("JOBS_GATEWAY_AUDIT_KEY={AUDIT_KEY}")),
            ("MOVE_API_KEY=…", "MOVE_API_KEY=sandbox-move-key".to_owned()),
            ("\"job-…\"", format!("\"{job}\"")),
            ("take-…", "take-of-atlas".to_owned()),
            ("file-…", "file-of-atlas".to_owned()),
            ("PRESIGNED_URL", upload.to_owned()),
            ("\"$REQUEST_ID\"", request.clone()),
            ("REQUEST_ID", request),
            ("--tenant TENANT", "--tenant acme".to_owned()),
            ("--url URL", format!("--url {admin}/livez")),
            ("--id NEW", "--id new".to_owned()),
            ("sleep 30", "sleep 0.05".to_owned()),
        ];
    }

    fn filled_in(&self, command: &str) -> String {
        let fill = |text: String, (word, value): &(&str, String)| text.replace(word, value);
        self.words.iter().fold(command.to_owned(), fill)
    }

    /// Returns what a command prints: dots stay dots, but in what was asked for.
    fn expected(&self, line: &str) -> String {
        let is_kept =
            |(word, _): &&(&str, String)| !["\"job-…\"", "take-…", "file-…"].contains(word);
        let words = self.words.iter().filter(is_kept);
        words.fold(line.to_owned(), |text, (word, value)| text.replace(word, value))
    }

    /// Runs commands in one shell; gives the status and the output of each.
    fn run(&self, commands: &[String]) -> Vec<(i32, String)> {
        const MARK: &str = "@@@ ";
        let mut script = String::new();
        for command in commands {
            writeln!(script, "{command}\nprintf '\\n{MARK}%d\\n' $?").unwrap();
        }
        let path =
            format!("{}/bin:{}", self.folder.path().display(), std::env::var("PATH").unwrap());
        let ran = Command::new("bash")
            .args(["-o", "pipefail", "-c", &format!("exec 2>&1\n{script}")])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("MOVE_API_KEY", "sandbox-move-key")
            .env("CURSOR_KEY", "07".repeat(32))
            .env("OTHER_KEY", "another-move-key")
            .output()
            .unwrap();
        let text = String::from_utf8(ran.stdout).unwrap();
        let mut rest = &*text;
        let mut results = Vec::new();
        while let Some((output, after)) = rest.split_once(&format!("\n{MARK}")) {
            let (status, after) = after.split_once('\n').unwrap();
            results.push((status.parse().unwrap(), output.to_owned()));
            rest = after;
        }
        assert_eq!(results.len(), commands.len(), "{script}\n{text}");
        results
    }
}

/// A command that a page shows, and what it says that it prints.
struct Shown {
    heading: String,
    command: String,
    output: Vec<String>,
}

/// The commands of a page's `console` blocks.
fn shown(page: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for block in blocks(page).into_iter().filter(|block| block.language == "console") {
        let text = block.text.replace("\\\n", " ");
        assert!(text.starts_with("$ "), "a console block begins with a command: {text}");
        for line in text.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => all.push(Shown {
                    heading: block.heading.clone(),
                    command: command.to_owned(),
                    output: Vec::new(),
                }),
                None => all.last_mut().unwrap().output.push(line.to_owned()),
            }
        }
    }
    all
}

/// Returns true if a line is as it is shown, where `…` is anything.
fn is_as_shown(line: &str, shown: &str) -> bool {
    let mut pieces = shown.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut last = first;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
        last = piece;
    }
    line.ends_with(last) && (shown.contains('…') || line == shown)
}

/// The first line that is shown and does not come, or not in this order.
fn missing<'a>(output: &str, shown: &'a [String]) -> Option<&'a String> {
    let mut lines = output.lines();
    shown
        .iter()
        .filter(|line| *line != "…")
        .find(|wanted| !lines.any(|line| is_as_shown(line.trim_end(), wanted.trim_end())))
}

fn is_elsewhere(command: &str, used: &mut BTreeSet<&'static str>) -> bool {
    let known = ELSEWHERE.iter().find(|(start, _)| command.starts_with(start));
    used.extend(known.map(|(start, _)| *start));
    known.is_some()
}

/// The pages whose commands are run, with their names.
fn pages_with_commands() -> Vec<(PathBuf, String)> {
    let with = |(_, page): &(PathBuf, String)| !shown(page).is_empty();
    pages()
        .into_iter()
        .filter(|(path, _)| !path.ends_with("CONTRIBUTING.md"))
        .filter(with)
        .collect()
}

/// Runs a page's commands, and tells what they do otherwise than it says.
async fn check_page(path: &Path, page: &str, used: &mut BTreeSet<&'static str>) -> Vec<String> {
    let workplace = Workplace::set_up().await;
    let (mut commands, mut wanted, mut heading) = (Vec::new(), Vec::new(), String::new());
    for Shown { heading: own, command, output } in shown(page) {
        if is_elsewhere(&command, used) {
            continue;
        }
        if own != heading {
            heading.clone_from(&own);
            for (page, before, act) in MEANWHILE {
                if path.ends_with(page) && own == before {
                    commands.push(workplace.filled_in(act));
                    wanted.push(Vec::new());
                }
            }
        }
        commands.push(workplace.filled_in(&command));
        wanted.push(output.iter().map(|line| workplace.expected(line)).collect());
    }
    let mut problems = Vec::new();
    let results = workplace.run(&commands);
    for ((command, wanted), (status, output)) in commands.iter().zip(&wanted).zip(results) {
        // A log may have nothing of what is looked for.
        let finds_nothing = command.contains("grep") && wanted.is_empty() && status == 1;
        let is_well = (status == 0 || finds_nothing) && !output.contains("\"errors\":[");
        let missing = missing(&output, wanted);
        if !is_well || missing.is_some() {
            let wants = missing.map_or_else(String::new, |line| format!("\nshows: {line}"));
            problems.push(format!(
                "{}: {command}{wants}\nstatus {status}, prints: {output}",
                path.display()
            ));
        }
    }
    problems
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_a_page_shows_does_what_the_page_says() {
    let (mut used, mut count, mut problems) = (BTreeSet::new(), 0, Vec::new());
    for (path, page) in pages_with_commands() {
        count += shown(&page).len();
        problems.extend(check_page(&path, &page, &mut used).await);
    }
    assert!(count > 40, "{count}");
    // Commands that pages show in a line of text run in a pod.
    let workplace = Workplace::set_up().await;
    for (path, page) in pages() {
        let inline = spans(&page).into_iter().filter(|span| span.starts_with("kubectl exec "));
        for command in inline.filter(|command| !is_elsewhere(command, &mut used)) {
            let (status, output) = workplace.run(&[workplace.filled_in(&command)]).remove(0);
            if status != 0 {
                problems.push(format!("{}: {command}\n{output}", path.display()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    let unused: Vec<_> = ELSEWHERE.iter().filter(|(start, _)| !used.contains(start)).collect();
    assert!(unused.is_empty(), "no page shows {unused:?}");
}

#[test]
fn what_the_pages_look_for_in_the_log_is_logged() {
    let mut source = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                source.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    // Texts that are broken over two lines of code.
    let source = source.split_whitespace().collect::<Vec<_>>().join(" ").replace("\\ ", "");
    let mut count = 0;
    for (path, page) in pages() {
        let shown = shown(&page).into_iter().map(|shown| shown.command);
        for command in spans(&page).into_iter().chain(shown) {
            let greps = command.split("grep ").skip(1);
            for text in greps.filter_map(|rest| rest.split(['\'', '"']).nth(1)) {
                let is_text =
                    text.bytes().all(|byte| byte.is_ascii_alphabetic() || b" '".contains(&byte));
                if is_text && command.contains("log") {
                    count += 1;
                    assert!(source.contains(text), "{}: {command}", path.display());
                }
            }
        }
    }
    assert!(count > 4, "{count}");
}

#[test]
fn a_line_is_as_shown_where_the_dots_are_anything() {
    assert!(is_as_shown("4 tenants, 5 keys", "…tenants, … keys"));
    assert!(is_as_shown("{\"a\":1,\"b\":2}", "{…\"b\":2}"));
    assert!(!is_as_shown("{\"a\":1,\"b\":2}", "{…\"b\":3}"));
    assert!(!is_as_shown("ready, or not", "ready"));
    assert!(is_as_shown("ready", "ready"));
}
