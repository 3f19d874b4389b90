//! TLS on the listener that internal apps use: certificates are read again when their files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::TlsFiles;
use crate::telemetry::metrics;

/// The longest time a handshake may take, within the time that a connection has to its first whole head.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The interval at which the files are looked at: a certificate is rotated weeks before it ends.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is not what it must be.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// The problem with it.
        problem: String,
    },
    /// Key, certificate and authority do not go together.
    #[error("the certificates of `server.tls` cannot be used: {0}")]
    Unusable(String),
}

/// The contents of the files.
#[derive(Debug, PartialEq, Eq)]
struct Contents(Vec<Vec<u8>>);

/// Takes callers' connections.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn open(files: TlsFiles) -> Result<Self, Error> {
        let config = ArcSwap::from_pointee(server_config(&files)?);
        Ok(Self { files, config })
    }

    /// The handshake; `None` if there is none within ten seconds.
    pub async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.config.load_full());
        timeout(HANDSHAKE, acceptor.accept(stream)).await.ok()?.ok()
    }

    /// Uses new certificates as soon as the files have changed, until it is aborted. Connections
    /// keep those they began with; files that cannot be used change nothing.
    pub async fn follow(&self) {
        let mut known = contents(&self.files);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let current = contents(&self.files);
            if current == known {
                continue;
            }
            known = current;
            match server_config(&self.files) {
                Ok(config) => {
                    self.config.store(Arc::new(config));
                    tracing::info!("the certificates of `server.tls` were read again");
                }
                Err(error) => tracing::error!(%error, "the certificates stay as they were"),
            }
        }
    }
}

/// A file that cannot be read counts as empty: it is told when it is used.
fn contents(files: &TlsFiles) -> Contents {
    let files = [Some(&files.cert), Some(&files.key), files.client_ca.as_ref()];
    let read = |path: &PathBuf| std::fs::read(path).unwrap_or_default();
    Contents(files.into_iter().flatten().map(read).collect())
}

fn server_config(files: &TlsFiles) -> Result<ServerConfig, Error> {
    let unusable = |error: &dyn std::fmt::Display| Error::Unusable(error.to_string());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates(&files.cert)?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| problem(&files.key, &error))?;
    if let Some(expires) = chain.first().and_then(|cert| expiry(cert)) {
        metrics::certificate_expiry(expires);
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut authorities = RootCertStore::empty();
            for authority in certificates(path)? {
                authorities.add(authority).map_err(|error| problem(path, &error))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(authorities.into(), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|e| unusable(&e))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn problem(path: &Path, problem: &dyn std::fmt::Display) -> Error {
    Error::File { path: path.to_owned(), problem: problem.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all = CertificateDer::pem_file_iter(path).map_err(|error| problem(path, &error))?;
    let all: Vec<_> = all.collect::<Result<_, _>>().map_err(|error| problem(path, &error))?;
    if all.is_empty() {
        return Err(problem(path, &"it holds no certificate"));
    }
    Ok(all)
}

/// Returns the moment at which a certificate expires, in seconds since 1970.
fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
