//! `jobs-gateway dev`: the gateway and a sandbox of the Move API in one process.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use async_graphql::http::GraphiQLSource;

use super::{block_on, interrupted};
use crate::app::App;
use crate::config::Config;
use crate::model::{
    Account, AccountId, ApiKey, Clock, CredentialId, KeyHash, RootFields, Secret, Tenant, TenantId,
    UnclaimedTakes,
};
use crate::policy::{self, Snapshot};
use crate::sandbox::{Sandbox, SandboxOptions};
use crate::telemetry::{self, Format};

/// The key between the gateway and its sandbox.
const SANDBOX_KEY: &str = "sandbox-move-key";

/// The demo tenants and their keys: known to everybody, good for nothing but this.
const TENANTS: [(&str, &str); 2] = [("acme", "dev-key-of-acme"), ("globex", "dev-key-of-globex")];

/// From a film to its motion, with curl.
const JOURNEY: &str = include_str!("journey.sh");

/// Runs the gateway with a sandbox of the Move API and two demo tenants: no configuration, no
/// network.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The address of the gateway; port 0 takes any free port.
    #[arg(long, default_value = "127.0.0.1:4000")]
    listen: SocketAddr,
    /// The address of the admin endpoints.
    #[arg(long, default_value = "127.0.0.1:9090")]
    admin_listen: SocketAddr,
    /// Let the sandbox have the older `createJob`.
    #[arg(long)]
    create_job: bool,
    /// The time that a job of the sandbox takes, in seconds.
    #[arg(long, default_value_t = 30.0)]
    job_seconds: f64,
    /// Log more: a filter such as debug.
    #[arg(long, default_value = "warn")]
    log: String,
}

/// Runs until SIGTERM or SIGINT.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    if let Err(error) = telemetry::init(&args.log, Format::Text, None) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    block_on(async {
        match start(args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        }
    })
}

async fn start(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let sandbox = Sandbox::start(SandboxOptions {
        api_keys: vec![SANDBOX_KEY.to_owned()],
        create_job: args.create_job,
        step: std::time::Duration::try_from_secs_f64(args.job_seconds / 3.0)?,
        ..SandboxOptions::default()
    })
    .await?;
    let mut config = Config::new(sandbox.url(), Secret::new(SANDBOX_KEY));
    config.server.listen = args.listen;
    config.admin.listen = args.admin_listen;
    // Nobody balances load over it.
    config.server.drain_delay = std::time::Duration::ZERO;
    // As secret as the demo keys.
    config.cursor_key = Some([0; 32]);
    let page = GraphiQLSource::build()
        .endpoint("/graphql")
        .header("Authorization", TENANTS[0].1)
        .title("Jobs Gateway (dev)")
        .finish();
    let policies = demo_policies(&config)?;
    let bound = App::build(&config, policies, Clock::system(), Some(page))?.bind()?;
    announce(bound.address, bound.admin_address);
    bound.serve(interrupted()).await?;
    Ok(())
}

/// Two tenants that may do everything, under the built-in defaults.
fn demo_policies(config: &Config) -> Result<Snapshot, Box<dyn std::error::Error>> {
    let account = Arc::new(Account {
        id: AccountId::Shared,
        url: config.upstream.url.clone(),
        api_key: config.upstream.api_key.clone(),
    });
    let mut policies = Vec::new();
    for (name, key) in TENANTS {
        let mut tenant = Tenant {
            operations: RootFields::ALL,
            // The sandbox has takes that nobody made through the gateway.
            unclaimed_takes: UnclaimedTakes::Use,
            ..policy::default_tenant(&TenantId::parse(name)?, config, &account)?
        };
        // Who tries things out may do so as fast as they like.
        tenant.rate_limit.queries = None;
        tenant.rate_limit.mutations = None;
        let key = ApiKey {
            id: CredentialId::parse("dev")?,
            hash: KeyHash::of(key.as_bytes()),
            expires: None,
            operations: RootFields::ALL,
            owner: None,
            description: None,
            sources: Vec::new(),
        };
        policies.push((tenant, vec![key]));
    }
    Ok(Snapshot::new(policies, "dev".to_owned()))
}

fn announce(address: SocketAddr, admin: SocketAddr) {
    let (acme, key) = TENANTS[0];
    let mut text = format!(
        "Jobs Gateway, with a sandbox of the Move API\n
  GraphQL    http://{address}/graphql  (and Move's own path, /ugc/graphql)
  GraphiQL   http://{address}/
  health     http://{admin}/readyz\n\n"
    );
    for (name, key) in TENANTS {
        text.push_str(&format!("  tenant {name:<8} key {key}\n"));
    }
    text.push_str(&format!(
        "\nFrom a film to its motion, as {acme}; film.mp4 is any film of yours:\n\n"
    ));
    text.push_str(
        &JOURNEY.replace("URL", &format!("http://{address}/graphql")).replace("KEY", key),
    );
    text.push_str("\nStop with Ctrl-C.\n");
    // Nobody has to read it: a closed pipe is no reason to stop.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
