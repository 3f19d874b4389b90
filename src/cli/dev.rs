//! `jobs-gateway dev`: the gateway and a sandbox of the Move API in one process.

mod folder;
mod page;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::output::{self, CommandError};
use super::sandbox::{Emulation, SANDBOX_KEY};
use super::{block_on, interrupted};
use crate::app::{self, App};
use crate::model::Clock;
use crate::reload::{ConfigSource, Loaded};
use crate::telemetry::{self, Format};
use folder::{TENANTS, WEBHOOK_SECRET, Workspace};

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
    /// The folder of its files; policies that are there stay as they are. Without, one that ends with the process.
    #[arg(long)]
    folder: Option<PathBuf>,
    #[command(flatten)]
    emulation: Emulation,
    /// Log more: a filter such as debug.
    #[arg(long, default_value = "warn,jobs_gateway::reload=info")]
    log: String,
}

/// Runs until SIGTERM or SIGINT.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let _log = match telemetry::init(&args.log, Format::Text, None) {
        Ok(log) => log,
        Err(error) => return output::finish(Err(error.to_string().into())),
    };
    block_on(async { output::finish(start(args).await.map(|()| String::new())) })
}

async fn start(args: &Args) -> Result<(), CommandError> {
    let interrupted = interrupted();
    let told = |error: &dyn std::fmt::Display| CommandError::from(error.to_string());
    let workspace = Workspace::take(args.folder.as_deref())
        .map_err(|error| format!("cannot make the folder of its files: {error}"))?;
    let sandbox = args.emulation.start(([127, 0, 0, 1], 0).into()).await?;
    workspace
        .fill(&sandbox.url(), (args.listen, args.admin_listen))
        .map_err(|error| format!("cannot write into {}: {error}", workspace.path().display()))?;
    let clock = Clock::system();
    let source = ConfigSource::new(&workspace.config(), Arc::new(|name| std::env::var(name).ok()));
    let Loaded { config, policies, warnings, basis } = source.load(clock.now())?;
    for warning in &warnings.0 {
        tracing::warn!("{}", warning.message);
    }
    let app = App::build(&config, policies, clock, Some(page::graphiql()));
    let app = app.map_err(|error| told(&error))?.reloading_from(source, basis);
    let bound = app.bind().map_err(|error| by_its_flag(&error))?;
    if let Some(address) = bound.webhooks_address {
        sandbox.send_events(&format!("http://{address}/webhooks/move/shared"), WEBHOOK_SECRET);
    }
    output::print(&announcement(bound.address, bound.admin_address, &workspace));
    bound.serve(interrupted).await.map_err(|error| told(&error))
}

/// Says which flag names an address that cannot be listened on.
fn by_its_flag(error: &app::Error) -> CommandError {
    let app::Error::Listen { address, key, source } = error else {
        return error.to_string().into();
    };
    let flag = if *key == "admin.listen" { "--admin-listen" } else { "--listen" };
    format!("cannot listen on {address}: {source}; {flag} names another address").into()
}

fn announcement(address: SocketAddr, admin: SocketAddr, workspace: &Workspace) -> String {
    let (acme, key) = TENANTS[0];
    let (policies, audit) = (workspace.policies(), workspace.audit());
    let mut text = format!(
        "Jobs Gateway, with a sandbox of the Move API

  GraphQL    http://{address}/graphql  (and Move's own path, /ugc/graphql)
  GraphiQL   http://{address}/
  health     http://{admin}/readyz
  metrics    http://{admin}/metrics
  policies   {}  (edit them: a change is in force within two seconds)
  audit      jobs-gateway audit tail --file {}

",
        policies.display(),
        audit.display()
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
    text
}
