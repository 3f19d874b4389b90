//! The configuration that a command reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::Clock;
use crate::reload::{ConfigSource, Loaded};
use crate::settings::Diagnostics;

/// The configuration file, as every command takes it.
#[derive(Debug, clap::Args)]
pub struct ConfigFile {
    /// The configuration.
    #[arg(
        long = "config",
        env = "JOBS_GATEWAY_CONFIG",
        default_value = "gateway.yaml",
        value_name = "FILE"
    )]
    path: PathBuf,
}

impl ConfigFile {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file with the process's environment.
    pub fn source(&self) -> ConfigSource {
        ConfigSource::new(&self.path, Arc::new(|name| std::env::var(name).ok()))
    }

    /// Reads and checks it with all policies.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(&self) -> Result<Loaded, Diagnostics> {
        self.source().load(Clock::system().now())
    }
}
