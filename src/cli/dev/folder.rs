//! The files that `dev` runs on: a configuration that is written at each start, and policies that are yours to edit.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::SANDBOX_KEY;
use crate::model::KeyHash;

/// The demo tenants and their keys: known to everybody, good for nothing but this.
pub const TENANTS: [(&str, &str); 2] =
    [("acme", "dev-key-of-acme"), ("globex", "dev-key-of-globex")];

/// The secret that signs the sandbox's events: as well known.
pub const WEBHOOK_SECRET: &str = "whsec_c2FuZGJveC1zYW5kYm94LXNhbmRib3gtc2FuZGJveCE=";

/// The folder that `dev` runs in.
#[derive(Debug)]
pub struct Workspace {
    path: PathBuf,
    /// True if it was made for this run, and goes with it.
    is_passing: bool,
}

impl Workspace {
    /// Takes a folder, which stays; or makes one that goes away with what is returned.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn take(folder: Option<&Path>) -> io::Result<Self> {
        if let Some(folder) = folder {
            fs::create_dir_all(folder)?;
            // As it is told, it is good from everywhere.
            return Ok(Self { path: fs::canonicalize(folder)?, is_passing: false });
        }
        let name = format!("jobs-gateway-dev-{}", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, is_passing: true })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.path.join("gateway.yaml")
    }

    /// The policies.
    pub fn policies(&self) -> PathBuf {
        self.path.join("policies")
    }

    /// The file of audit records.
    pub fn audit(&self) -> PathBuf {
        self.path.join("audit/audit.jsonl")
    }

    /// Writes the configuration of a gateway in front of this sandbox, and the policies that are not there.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn fill(
        &self,
        sandbox: &url::Url,
        (listen, admin_listen): (SocketAddr, SocketAddr),
    ) -> io::Result<()> {
        let config = format!(
            "# Written by `jobs-gateway dev` at each start. The policies beside it are yours to edit.\n\
             server: {{ listen: '{listen}', drain_delay: 0s, max_connections: 256 }}\n\
             admin: {{ listen: '{admin_listen}' }}\n\
             upstream: {{ url: '{sandbox}', api_key: '${{file:sandbox.key}}' }}\n\
             policies: ./policies\n\
             # As secret as the demo keys.\n\
             cursor_key: '${{file:cursor.key}}'\n\
             audit: {{ sinks: [{{ file: ./audit/audit.jsonl }}] }}\n\
             telemetry: {{ log: {{ format: text }} }}\n\
             # The sandbox sends events of its jobs, as Move does.\n\
             webhooks: {{ listen: '127.0.0.1:0', accounts: {{ shared: {{ secrets: ['${{file:webhook.secret}}'] }} }} }}\n"
        );
        fs::write(self.config(), config)?;
        fs::write(self.path.join("sandbox.key"), SANDBOX_KEY)?;
        fs::write(self.path.join("webhook.secret"), WEBHOOK_SECRET)?;
        fs::write(self.path.join("cursor.key"), "00".repeat(32))?;
        fs::create_dir_all(self.policies())?;
        for (tenant, key) in TENANTS {
            let path = self.policies().join(format!("{tenant}.yaml"));
            match OpenOptions::new().write(true).create_new(true).open(path) {
                Ok(mut file) => file.write_all(policy(tenant, key).as_bytes())?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if self.is_passing {
            // What cannot be removed is the system's to clear away.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn policy(tenant: &str, key: &str) -> String {
    format!(
        "# A demo tenant of `jobs-gateway dev`. Edit it: a change is in force within two seconds.\n\
         tenant: {tenant}\n\
         auth:\n  \
           api_keys:\n    \
             - id: dev\n      \
               sha256: {}   # {key}\n\
         operations: [\"*\", sharing]   # everything that a tenant may do\n\
         takes: {{ unclaimed: use }}    # the sandbox has takes that nobody made through the gateway\n\
         rate_limit:                  # as fast as you like; without these lines 50 units/s and 120 units/min\n  \
           queries: null\n  \
           mutations: null\n",
        KeyHash::of(key.as_bytes())
    )
}
