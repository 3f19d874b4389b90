//! Pages of listings.

use std::sync::Arc;

use apollo_compiler::resolvers::{ObjectValue, ResolveInfo, ResolvedValue};
use serde_json::Value;

use super::{JobObject, Resolved, TakeObject, VolumeObject, World, json_value, optional};
use crate::sandbox::store::job::Job;
use crate::sandbox::store::take::Take;
use crate::sandbox::store::volume::Volume;

/// The items of a page.
pub enum Items {
    /// `JobsPage`
    Jobs(Vec<Arc<Job>>),
    /// `TakesPage`
    Takes(Vec<Arc<Take>>),
    /// `VolumePage`
    Volumes(Vec<Arc<Volume>>),
    /// `RigsPage`, as JSON.
    Rigs(Value),
    /// `CameraSettingsPage`, as JSON.
    CameraSettings(Value),
}

/// A page.
pub struct PageObject<'a> {
    /// The account and its surroundings.
    pub world: &'a World<'a>,
    /// The size that was asked for.
    pub first: i64,
    /// The cursor of the next page.
    pub after: Option<String>,
    /// The items.
    pub items: Items,
}

impl PageObject<'_> {
    fn items(&self) -> ResolvedValue<'_> {
        let world = self.world;
        match &self.items {
            Items::Jobs(jobs) => ResolvedValue::list(
                jobs.iter()
                    .map(|job| ResolvedValue::object(JobObject::new(world, Arc::clone(job)))),
            ),
            Items::Takes(takes) => ResolvedValue::list(
                takes
                    .iter()
                    .map(|take| ResolvedValue::object(TakeObject::new(world, Arc::clone(take)))),
            ),
            Items::Volumes(volumes) => {
                ResolvedValue::list(volumes.iter().map(|volume| {
                    ResolvedValue::object(VolumeObject::new(world, Arc::clone(volume)))
                }))
            }
            Items::Rigs(rigs) => json_value("Rig", rigs),
            Items::CameraSettings(settings) => json_value("CameraSettings", settings),
        }
    }
}

impl ObjectValue for PageObject<'_> {
    fn type_name(&self) -> &'static str {
        match self.items {
            Items::Jobs(_) => "JobsPage",
            Items::Takes(_) => "TakesPage",
            Items::Volumes(_) => "VolumePage",
            Items::Rigs(_) => "RigsPage",
            Items::CameraSettings(_) => "CameraSettingsPage",
        }
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        match info.field_name() {
            "first" => Ok(ResolvedValue::leaf(self.first)),
            "after" => Ok(optional(self.after.as_deref())),
            "items" => Ok(self.items()),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}
