//! The truth about everything that was made, told without the gateway.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::TENANTS;

/// Whose name entities bear that were made in Move directly.
pub const NOBODY: &str = "nobody";

/// The end of the names of an owner's entities.
pub fn of(owner: &str) -> String {
    format!(" of {owner}")
}

/// A kind of entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Take,
    Volume,
    Job,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::File, Self::Take, Self::Volume, Self::Job];

    /// The beginning of its ids.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::File => "file-",
            Self::Take => "take-",
            Self::Volume => "volume-",
            Self::Job => "job-",
        }
    }

    /// The root field that reads one, and its argument.
    pub fn get(self) -> (&'static str, &'static str) {
        match self {
            Self::File => ("getFile", "fileId"),
            Self::Take => ("getTake", "takeId"),
            Self::Volume => ("getVolume", "id"),
            Self::Job => ("getJob", "jobId"),
        }
    }

    /// The root field that changes one. Volumes cannot be changed.
    pub fn update(self) -> Option<&'static str> {
        match self {
            Self::File => Some("updateFile"),
            Self::Take => Some("updateTake"),
            Self::Volume => None,
            Self::Job => Some("updateJob"),
        }
    }

    /// The root field that lists them. Files cannot be listed.
    pub fn list(self) -> Option<&'static str> {
        match self {
            Self::File => None,
            Self::Take => Some("listTakes"),
            Self::Volume => Some("listVolumes"),
            Self::Job => Some("listJobs"),
        }
    }

    /// The selection of one alone.
    pub fn plain(self) -> &'static str {
        match self {
            Self::Volume => "{ ... on HumanVolume { id name metadata } }",
            Self::File | Self::Take | Self::Job => "{ id name metadata }",
        }
    }

    /// The selection of one and of all that it refers to.
    pub fn selection(self) -> &'static str {
        match self {
            Self::File => "{ id name metadata }",
            Self::Take => {
                "{ id name metadata sources { file { id name metadata } }
                   volume { ... on HumanVolume { id name metadata } } }"
            }
            Self::Volume => {
                "{ ... on HumanVolume { id name metadata sources { file { id name metadata } } } }"
            }
            Self::Job => "{ id name metadata take { id name metadata } }",
        }
    }
}

/// An entity in the model.
#[derive(Debug, Clone)]
pub struct Known {
    pub id: String,
    pub kind: Kind,
    /// The index of the tenant; `None` for what was made in Move directly.
    pub owner: Option<usize>,
    pub metadata: &'static str,
    /// It names the owner too, so that it is known again wherever it turns up.
    pub name: String,
    /// The ids of the files of its sources.
    pub files: Vec<String>,
    /// The id of its volume or take.
    pub of: Option<String>,
}

impl Known {
    /// The answer to [`Kind::plain`].
    pub fn plain(&self) -> Value {
        json!({"id": self.id, "name": self.name, "metadata": self.metadata})
    }

    /// A record that nobody can read makes it unknown whose it is.
    pub fn is_unknown(&self) -> bool {
        self.owner.is_none() && self.metadata.contains("_gateway")
    }
}

/// Everything that was made, oldest first.
#[derive(Default)]
pub struct Model {
    all: Vec<Known>,
    by_id: HashMap<String, usize>,
}

impl Model {
    pub fn add(&mut self, known: Known) {
        self.by_id.insert(known.id.clone(), self.all.len());
        self.all.push(known);
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }

    pub fn find(&self, id: &str) -> Option<&Known> {
        self.all.get(*self.by_id.get(id)?)
    }

    pub fn find_mut(&mut self, id: &str) -> Option<&mut Known> {
        self.all.get_mut(*self.by_id.get(id)?)
    }

    /// Those of a kind, oldest first, that are a tenant's.
    pub fn own(&self, tenant: usize, kind: Kind) -> impl DoubleEndedIterator<Item = &Known> {
        self.all.iter().filter(move |known| known.kind == kind && known.owner == Some(tenant))
    }

    /// The id of something to name in an argument that wants this kind.
    pub fn aim(&self, tenant: usize, kind: Kind, Aim { at, index }: &Aim) -> String {
        let wanted: Vec<&Known> = match at {
            Among::Own => self.own(tenant, kind).collect(),
            Among::Kind => self.all.iter().filter(|known| known.kind == kind).collect(),
            Among::Everything => self.all.iter().collect(),
        };
        let places = wanted.len() + usize::from(*at != Among::Own);
        match wanted.get(index % places.max(1)) {
            Some(known) => known.id.clone(),
            None => format!("{}00000000-0000-4000-8000-000000000000", kind.prefix()),
        }
    }

    /// The codes one of which a tenant reads who names these ids, each of the kind that its argument
    /// wants; none if it may.
    pub fn refusals(&self, tenant: usize, named: &[(Kind, &str)]) -> Vec<&'static str> {
        // A volume is a job of Move's: its id may be one of a job.
        let is_other = |(kind, id): &(Kind, &str)| {
            !id.starts_with(kind.prefix()) && (*kind != Kind::Volume || !id.starts_with("job-"))
        };
        if named.iter().any(is_other) {
            return vec!["BAD_USER_INPUT"];
        }
        let mut codes = Vec::new();
        for (kind, id) in named {
            match self.find(id).filter(|known| known.kind == *kind) {
                Some(known) if known.owner == Some(tenant) => {}
                Some(known) if known.is_unknown() => codes.push("UPSTREAM_ERROR"),
                _ => codes.push("NOT_FOUND"),
            }
        }
        codes
    }

    /// Nothing that is told to a tenant is of anybody else, but for the ids it named itself.
    pub fn check_for_foreign(&self, tenant: usize, told: &str, named: &[&str]) {
        for id in told.split(['"', '\\']).filter(|text| !named.contains(text)) {
            let known = self.find(id);
            assert!(
                known.is_none_or(|known| known.owner == Some(tenant)),
                "{id} is told in {told}"
            );
        }
        let others = TENANTS.into_iter().filter(|name| *name != TENANTS[tenant]).chain([NOBODY]);
        for other in others {
            assert!(!told.contains(&of(other)), "a name of {other} is told in {told}");
        }
        assert!(!told.contains(r#"\"by\":\"main"#), "a record is told in {told}");
    }

    /// The answer that its owner reads of it, by [`Kind::selection`].
    pub fn shown(&self, known: &Known) -> Value {
        let mut shown = known.plain();
        let plain = |id: &String| self.find(id).map_or(Value::Null, Known::plain);
        let sources =
            || -> Value { known.files.iter().map(|id| json!({"file": plain(id)})).collect() };
        let of = known.of.as_ref().map_or(Value::Null, plain);
        match known.kind {
            Kind::File => {}
            Kind::Take => {
                shown["sources"] = sources();
                shown["volume"] = of;
            }
            Kind::Volume => shown["sources"] = sources(),
            Kind::Job => shown["take"] = of,
        }
        shown
    }
}

/// Something to name in an argument.
#[derive(Debug, Clone)]
pub struct Aim {
    pub at: Among,
    pub index: usize,
}

impl Aim {
    /// Aims at one of the tenant's own.
    pub fn own(index: usize) -> Self {
        Self { at: Among::Own, index }
    }
}

/// The entities that are aimed among; now and then it is one that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// The tenant's own of the right kind.
    Own,
    /// All of the right kind.
    Kind,
    /// All of any kind.
    Everything,
}
