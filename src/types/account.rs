//! What the account has besides its entities: its catalogue, links out of it, and endpoints that hear of it.

use async_graphql::SimpleObject;

use super::{AwsDateTime, AwsJson, AwsUrl, CameraSettings, Client, File, Rig};

/// A link by which anybody can read a file.
#[derive(Debug, Clone, SimpleObject)]
pub struct ShareCode {
    /// The code: whoever has it can read the file.
    pub code: String,
    /// When it was created.
    pub created: Option<AwsDateTime>,
    /// When it ends.
    pub expires: Option<AwsDateTime>,
    /// The file.
    pub file: Option<File>,
    /// The page that takes the code.
    pub url: Option<AwsUrl>,
}

/// An endpoint that hears of what happens.
#[derive(Debug, Clone, SimpleObject)]
pub struct WebhookEndpoint {
    /// The client it belongs to.
    pub client: Client,
    /// For people.
    pub description: Option<String>,
    /// What it hears of.
    pub events: Option<Vec<String>>,
    /// The owner's own value.
    pub metadata: Option<AwsJson>,
    /// What signs what is sent to it.
    pub secret: Option<String>,
    /// Its name.
    pub uid: String,
    /// Where it is.
    pub url: String,
}

/// The lenses that cameras may have.
#[derive(Debug, Clone, SimpleObject)]
pub struct CameraSettingsPage {
    /// The cursor of the next page.
    pub after: Option<AwsJson>,
    /// How many items a page holds at most.
    pub first: Option<i32>,
    /// The lenses.
    pub items: Option<Vec<Option<CameraSettings>>>,
}

/// The rigs that motion can be fitted to.
#[derive(Debug, Clone, SimpleObject)]
pub struct RigsPage {
    /// The cursor of the next page.
    pub after: Option<AwsJson>,
    /// How many items a page holds at most.
    pub first: Option<i32>,
    /// The rigs.
    pub items: Option<Vec<Option<Rig>>>,
}
