//! The Jobs schema as Rust types. One struct is the schema (async-graphql's derives), Move's answer
//! (serde) and what is cached, so the three cannot drift apart.
//!
//! A field that the caller did not select is absent: `None`, or an empty [`Required`] where the
//! schema promises a value. Names, nullability and deprecations are Move's (`schema/move.graphql`);
//! `Job.percentageComplete` is the one field Move's documentation has and its schema lacks.

mod input;
mod interfaces;
mod job;
mod required;
mod scalars;
mod take;

pub use input::{ClipWindowInput, MocapModel, OptionsInput, OutputType, SortDirection};
pub use interfaces::{ClientOwner, Identifier, InternalFileSchema, Page, Timestamped};
pub use job::{
    AdditionalFile, Client, ClipWindow, File, Job, JobInputs, JobOptions, JobProgress, JobsPage,
    Rig,
};
pub use required::{Malformed, MaybeKnown, Required};
pub use scalars::{AwsDateTime, AwsJson, AwsUrl, JsonOrObject};
pub use take::{
    AreaType, CameraSettings, ClapWindow, HumanVolume, JobState, Source, SourceFormat, SyncMethod,
    Take, TakeType, TimeCodeSync, Volume,
};
