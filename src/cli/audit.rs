//! `jobs-gateway audit`

mod columns;
mod filter;
mod query;
mod replicas;
mod source;
pub mod usage;
mod verify;
mod window;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;

use crate::audit::{Hash, Head};
use crate::settings::values;
use columns::Printing;
use filter::Filter;
use replicas::Replicas;
use source::Chains;
use window::SearchWindow;

/// Verifies, searches and follows audit records.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Find any edit, removal, reordering or truncation.
    Verify {
        /// The files that are written; closed segments beside them are verified too. Of a folder, all chains in it.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// The head that was exported, COUNT:HASH; without it the file beside the records.
        #[arg(long, value_parser = head)]
        head: Option<Head>,
    },
    /// Print the records that match, in the order in which they were written. Times are UTC.
    Query {
        #[command(flatten)]
        filter: Filter,
        /// Not older than this: 15m, 1h, 7d (so long ago), or a time such as 2030-01-01T00:00:00Z.
        #[arg(long, value_parser = moment)]
        since: Option<Timestamp>,
        /// Not younger than this, written like `--since`: 1d is a day ago.
        #[arg(long, value_parser = moment)]
        until: Option<Timestamp>,
        /// At most so many, the newest.
        #[arg(long)]
        limit: Option<usize>,
        #[command(flatten)]
        printing: Printing,
        #[command(flatten)]
        chains: Chains,
        #[command(flatten)]
        replicas: Replicas,
    },
    /// Print records as they are written, until interrupted. Times are UTC.
    Tail {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        printing: Printing,
        #[command(flatten)]
        chains: Chains,
    },
}

/// A time, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    let wanted = "must be a duration such as 15m or 7d, or a time such as 2030-01-01T00:00:00Z";
    match values::duration(text) {
        Ok(ago) => Timestamp::now().checked_sub(ago).map_err(|_| wanted.to_owned()),
        Err(_) => text.parse().map_err(|_| wanted.to_owned()),
    }
}

fn head(text: &str) -> Result<Head, String> {
    let read = text.split_once(':').and_then(|(count, hash)| {
        Some(Head { count: count.parse().ok()?, hash: hash.parse::<Hash>().ok()?, first: 0 })
    });
    read.ok_or_else(|| {
        "must be COUNT:HASH as `audit verify` and /audit/head print it: a number, a colon, 64 hexadecimal digits"
            .to_owned()
    })
}

/// Runs it.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let outcome = match &args.command {
        Command::Verify { paths, head } => verify::verify(paths, *head),
        Command::Query { filter, since, until, limit, printing, chains, replicas } => {
            let window = SearchWindow { since: *since, until: *until, limit: *limit };
            query::query(filter, window, printing, chains, replicas)
        }
        Command::Tail { filter, printing, chains } => query::tail(filter, printing, chains),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
