//! A page for people beside the endpoint: its files, and the way of a browser to it.

use std::io::Read as _;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::read::GzDecoder;

/// The sources of a page: this gateway alone. Styles may be inline, as editors place their marks so.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The files of a page, one of them at `/`.
#[derive(Debug, Clone)]
pub struct Site(Vec<SiteFile>);

/// A file of a page.
#[derive(Debug, Clone)]
pub struct SiteFile {
    path: &'static str,
    media_type: &'static str,
    bytes: Bytes,
}

impl SiteFile {
    /// A file as it is.
    #[must_use]
    pub const fn plain(path: &'static str, media_type: &'static str, bytes: &'static [u8]) -> Self {
        Self { path, media_type, bytes: Bytes::from_static(bytes) }
    }

    /// A file that is compressed in the binary. It is sent as its reader takes it.
    #[must_use]
    pub fn gzip(path: &'static str, media_type: &'static str, compressed: &[u8]) -> Self {
        let mut bytes = Vec::new();
        if let Err(error) = GzDecoder::new(compressed).read_to_end(&mut bytes) {
            tracing::error!(%error, path, "a file of the binary cannot be read");
        }
        Self { path, media_type, bytes: bytes.into() }
    }
}

impl Site {
    /// A page of these files.
    #[must_use]
    pub const fn new(files: Vec<SiteFile>) -> Self {
        Self(files)
    }

    /// The routes of its files.
    pub(super) fn router(self) -> Router {
        self.0.into_iter().fold(Router::new(), |router, SiteFile { path, media_type, bytes }| {
            let head = [
                (CONTENT_TYPE, media_type),
                (CONTENT_SECURITY_POLICY, POLICY),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            router.route(path, get(async move || (head, bytes.clone())))
        })
    }
}

/// Leads a browser that was given the endpoint's URL to the page.
pub async fn lead_to_page(request: Request, next: Next) -> Response {
    let asks_nothing = request.method() == Method::GET && request.uri().query().is_none();
    if asks_nothing && wants_html(request.headers()) {
        return Redirect::to("/").into_response();
    }
    next.run(request).await
}

fn wants_html(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|ranges| ranges.to_ascii_lowercase().contains("text/html"))
}
