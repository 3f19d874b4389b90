//! `WebhookEndpoint`

use apollo_compiler::resolvers::{ObjectValue, ResolveInfo};
use serde_json::Value;

use super::{Resolved, World, json_value};

/// `WebhookEndpoint`
pub struct EndpointObject<'a> {
    /// The account and its surroundings.
    pub world: &'a World<'a>,
    /// It as JSON, without `client`.
    pub endpoint: Value,
}

impl ObjectValue for EndpointObject<'_> {
    fn type_name(&self) -> &'static str {
        "WebhookEndpoint"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        match info.field_name() {
            "client" => Ok(self.world.client()),
            field => Ok(json_value("String", &self.endpoint[field])),
        }
    }
}
