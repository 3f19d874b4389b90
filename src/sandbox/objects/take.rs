//! `Take` and its sources.

use std::sync::Arc;

use apollo_compiler::resolvers::{ObjectValue, ResolveInfo, ResolvedValue};
use serde_json::json;

use super::{Resolved, World, json_value, optional};
use crate::sandbox::store::take::{Source, Take};

/// `Take`
pub struct TakeObject<'a> {
    world: &'a World<'a>,
    take: Arc<Take>,
}

impl<'w> TakeObject<'w> {
    /// A take.
    pub const fn new(world: &'w World<'w>, take: Arc<Take>) -> Self {
        Self { world, take }
    }
}

impl ObjectValue for TakeObject<'_> {
    fn type_name(&self) -> &'static str {
        "Take"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        let Take { id, created, metadata, name, kind, sources, .. } = &*self.take;
        match info.field_name() {
            "id" => Ok(ResolvedValue::leaf(id.as_str())),
            "created" => Ok(ResolvedValue::leaf(created.to_string())),
            "metadata" => Ok(optional(metadata.as_deref())),
            "name" => Ok(optional(name.as_deref())),
            "takeType" => Ok(ResolvedValue::leaf(kind.name())),
            "client" => Ok(self.world.client()),
            "sources" => Ok(self.world.sources(sources)),
            "syncMethod" => Ok(json_value("SyncMethod", &self.take.sync_method)),
            "videoFile" => Ok(self.world.file(self.take.video_file.as_deref().unwrap_or_default())),
            "volume" => Ok(self.world.volume(self.take.volume.as_deref().unwrap_or_default())),
            "additionalFiles" => {
                let account = self.world.account.borrow();
                let files = self.take.additional_files.iter().filter_map(|(format, id)| {
                    Some((format.clone(), Arc::clone(account.files.get(id)?)))
                });
                Ok(self.world.files(files.collect()))
            }
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

/// `Source`
struct SourceObject<'a> {
    world: &'a World<'a>,
    source: Source,
}

impl ObjectValue for SourceObject<'_> {
    fn type_name(&self) -> &'static str {
        "Source"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        let Source { device_label, format, lens, file } = &self.source;
        match info.field_name() {
            "deviceLabel" => Ok(ResolvedValue::leaf(device_label.as_str())),
            "format" => Ok(ResolvedValue::leaf(format.as_str())),
            "file" => Ok(self.world.file(file)),
            "cameraSettings" => Ok(lens.as_ref().map_or_else(ResolvedValue::null, |lens| {
                json_value("CameraSettings", &json!({"lens": lens}))
            })),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

impl World<'_> {
    /// Resolves the sources of a take or volume.
    pub fn sources(&self, sources: &[Source]) -> ResolvedValue<'_> {
        let object = move |source| ResolvedValue::object(SourceObject { world: self, source });
        let sources = sources.to_vec();
        ResolvedValue::list(sources.into_iter().map(object))
    }
}
