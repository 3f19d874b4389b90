//! The sender of telemetry, as OpenTelemetry names it.

use std::sync::LazyLock;

use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;

/// Who the data is of; `OTEL_RESOURCE_ATTRIBUTES` may say more.
#[must_use]
pub fn resource() -> Resource {
    const INSTANCE: Key = Key::from_static_str("service.instance.id");
    static RESOURCE: LazyLock<Resource> = LazyLock::new(|| {
        let mut own = vec![KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
        if Resource::builder().build().get(&INSTANCE).is_none() {
            // Each replica counts for itself: without names of their own, they would be one to a
            // collector, whose counters jump.
            own.push(KeyValue::new(INSTANCE, uuid::Uuid::new_v4().to_string()));
        }
        Resource::builder().with_service_name("jobs-gateway").with_attributes(own).build()
    });
    RESOURCE.clone()
}
