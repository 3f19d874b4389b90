//! The parts of a job that a query selects, written as JSON: what the engine does for documents that ask
//! for one job, without its futures and trees of values. A property test holds it to the engine's answers.

use async_graphql::ID;
use serde::Serialize;

use crate::operation::Field;
use crate::types::{
    AdditionalFile, AwsDateTime, AwsJson, AwsUrl, CameraSettings, ClapWindow, Client, ClipWindow,
    File, HumanVolume, Job, JobInputs, JobOptions, JobProgress, MaybeKnown, Required, Rig, Source,
    SyncMethod, Take, TimeCodeSync, Volume,
};

/// A value that cannot be written without more ado, such as a promised field that is missing: the
/// engine knows what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedsEngine;

/// What can be part of a job.
pub trait Project {
    /// Writes what is selected.
    fn project(&self, selected: &[Field], into: &mut Vec<u8>) -> Result<(), NeedsEngine>;
}

impl<T: Project> Project for Box<T> {
    fn project(&self, selected: &[Field], into: &mut Vec<u8>) -> Result<(), NeedsEngine> {
        T::project(self, selected, into)
    }
}

impl<T: Project> Project for Option<T> {
    fn project(&self, selected: &[Field], into: &mut Vec<u8>) -> Result<(), NeedsEngine> {
        match self {
            Some(value) => value.project(selected, into),
            None => leaf(&(), into),
        }
    }
}

impl<T: Project> Project for Required<T> {
    fn project(&self, selected: &[Field], into: &mut Vec<u8>) -> Result<(), NeedsEngine> {
        self.get().ok_or(NeedsEngine)?.project(selected, into)
    }
}

impl<T: Project> Project for Vec<T> {
    fn project(&self, selected: &[Field], into: &mut Vec<u8>) -> Result<(), NeedsEngine> {
        into.push(b'[');
        for (i, item) in self.iter().enumerate() {
            if i > 0 {
                into.push(b',');
            }
            item.project(selected, into)?;
        }
        into.push(b']');
        Ok(())
    }
}

impl<E: Serialize> Project for MaybeKnown<E> {
    fn project(&self, _: &[Field], into: &mut Vec<u8>) -> Result<(), NeedsEngine> {
        match self {
            Self::Known(value) => leaf(value, into),
            Self::Unknown(_) => Err(NeedsEngine),
        }
    }
}

impl Project for Volume {
    fn project(&self, selected: &[Field], into: &mut Vec<u8>) -> Result<(), NeedsEngine> {
        let Self::HumanVolume(volume) = self;
        volume.project(selected, into)
    }
}

fn leaf(value: &impl Serialize, into: &mut Vec<u8>) -> Result<(), NeedsEngine> {
    serde_json::to_writer(into, value).map_err(|_| NeedsEngine)
}

macro_rules! leaves {
    ($($type:ty),*) => {
        $(impl Project for $type {
            fn project(&self, _: &[Field], into: &mut Vec<u8>) -> Result<(), NeedsEngine> {
                leaf(self, into)
            }
        })*
    };
}

leaves!(String, bool, i32, f64, ID, AwsDateTime, AwsJson, AwsUrl);

macro_rules! objects {
    ($($type:ident $(as $typename:literal)? {
        $($field:ident $(as $name:literal)?,)*
        $(; $computed:literal = $compute:expr)?
    })*) => {
        $(impl Project for $type {
            fn project(&self, selected: &[Field], into: &mut Vec<u8>) -> Result<(), NeedsEngine> {
                into.push(b'{');
                for (i, Field { key, name, below }) in selected.iter().enumerate() {
                    // A key is a GraphQL name: nothing in it needs an escape.
                    into.extend_from_slice(if i > 0 { b",\"" } else { b"\"" });
                    into.extend_from_slice(key.as_bytes());
                    into.extend_from_slice(b"\":");
                    match &**name {
                        "__typename" => leaf(&objects!(@name $type $($typename)?), into)?,
                        $(objects!(@name $field $($name)?) => self.$field.project(below, into)?,)*
                        $($computed => $compute(self).project(below, into)?,)?
                        _ => return Err(NeedsEngine),
                    }
                }
                into.push(b'}');
                Ok(())
            }
        })*
    };
    (@name $own:ident $name:literal) => { $name };
    (@name $own:ident) => { stringify!($own) };
}

objects! {
    Job {
        client, created, id, inputs, metadata, name, outputs, progress, rig, state, take,
        ; "percentageComplete" = |job: &Self| job.progress.as_ref().and_then(|p| p.percentage_complete)
    }
    JobInputs { clip_window as "clipWindow", number_of_actors as "numberOfActors", options, }
    ClipWindow as "ClipWindowJobInputType" { end_time as "endTime", start_time as "startTime", }
    JobOptions as "OptionsInputType" {
        floor_plane as "floorPlane", mocap_model as "mocapModel", track_ball as "trackBall",
        track_fingers as "trackFingers", track_jersey_numbers as "trackJerseyNumbers",
    }
    AdditionalFile { file, format, key, }
    JobProgress { percentage_complete as "percentageComplete", state, }
    Rig { name, }
    Client { created, id, metadata, name, portal, }
    File {
        client, created, id, metadata, name, presigned_url as "presignedUrl",
        thumbnail_url as "thumbnailUrl", file_type as "type",
    }
    Take {
        additional_files as "additionalFiles", client, created, id, metadata, name, sources,
        sync_method as "syncMethod", take_type as "takeType", video_file as "videoFile", volume,
    }
    Source { camera_settings as "cameraSettings", device_label as "deviceLabel", file, format, }
    CameraSettings { lens, }
    SyncMethod { clap_window as "clapWindow", timecode_sync as "timecodeSync", }
    ClapWindow { end_time as "endTime", start_time as "startTime", }
    TimeCodeSync { use_timecode as "useTimecode", }
    HumanVolume {
        area_type as "areaType", clip_window as "clipWindow", progress, client, created,
        human_height as "humanHeight", id, metadata, name, outputs, sources, state,
    }
}

#[cfg(test)]
mod tests;
