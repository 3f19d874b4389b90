//! The root fields: what a call does in an account.

mod account;
mod arguments;
mod files;
mod jobs;
mod takes;
mod volumes;

use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo};
use serde_json::{Value, json};

use super::objects::{Resolved, World};
use arguments::Arguments;

/// An AppSync error. The engine carries one text for an error: this, as JSON.
pub fn fail(error_type: &str, message: &str) -> FieldError {
    carry(&json!({
        "errorType": error_type, "errorInfo": null, "data": null, "message": message,
    }))
}

fn carry(error: &Value) -> FieldError {
    FieldError { message: error.to_string() }
}

fn not_found() -> FieldError {
    fail("MoveNotFoundError", "Resource not found in move-ugc-api.")
}

fn invalid(what: &str) -> FieldError {
    fail("ValidationError", &format!("Validation error of type WrongType: {what}"))
}

/// `Query` or `Mutation`.
pub struct Root<'a> {
    /// Which of them.
    pub type_name: &'static str,
    /// The account, and what else resolvers need to know.
    pub world: &'a World<'a>,
}

impl ObjectValue for Root<'_> {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        let (world, arguments) = (self.world, Arguments(info.arguments()));
        match info.field_name() {
            "getJob" => jobs::get(world, arguments.text("jobId")),
            "listJobs" => jobs::list(world, arguments),
            "createJob" | "createSingleCamJob" | "createMultiCamJob" => {
                jobs::create(world, arguments)
            }
            "updateJob" => jobs::update(world, arguments),
            "getTake" => takes::get(world, arguments.text("takeId")),
            "listTakes" => takes::list(world, arguments),
            "createSingleCamTake" => takes::create_single_cam(world, arguments),
            "createMultiCamTake" => takes::create_multi_cam(world, arguments),
            "updateTake" => takes::update(world, arguments),
            "getFile" => files::get(world, arguments.text("fileId")),
            "createFile" => files::create(world, arguments),
            "updateFile" => files::update(world, arguments),
            "generateShareCode" => files::share(world, arguments.text("fileId")),
            "getVolume" => volumes::get(world, arguments.text("id")),
            "listVolumes" => volumes::list(world, arguments),
            "createVolumeWithHuman" => volumes::create(world, arguments),
            "listRigs" => Ok(account::rigs(world)),
            "listCameraSettings" => Ok(account::camera_settings(world)),
            "client" => Ok(world.client()),
            "updateClient" => Ok(account::update_client(world, arguments.text("metadata"))),
            "upsertWebhookEndpoint" => account::upsert_endpoint(world, arguments),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}
