//! `jobs-gateway webhooks check`

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::blocking::Client;

use super::super::config::ConfigFile;
use super::super::output::CommandError;
use super::path_of;
use crate::config::{Config, WebhookAccount};
use crate::model::Secret;
use crate::telemetry::causes;
use crate::webhooks::{CHECK, sign};

/// The time that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The metric that tells when an account's last event came.
const LAST: &str = "jobs_gateway_webhook_last_event_timestamp_seconds";

#[derive(Debug, clap::Args)]
pub struct Check {
    #[command(flatten)]
    config: ConfigFile,
    /// The address by which Move reaches `webhooks.listen`; without, `webhooks.listen` itself.
    #[arg(long)]
    url: Option<url::Url>,
    /// The metrics of a gateway that runs; without, those at `admin.listen`.
    #[arg(long)]
    metrics: Option<url::Url>,
}

/// Asks the listener of each account, and tells when its last event came.
///
/// # Errors
/// When no events are taken, or an account's cannot come.
pub fn check(args: &Check) -> Result<String, CommandError> {
    let config = args.config.load()?.config;
    let Some(webhooks) = &config.webhooks else {
        return Err("`webhooks` is not set: no events are taken".into());
    };
    let http = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .no_proxy()
        .build()
        .map_err(|error| causes(&error))?;
    let listener = args.url.clone().unwrap_or_else(|| url_of(webhooks.listen));
    let last = last_events(&http, args.metrics.as_ref(), &config);
    let (mut text, mut is_well) = (String::new(), true);
    for WebhookAccount { id, secrets, .. } in &webhooks.accounts {
        let mut url = listener.clone();
        url.set_path(&path_of(id));
        let mut told = String::new();
        for (place, secret) in secrets.iter().enumerate() {
            let reached = reach(&http, url.clone(), secret);
            is_well &= reached.is_ok();
            let reached = reached.unwrap_or_else(|problem| problem);
            told += &format!("  {url}, secret {}: {reached}\n", place + 1);
        }
        let last = match &last {
            Ok(metrics) => last_of(metrics, &id.to_string()),
            Err(problem) => format!("its metrics are not to be had: {problem}"),
        };
        let count = secrets.len();
        text += &format!("account {id}, secrets: {count}\n{told}  {last}\n");
    }
    if is_well { Ok(text) } else { Err(format!("events cannot come\n{text}").into()) }
}

fn url_of(address: std::net::SocketAddr) -> url::Url {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    #[expect(clippy::expect_used, reason = "every socket address is the authority of a URL")]
    format!("http://{address}/").parse().expect("an address makes a URL")
}

/// Sends what Move's sender would sign with a secret. Nothing comes of it but the answer.
fn reach(http: &Client, url: url::Url, secret: &Secret) -> Result<String, String> {
    let headers = sign(secret, Timestamp::now(), CHECK.as_bytes());
    let headers = headers.ok_or("the secret signs nothing")?;
    let request = http.post(url).body(CHECK);
    let request =
        headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let status = request.send().map_err(|error| causes(&error))?.status();
    match status {
        StatusCode::NO_CONTENT => Ok("takes what this secret signs".to_owned()),
        StatusCode::UNAUTHORIZED => {
            Err("HTTP 401: the gateway there has another secret, or its clock is another one"
                .to_owned())
        }
        StatusCode::NOT_FOUND => {
            Err("HTTP 404: nobody there takes events of this account".to_owned())
        }
        other => Err(format!("HTTP {}: that is not the gateway's listener", other.as_u16())),
    }
}

fn last_events(
    http: &Client,
    metrics: Option<&url::Url>,
    config: &Config,
) -> Result<String, String> {
    let mut url = metrics.cloned().unwrap_or_else(|| url_of(config.admin.listen));
    if url.path() == "/" {
        url.set_path("/metrics");
    }
    let answer = http.get(url).send().map_err(|error| causes(&error))?;
    answer.text().map_err(|error| causes(&error))
}

/// Tells when an account's last event came.
fn last_of(metrics: &str, account: &str) -> String {
    let series = format!("{LAST}{{account=\"{account}\"}}");
    let at = metrics.lines().find_map(|line| line.strip_prefix(&series)?.trim().parse().ok());
    #[expect(clippy::cast_possible_truncation, reason = "a time in seconds")]
    let at = at.and_then(|seconds: f64| Timestamp::from_second(seconds as i64).ok());
    match at {
        Some(at) => format!("its last event came at {at}; if none came yet, that is the start"),
        None => "the gateway that was asked takes no events of this account".to_owned(),
    }
}
