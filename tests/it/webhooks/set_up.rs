//! Events are set up: the configuration, the commands, and the sandbox that sends some.

use std::time::{Duration, Instant};

use jobs_gateway::config;
use jobs_gateway::sandbox::SandboxOptions;
use jobs_gateway::settings::{Source, Sources};
use serde_json::json;

use super::{CACHING, CONFIG, counted, state};
use crate::command_line::command;
use crate::configuration::Files;
use crate::support::{Setup, WEBHOOK_SECRET};

/// A secret that no gateway has.
const OTHER_SECRET: &str = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4";

#[tokio::test]
async fn what_the_sandbox_sends_comes_into_the_cache_and_nobody_had_to_ask() {
    let step = Duration::from_millis(20);
    let setup = Setup::new().tenant("acme", CACHING).config(CONFIG);
    let world = setup.sandbox(SandboxOptions { step, ..SandboxOptions::default() }).start().await;
    let files = Files::new(
        &format!(
            "policies: ./policies\nupstream: {{ url: '{}', api_key: '${{MOVE_API_KEY}}' }}\n\
             admin: {{ listen: '{}' }}\n{}",
            world.sandbox.url(),
            world.admin,
            CONFIG.replace("127.0.0.1:0", &world.webhooks.unwrap().to_string())
        ),
        &[],
    );
    let run = async |arguments: &[&str]| {
        let mut command = command(&files, arguments);
        command.env("MOVE_API_KEY", "sandbox-move-key").env("MOVE_WEBHOOK_SECRET", WEBHOOK_SECRET);
        // Without an answer nothing is done.
        command.stdin(std::process::Stdio::null());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let text = |output: &std::process::Output| {
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
    };
    let url = format!("http://{}", world.webhooks.unwrap());
    let register = ["webhooks", "register", "--url", &url];
    assert!(text(&run(&register).await).contains("nothing was changed"));
    assert_eq!(world.sandbox.count("upsertWebhookEndpoint"), 0);
    let made = run(&[&register[..], &["--yes"]].concat()).await;
    assert!(made.status.success(), "{}", text(&made));
    let secret = String::from_utf8(made.stdout.clone()).unwrap();
    assert!(
        secret.starts_with("whsec_")
            && text(&made).contains("secrets: [\"${MOVE_WEBHOOK_SECRET}\"]")
    );
    let again = run(&[&register[..], &["--yes"]].concat()).await;
    assert!(!again.status.success() && text(&again).contains("--uid"), "{}", text(&again));
    let checked = run(&["webhooks", "check"]).await;
    assert!(
        checked.status.success() && text(&checked).contains("takes what this secret signs"),
        "{}",
        text(&checked)
    );
    let refused = "jobs_gateway_webhook_refused_total{reason=\"signature\"}";
    assert_eq!(world.metric(refused).await, Some(0.0), "a check is no event that is refused");
    let mut other = command(&files, &["webhooks", "check"]);
    other.env("MOVE_API_KEY", "sandbox-move-key").env("MOVE_WEBHOOK_SECRET", OTHER_SECRET);
    let other = tokio::task::spawn_blocking(move || other.output().unwrap()).await.unwrap();
    assert!(!other.status.success() && text(&other).contains("another secret"), "{}", text(&other));
    let told = text(&run(&["webhooks", "register", "--url", "https://me:hush@hooks.test"]).await);
    assert!(told.contains("a password") && !told.contains("hush"), "{told}");
    let nowhere = run(&["webhooks", "check", "--url", &world.url()]).await;
    assert!(!nowhere.status.success(), "{}", text(&nowhere));

    // The endpoint that was made signs with its own secret, which this gateway does not know.
    world.sandbox.send_events(&format!("{url}/webhooks/move/shared"), WEBHOOK_SECRET);
    let id = world.create("acme", "{\"shot\": 1}").await;
    let give_up = Instant::now() + Duration::from_secs(20);
    world.sandbox.clear_calls();
    // Move sends two events of an end.
    for (news, events) in [("started", 1.0), ("completed", 2.0)] {
        let seen = counted(news, "renewed");
        while world.metric(&seen).await.unwrap_or_default() < events {
            assert!(Instant::now() < give_up, "{news}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let calls = world.sandbox.count("getJob");
    assert_eq!(state(&world.get("acme", &id, "state").await), (json!("FINISHED"), "HIT".into()));
    assert_eq!(world.sandbox.count("getJob"), calls);
    let refused = world.metric("jobs_gateway_webhook_refused_total{reason=\"signature\"}").await;
    assert!(refused >= Some(2.0), "{refused:?}");
}

#[test]
fn what_is_wrong_with_webhooks_is_said_where_it_stands() {
    let base = "policies: p\nupstream: { api_key: '${K}' }\n";
    let found = |lines: &str| {
        let (name, text) = ("gateway.yaml".to_owned(), format!("{base}{lines}\n"));
        let source = std::sync::Arc::new(Source { name, text });
        let env = |name: &str| match name {
            "GOOD" => Some(WEBHOOK_SECRET.to_owned()),
            "SHORT" => Some("whsec_c2hvcnQ=".to_owned()),
            _ => Some("not-one".to_owned()),
        };
        let loaded = config::load_text(&source, &Sources::new(&env));
        loaded.err().map(|found| found.to_string()).unwrap_or_default()
    };
    let shared = "accounts: { shared: { secrets: ['${GOOD}'] } }";
    assert_eq!(found(&format!("webhooks: {{ {shared} }}")), "");
    for (lines, problem) in [
        ("webhooks: {}".to_owned(), "`webhooks.accounts` must name an account"),
        (
            "webhooks: { accounts: { shared: {} } }".to_owned(),
            "`webhooks.accounts.shared.secrets` must be set",
        ),
        ("webhooks: { accounts: { shared: { secrets: [] } } }".to_owned(), "is empty"),
        (
            "webhooks: { accounts: { shared: { secrets: ['${SHORT}'] } } }".to_owned(),
            "24 bytes at least",
        ),
        (
            "webhooks: { accounts: { shared: { secrets: ['${OTHER}'] } } }".to_owned(),
            "must be `whsec_`",
        ),
        (
            "webhooks: { accounts: { shared: { secrets: [whsec_MDEy] } } }".to_owned(),
            "does not stand in the file",
        ),
        (
            "webhooks: { accounts: { acme: { secrets: ['${GOOD}'] } } }".to_owned(),
            "must be `shared`, or `tenant:`",
        ),
        (
            "webhooks: { accounts: { shared: { secret: '${GOOD}' } } }".to_owned(),
            "did you mean `secrets`?",
        ),
        (
            format!("webhooks: {{ listen: '127.0.0.1:9090', {shared} }}"),
            "`webhooks.listen` and `admin.listen`",
        ),
        (
            format!("webhooks: {{ listen: '0.0.0.0:4000', {shared} }}"),
            "`webhooks.listen` and `server.listen`",
        ),
    ] {
        let said = found(&lines);
        assert!(said.contains(problem), "{lines}: {said}");
        assert!(!said.contains("c2hvcnQ"), "{said}");
    }
    let own = "webhooks: { accounts: { \"tenant:acme\": { secrets: ['${GOOD}'] } } }";
    assert_eq!(found(own), "", "policies tell whether there is one");
}
