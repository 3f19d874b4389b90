//! The kinds of things that Move's API keeps and a tenant can own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of entity: each has an id, metadata that tells its owner, and a query that reads one by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntityKind {
    /// The processing of a take into motion data.
    Job,
    /// A recording.
    Take,
}

/// The facts that are fixed for a kind.
struct Facts {
    name: &'static str,
    type_name: &'static str,
    getter: &'static str,
    id_argument: &'static str,
    lister: &'static str,
}

impl EntityKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Job, Self::Take];

    const fn facts(self) -> Facts {
        match self {
            Self::Job => Facts {
                name: "job",
                type_name: "Job",
                getter: "getJob",
                id_argument: "jobId",
                lister: "listJobs",
            },
            Self::Take => Facts {
                name: "take",
                type_name: "Take",
                getter: "getTake",
                id_argument: "takeId",
                lister: "listTakes",
            },
        }
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

    /// The argument of that query.
    #[must_use]
    pub const fn id_argument(self) -> &'static str {
        self.facts().id_argument
    }

    /// The query that lists them.
    #[must_use]
    pub const fn lister(self) -> &'static str {
        self.facts().lister
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
