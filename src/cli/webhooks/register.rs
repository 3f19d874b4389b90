//! `jobs-gateway webhooks register`

use std::io::{self, BufRead, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;

use super::super::config::ConfigFile;
use super::super::output::{self, CommandError};
use super::{account, path_of};
use crate::app;
use crate::model::{Account, AccountId};
use crate::reload::Loaded;
use crate::telemetry::causes;
use crate::upstream::{Call, Described, FieldError, Reply};

/// The types of events that the gateway makes something of.
const EVENTS: [&str; 4] =
    ["ugc.job.state.completed", "ugc.job.state.failed", "job.state.started", "job.state.completed"];

/// The bytes of a new secret.
const SECRET: usize = 32;

#[derive(Debug, clap::Args)]
pub struct Register {
    #[command(flatten)]
    config: ConfigFile,
    /// The Move account: `shared`, or `tenant:` and the tenant whose own it is.
    #[arg(long, default_value = "shared", value_parser = account)]
    account: AccountId,
    /// The address by which Move reaches `webhooks.listen`: `https://hooks.example.com`
    #[arg(long)]
    url: String,
    /// The endpoint's name at Move. Its secret cannot be changed: for another secret, another name.
    #[arg(long, default_value = "jobs-gateway")]
    uid: String,
    /// Make it without asking.
    #[arg(long)]
    yes: bool,
}

/// Reads an address that Move can reach: a host, behind TLS but on this machine.
fn public_url(text: &str) -> Result<url::Url, String> {
    let url: url::Url = text.parse().map_err(|error| format!("{error}"))?;
    let is_here = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => return Err("it has no host".to_owned()),
    };
    if url.scheme() != "https" && !(is_here && url.scheme() == "http") {
        return Err("Move's events go over https".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a name or a password, which Move's sender would not send".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("it is a scheme and a host; the command adds the path".to_owned());
    }
    Ok(url)
}

/// Makes the endpoint, and prints its secret and where that belongs.
///
/// # Errors
/// When Move refuses it, or has one of this name.
pub fn register(args: &Register) -> Result<String, CommandError> {
    // Read here, for a message about it must not show it: it may hold a password.
    let mut url = public_url(&args.url).map_err(|problem| format!("--url: {problem}"))?;
    let loaded = args.config.load()?;
    let account = account_of(&loaded, &args.account)?;
    url.set_path(&path_of(&args.account));
    if !args.yes && !is_wanted(&args.account, &url, &args.uid)? {
        return Err("nothing was changed".into());
    }
    let secret = new_secret()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let call = Call::register_webhook(&args.uid, url.as_str(), &EVENTS, &secret);
    let reply = runtime.block_on(async {
        let upstream = app::upstream(&loaded.config).map_err(|error| causes(&error))?;
        let deadline = Instant::now() + loaded.config.server.request_timeout;
        let reply = upstream.ask::<Described>(&account, &call, deadline).await;
        reply.map_err(|error| causes(&error))
    });
    let told = secret_told(reply?, &args.uid)?;
    output::print(&format!("{told}\n"));
    let (name, variable) = (&args.account, "MOVE_WEBHOOK_SECRET");
    eprintln!(
        "The endpoint `{}` of account {name} sends to {url}. Its secret went to standard output, and is told this once: keep it \
         where {variable} comes from, and have in gateway.yaml\n\n\
         webhooks:\n  listen: 0.0.0.0:4001\n  accounts:\n    \"{name}\": {{ secrets: [\"${{{variable}}}\"] }}\n",
        args.uid
    );
    Ok(String::new())
}

fn account_of(loaded: &Loaded, id: &AccountId) -> Result<Account, CommandError> {
    let upstream = &loaded.config.upstream;
    match id {
        AccountId::Shared => Ok(Account {
            id: id.clone(),
            url: upstream.url.clone(),
            api_key: upstream.api_key.clone(),
        }),
        AccountId::Tenant(tenant) => {
            let own = loaded.policies.tenant(tenant).map(|tenant| &tenant.account);
            let own = own.filter(|account| account.id == *id);
            Ok(Account::clone(own.ok_or_else(|| format!("no tenant has the account `{id}`"))?))
        }
    }
}

/// Asks the operator. No answer is a no.
fn is_wanted(account: &AccountId, url: &url::Url, uid: &str) -> Result<bool, CommandError> {
    let ask = || {
        eprint!("Have Move send the events of account {account} to {url}, as `{uid}`? [y/N] ");
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        io::Result::Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    };
    ask().map_err(|error| error.to_string().into())
}

fn new_secret() -> Result<String, CommandError> {
    let mut key = [0; SECRET];
    getrandom::fill(&mut key).map_err(|error| error.to_string())?;
    Ok(format!("whsec_{}", STANDARD.encode(key)))
}

/// The secret that Move says the endpoint has: it may make one of its own.
fn secret_told(reply: Reply<Described>, uid: &str) -> Result<String, CommandError> {
    let Some(endpoint) = reply.value else {
        let problems = reply.errors.iter().map(|FieldError { message, .. }| message.clone());
        let problems: Vec<_> = problems.collect();
        return Err(format!("Move made no endpoint: {}", problems.join("; ")).into());
    };
    endpoint.json().root().text_of("secret").map(std::borrow::Cow::into_owned).ok_or_else(|| {
        format!(
            "Move had an endpoint `{uid}` already, and tells its secret to nobody: it sends to the new address now. For a \
             secret that is known, register another with --uid, and have the old one removed in Move's portal"
        )
        .into()
    })
}
