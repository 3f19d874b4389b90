//! The kinds of things that Move's API keeps.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of thing that one query reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// The processing of a take into motion data.
    Job,
    /// A recording.
    Take,
    /// A file: one that a tenant made, or one of a job, take or volume.
    File,
    /// A calibrated space.
    Volume,
    /// The account itself.
    Client,
    /// The rigs that the account may use.
    Rigs,
    /// The lenses that cameras may have.
    CameraSettings,
}

/// The facts that are fixed for a kind.
struct Facts {
    name: &'static str,
    type_name: &'static str,
    getter: &'static str,
    id_argument: Option<&'static str>,
    lister: Option<&'static str>,
}

impl EntityKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Job,
        Self::Take,
        Self::File,
        Self::Volume,
        Self::Client,
        Self::Rigs,
        Self::CameraSettings,
    ];

    const fn facts(self) -> Facts {
        let (name, type_name, getter, id_argument, lister) = match self {
            Self::Job => ("job", "Job", "getJob", Some("jobId"), Some("listJobs")),
            Self::Take => ("take", "Take", "getTake", Some("takeId"), Some("listTakes")),
            Self::File => ("file", "File", "getFile", Some("fileId"), None),
            Self::Volume => ("volume", "HumanVolume", "getVolume", Some("id"), Some("listVolumes")),
            Self::Client => ("client", "Client", "client", None, None),
            Self::Rigs => ("rigs", "RigsPage", "listRigs", None, None),
            Self::CameraSettings => {
                ("camera_settings", "CameraSettingsPage", "listCameraSettings", None, None)
            }
        };
        Facts { name, type_name, getter, id_argument, lister }
    }

    /// Its name in records and messages; Move's ids of this kind begin with it and a dash.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The schema's type.
    #[must_use]
    pub const fn type_name(self) -> &'static str {
        self.facts().type_name
    }

    /// The kind of that type.
    #[must_use]
    pub fn from_type_name(type_name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_name() == type_name)
    }

    /// The query that reads one.
    #[must_use]
    pub const fn getter(self) -> &'static str {
        self.facts().getter
    }

    /// The argument of that query; none where there is but one of the kind in an account.
    #[must_use]
    pub const fn id_argument(self) -> Option<&'static str> {
        self.facts().id_argument
    }

    /// The query that lists them, if there is one.
    #[must_use]
    pub const fn lister(self) -> Option<&'static str> {
        self.facts().lister
    }

    /// Returns true for what somebody owns: it has an id, and metadata that tells whose it is. The rest is
    /// of the account, and everybody's in it.
    #[must_use]
    pub const fn has_owner(self) -> bool {
        self.facts().id_argument.is_some()
    }

    /// Returns true if its queries answer with a union that it is a member of.
    #[must_use]
    pub const fn is_in_union(self) -> bool {
        matches!(self, Self::Volume)
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
