//! `HumanVolume`

use std::sync::Arc;

use apollo_compiler::resolvers::{ObjectValue, ResolveInfo, ResolvedValue};

use super::{Resolved, World, json_value, optional, progress};
use crate::sandbox::store::volume::{OUTPUTS, Volume};

/// `HumanVolume`
pub struct VolumeObject<'a> {
    world: &'a World<'a>,
    volume: Arc<Volume>,
}

impl<'w> VolumeObject<'w> {
    /// A volume.
    pub const fn new(world: &'w World<'w>, volume: Arc<Volume>) -> Self {
        Self { world, volume }
    }
}

impl ObjectValue for VolumeObject<'_> {
    fn type_name(&self) -> &'static str {
        "HumanVolume"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        let Volume { id, created, metadata, name, area_type, human_height, .. } = &*self.volume;
        let (state, percentage) = self.volume.progress(self.world.pace());
        match info.field_name() {
            "id" => Ok(ResolvedValue::leaf(id.as_str())),
            "created" => Ok(ResolvedValue::leaf(created.to_string())),
            "metadata" => Ok(optional(metadata.as_deref())),
            // Never null: Move's Python client refuses that.
            "name" => Ok(ResolvedValue::leaf(name.as_deref().unwrap_or_default())),
            "areaType" => Ok(ResolvedValue::leaf(area_type.as_str())),
            "humanHeight" => Ok(ResolvedValue::leaf(*human_height)),
            "clipWindow" => Ok(json_value("ClipWindowJobInputType", &self.volume.clip_window)),
            "state" => Ok(ResolvedValue::leaf(state.name())),
            "progress" => Ok(progress((state, percentage))),
            "client" => Ok(self.world.client()),
            "sources" => Ok(self.world.sources(&self.volume.sources)),
            "outputs" if state.has_outputs() => {
                let files = self.world.account.borrow().outputs(id, &OUTPUTS);
                Ok(self.world.files(files))
            }
            "outputs" => Ok(self.world.files(Vec::new())),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

impl World<'_> {
    /// Resolves a volume by its id; null if there is none.
    pub fn volume(&self, id: &str) -> ResolvedValue<'_> {
        let volume = self.account.borrow().volumes.get(id).cloned();
        volume.map_or_else(ResolvedValue::null, |volume| {
            ResolvedValue::object(VolumeObject::new(self, volume))
        })
    }
}
