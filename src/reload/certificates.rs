//! Certificates and authorities that the configuration names.

use std::path::Path;

use crate::config::Config;
use crate::http::Tls;
use crate::settings::{Diagnostic, Sources};

/// Reports certificates and authorities that a start could not use.
pub fn check_certificates(config: &Config, sources: &Sources<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if let Some(files) = &config.server.tls {
        for path in
            [Some(&files.cert), Some(&files.key), files.client_ca.as_ref()].into_iter().flatten()
        {
            // The listener reads them itself; here they are only noted as read.
            let _ = sources.bytes(path);
        }
        if let Err(problem) = Tls::open(files.clone()) {
            found.push(Diagnostic::error(format!("`server.tls`: {problem}"), None));
        }
    }
    for (key, path) in fixed_files(config) {
        let problem = match sources
            .bytes(path)
            .map(|pem| reqwest::Certificate::from_pem_bundle(&pem))
        {
            Ok(Ok(authorities)) if authorities.is_empty() => "it holds no certificate".to_owned(),
            Ok(Ok(_)) => continue,
            Ok(Err(_)) => "it is no PEM file of certificates".to_owned(),
            Err(error) => error.to_string(),
        };
        found.push(Diagnostic::error(format!("`{key}`: {}: {problem}", path.display()), None));
    }
    found
}

/// The files that are read at start alone, and the keys that name them.
pub fn fixed_files(config: &Config) -> impl Iterator<Item = (&'static str, &Path)> {
    let collector = config.telemetry.otlp.as_ref().and_then(|otlp| otlp.ca.as_deref());
    [("upstream.ca", config.upstream.ca.as_deref()), ("telemetry.otlp.ca", collector)]
        .into_iter()
        .filter_map(|(key, path)| Some((key, path?)))
}
