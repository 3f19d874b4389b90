//! `Job`

use std::sync::Arc;

use apollo_compiler::resolvers::{ObjectValue, ResolveInfo, ResolvedValue};
use serde_json::json;

use super::{Resolved, TakeObject, World, json_value, optional, progress};
use crate::sandbox::store::job::Job;

/// `Job`
pub struct JobObject<'a> {
    world: &'a World<'a>,
    job: Arc<Job>,
}

impl<'w> JobObject<'w> {
    /// A job.
    pub const fn new(world: &'w World<'w>, job: Arc<Job>) -> Self {
        Self { world, job }
    }
}

impl ObjectValue for JobObject<'_> {
    fn type_name(&self) -> &'static str {
        "Job"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        let Job { id, created, metadata, name, take, inputs, rig, outputs, .. } = &*self.job;
        let (state, percentage) = self.job.progress(self.world.pace());
        match info.field_name() {
            "id" => Ok(ResolvedValue::leaf(id.as_str())),
            "created" => Ok(ResolvedValue::leaf(created.to_string())),
            "metadata" => Ok(optional(metadata.as_deref())),
            "name" => Ok(optional(name.as_deref())),
            "state" => Ok(ResolvedValue::leaf(state.name())),
            "progress" => Ok(progress((state, percentage))),
            "client" => Ok(self.world.client()),
            "take" => {
                let take = self.world.account.borrow().takes.get(take).cloned();
                Ok(take.map_or_else(ResolvedValue::null, |take| {
                    ResolvedValue::object(TakeObject::new(self.world, take))
                }))
            }
            "inputs" => Ok(json_value("JobInputs", inputs)),
            "rig" => Ok(rig.as_ref().map_or_else(ResolvedValue::null, |name| {
                json_value("Rig", &json!({"name": name}))
            })),
            "outputs" if state.has_outputs() => {
                let files = self.world.account.borrow().outputs(id, outputs);
                Ok(self.world.files(files))
            }
            "outputs" => Ok(self.world.files(Vec::new())),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}
