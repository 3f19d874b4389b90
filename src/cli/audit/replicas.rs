//! The records of replicas, asked for over their operators' listeners.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::thread;
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use reqwest::redirect::Policy;
use url::Url;

use super::window::SearchWindow;
use crate::telemetry;

/// The variable with the key that is shown: in an argument, everybody on the machine could read it.
const KEY: &str = "JOBS_GATEWAY_AUDIT_KEY";

/// The time that a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The longest silence of a replica: where little is wanted it looks for a while, ten minutes at most.
const SILENCE: Duration = Duration::from_mins(11);

/// The most that is told of a refusal, in bytes.
const LONGEST_REFUSAL: u64 = 500;

/// The replicas to ask.
#[derive(Debug, clap::Args)]
pub struct Replicas {
    /// Ask a replica instead of reading files: its admin listener, such as http://replica-1:9090; several for several
    /// replicas, whose records are merged by time. The variable JOBS_GATEWAY_AUDIT_KEY holds a key of
    /// `admin.audit_keys`.
    #[arg(long, num_args = 1.., conflicts_with = "file", value_parser = listener)]
    url: Vec<Url>,
}

fn listener(text: &str) -> Result<Url, String> {
    let url = text.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.filter(|url| url.has_host() && url.query().is_none());
    url.ok_or_else(|| "must be a URL such as http://replica-1:9090".to_owned())
}

/// The answer of one replica.
pub struct ReplicaAnswer {
    /// The replica, as host and port.
    pub name: String,
    /// The lines that came, in a file without a name.
    pub lines: File,
    /// Why they are not all.
    pub problem: Option<String>,
}

/// The records that replicas are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The times of the records.
    pub window: SearchWindow,
    /// Texts, each of which a record holds.
    pub texts: &'a [&'a str],
    /// True for summaries of strangers' requests.
    pub strangers: bool,
}

impl Replicas {
    /// Returns true if none is named: files are read then.
    pub fn is_empty(&self) -> bool {
        self.url.is_empty()
    }

    /// Asks all of them, side by side, and takes in what they answer: none waits for the records of another.
    ///
    /// # Errors
    /// When there is no key, or no room for the answers.
    pub fn ask(&self, question: Question<'_>) -> io::Result<Vec<ReplicaAnswer>> {
        let key = std::env::var(KEY).ok().filter(|key| !key.trim().is_empty());
        let key = key.ok_or_else(|| {
            io::Error::other(format!("{KEY} is not set: --url needs a key of `admin.audit_keys`"))
        })?;
        let http = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(SILENCE)
            .build()
            .map_err(io::Error::other)?;
        thread::scope(|scope| {
            let ask = |url| {
                let (http, key) = (&http, key.trim());
                scope.spawn(move || fetch(http, key, url, question))
            };
            // One that is named twice is asked once.
            let mut known = HashSet::new();
            let is_new = |url: &&Url| known.insert(url.as_str().trim_end_matches('/').to_owned());
            let asked: Vec<_> = self.url.iter().filter(is_new).map(ask).collect();
            let panicked = || Err(io::Error::other("a bug: a question to a replica panicked"));
            asked.into_iter().map(|own| own.join().unwrap_or_else(|_| panicked())).collect()
        })
    }
}

fn fetch(http: &Client, key: &str, url: &Url, question: Question<'_>) -> io::Result<ReplicaAnswer> {
    let mut lines = tempfile::tempfile()?;
    let problem = match ask(http, key, url, question) {
        Ok(mut response) => response.copy_to(&mut lines).err().map(|error| {
            let cause = telemetry::causes(&error.without_url());
            format!("{url} broke off, and later records of it are missing: {cause}")
        }),
        Err(problem) => Some(problem),
    };
    lines.rewind()?;
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default());
    let name = format!("{host}:{}", port.unwrap_or_default());
    Ok(ReplicaAnswer { name, lines, problem })
}

fn ask(http: &Client, key: &str, url: &Url, question: Question<'_>) -> Result<Response, String> {
    let Question { window, texts, strangers } = question;
    let mut asked = url.clone();
    asked.set_path(&format!("{}/audit", url.path().trim_end_matches('/')));
    {
        let mut query = asked.query_pairs_mut();
        query.append_pair("strangers", if strangers { "true" } else { "false" });
        for (name, time) in [("since", window.since), ("until", window.until)] {
            if let Some(time) = time {
                query.append_pair(name, &time.to_string());
            }
        }
        for text in texts {
            query.append_pair("text", text);
        }
    }
    let response = http.get(asked).bearer_auth(key).send().map_err(|error| {
        let cause = telemetry::causes(&error.without_url());
        format!("{url} does not answer, and its records are missing: {cause}")
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let mut told = Vec::new();
    // What cannot be read of it is not told.
    let _ = response.take(LONGEST_REFUSAL).read_to_end(&mut told);
    let told = String::from_utf8_lossy(&told);
    Err(format!("{url} gives no records: {status}: {}", told.trim()))
}
