//! The schema, defined once, as Rust types: async-graphql's derives make its definition of them
//! ([`sdl`]), which is all that they are for.
//!
//! Names, nullability and deprecations are Move's (`schema/move.graphql`); `Job.percentageComplete` is the one
//! field Move's documentation has and its schema lacks. `JobFilter` and `JobsPage.totalCount` are the gateway's own.

mod account;
mod input;
mod interfaces;
mod job;
mod mutation;
mod query;
mod scalars;
mod subscription;
mod take;

use async_graphql::{Error, SDLExportOptions, Schema};

pub use account::{CameraSettingsPage, RigsPage, ShareCode, WebhookEndpoint};
pub use input::{
    CameraSettingsInput, ClapWindowInput, ClipWindowInput, JobFilter, JobMetadataFilter,
    MocapModel, OptionsInput, OutputType, SortDirection, SourceInput, SyncMethodInput,
    TimeCodeSyncInput,
};
pub use interfaces::{ClientOwner, Identifier, InternalFileSchema, Page, Timestamped};
pub use job::{
    AdditionalFile, Client, ClipWindow, File, Job, JobInputs, JobOptions, JobProgress, JobsPage,
    Rig,
};
pub use mutation::Mutation;
pub use query::Query;
pub use scalars::{AwsDateTime, AwsJson, AwsUrl};
pub use subscription::Subscription;
pub use take::{
    AreaType, CameraSettings, ClapWindow, HumanVolume, JobState, Source, SourceFormat, SyncMethod,
    Take, TakeType, TakesPage, TimeCodeSync, Volume, VolumePage,
};

/// A root field is defined here and answered by `graphql`'s executor: async-graphql's own never runs.
fn defined() -> Error {
    Error::new("this schema only defines")
}

/// The schema in the schema definition language, as `jobs-gateway schema` prints it; with
/// `federation` as a subgraph of Apollo Federation 2.
#[must_use]
pub fn sdl(federation: bool) -> String {
    let options = SDLExportOptions::new()
        .sorted_fields()
        .sorted_enum_items()
        .prefer_single_line_descriptions();
    let options = if federation { options.federation() } else { options };
    Schema::build(Query, Mutation, Subscription)
        .register_output_type::<Identifier>()
        .register_output_type::<Timestamped>()
        .register_output_type::<InternalFileSchema>()
        .register_output_type::<ClientOwner>()
        .register_output_type::<Page>()
        .finish()
        .sdl_with_options(options)
}
