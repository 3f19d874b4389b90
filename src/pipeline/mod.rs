//! The way of one GraphQL request.

mod arrival;
mod caching;
mod charge;
mod credential;
mod emission;
mod execution;
mod handler;
mod service;

use std::sync::Arc;

use axum::Router;
use axum::routing::any;

pub use service::{ReloadableState, Service};

use crate::http::{self, Endpoints};

/// The router that internal apps meet.
pub fn router(service: Arc<Service>, surface: Endpoints) -> Router {
    http::router(surface, &any(handler::handle).with_state(service))
}
