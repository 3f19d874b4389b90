//! The closed world of operations: every exposed root field, with the facts that policy, limits,
//! audit and metrics read.

use std::fmt;

use super::EntityKind;

/// The kinds of operation: those that read, those that change, and those that go on reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A field of `Query`.
    Query,
    /// A field of `Mutation`.
    Mutation,
    /// A field of `Subscription`: it reads what a query reads, again and again.
    Subscription,
}

impl Kind {
    /// As GraphQL writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Subscription => "subscription",
        }
    }
}

/// A group of root fields, which policies name as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// The processing of takes.
    Jobs,
    /// Recordings.
    Takes,
    /// Files.
    Files,
    /// Calibrated spaces.
    Volumes,
    /// The catalogue of the account: rigs and lenses.
    Catalogue,
    /// The account itself.
    Account,
    /// Links out of the company.
    Sharing,
    /// Endpoints that hear of what happens.
    Webhooks,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Jobs,
        Self::Takes,
        Self::Files,
        Self::Volumes,
        Self::Catalogue,
        Self::Account,
        Self::Sharing,
        Self::Webhooks,
    ];

    /// As policies name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Takes => "takes",
            Self::Files => "files",
            Self::Volumes => "volumes",
            Self::Catalogue => "catalogue",
            Self::Account => "account",
            Self::Sharing => "sharing",
            Self::Webhooks => "webhooks",
        }
    }

    /// The group of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }

    /// Its root fields.
    #[must_use]
    pub fn fields(self) -> RootFields {
        RootField::ALL.into_iter().filter(|field| field.group() == self).collect()
    }
}

/// The activity that a use of a root field is to an auditor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activity {
    /// Something is made.
    Create,
    /// One thing is read.
    Read,
    /// Several are read, page by page.
    List,
    /// Something is changed.
    Update,
    /// Something else: a link out of the company is made.
    Other,
}

/// Writes the enum and its facts out of one table.
macro_rules! root_fields {
    ($($field:ident $name:literal $kind:ident $group:ident $weight:literal $entity:ident $activity:ident $star:ident)+) => {
        /// An operation of the Move API, by its root field.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum RootField {
            $(#[doc = concat!("`", stringify!($kind), ".", $name, "`")] $field,)+
        }

        impl RootField {
            /// All of them, in the table's order.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$field),+];

            const fn facts(self) -> &'static Facts {
                match self {
                    $(Self::$field => const { &Facts {
                        name: $name,
                        kind: Kind::$kind,
                        group: Group::$group,
                        weight: $weight,
                        entity: EntityKind::$entity,
                        activity: Activity::$activity,
                        star: Star::$star,
                    } },)+
                }
            }
        }
    };
}

/// The facts that are fixed for a root field.
struct Facts {
    name: &'static str,
    kind: Kind,
    group: Group,
    weight: u32,
    entity: EntityKind,
    activity: Activity,
    star: Star,
}

/// The part of a root field in `"*"` of a policy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Star {
    /// It does.
    Meant,
    /// It has to be named: it leads out of the company, or is of the whole account.
    Named,
}

root_fields! {
    // field              name                    kind     group     weight entity         activity "*"
    GetJob                "getJob"                Query    Jobs      1      Job            Read     Meant
    ListJobs              "listJobs"              Query    Jobs      5      Job            List     Meant
    CreateJob             "createJob"             Mutation Jobs      10     Job            Create   Meant
    CreateSingleCamJob    "createSingleCamJob"    Mutation Jobs      10     Job            Create   Meant
    CreateMultiCamJob     "createMultiCamJob"     Mutation Jobs      10     Job            Create   Meant
    UpdateJob             "updateJob"             Mutation Jobs      10     Job            Update   Meant
    GetTake               "getTake"               Query    Takes     1      Take           Read     Meant
    ListTakes             "listTakes"             Query    Takes     5      Take           List     Meant
    CreateSingleCamTake   "createSingleCamTake"   Mutation Takes     10     Take           Create   Meant
    CreateMultiCamTake    "createMultiCamTake"    Mutation Takes     10     Take           Create   Meant
    UpdateTake            "updateTake"            Mutation Takes     10     Take           Update   Meant
    GetFile               "getFile"               Query    Files     1      File           Read     Meant
    CreateFile            "createFile"            Mutation Files     5      File           Create   Meant
    UpdateFile            "updateFile"            Mutation Files     10     File           Update   Meant
    GetVolume             "getVolume"             Query    Volumes   1      Volume         Read     Meant
    ListVolumes           "listVolumes"           Query    Volumes   5      Volume         List     Meant
    CreateVolumeWithHuman "createVolumeWithHuman" Mutation Volumes   20     Volume         Create   Meant
    ListRigs              "listRigs"              Query    Catalogue 1      Rigs           Read     Meant
    ListCameraSettings    "listCameraSettings"    Query    Catalogue 1      CameraSettings Read     Meant
    Client                "client"                Query    Account   1      Client         Read     Meant
    UpdateClient          "updateClient"          Mutation Account   10     Client         Update   Named
    GenerateShareCode     "generateShareCode"     Mutation Sharing   10     File           Other    Named
    UpsertWebhookEndpoint "upsertWebhookEndpoint" Mutation Webhooks  10     Client         Update   Named
}

impl RootField {
    /// The field's name in the schema; also how policies name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The root field of that name, if the gateway exposes it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// Query or mutation.
    #[must_use]
    pub const fn kind(self) -> Kind {
        self.facts().kind
    }

    /// The group that policies know it by.
    #[must_use]
    pub const fn group(self) -> Group {
        self.facts().group
    }

    /// The kind of entity that it reads, makes or changes.
    #[must_use]
    pub const fn entity(self) -> EntityKind {
        self.facts().entity
    }

    /// The activity that it is to an auditor.
    #[must_use]
    pub const fn activity(self) -> Activity {
        self.facts().activity
    }

    /// The query that reads one entity of a kind, if the gateway exposes it.
    #[must_use]
    pub fn getter(kind: EntityKind) -> Option<Self> {
        Self::from_name(kind.getter())
    }

    /// Returns true if what it made can be read again, so that a mutation which is sent once more is answered by it. A
    /// link is kept nowhere.
    #[must_use]
    pub const fn is_replayable(self) -> bool {
        !matches!(self.activity(), Activity::Other)
    }

    /// Returns true if it reads several things, page by page.
    #[must_use]
    pub const fn is_listing(self) -> bool {
        matches!(self.activity(), Activity::List)
    }

    /// Returns true if it reads one thing: the caches keep such.
    #[must_use]
    pub const fn is_getter(self) -> bool {
        matches!(self.activity(), Activity::Read)
    }
}

impl fmt::Display for RootField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The cost of one use of each root field, in units of a tenant's rate limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    of: [u32; RootField::ALL.len()],
    /// A read in an answer that was given before, whole.
    pub cached: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { of: RootField::ALL.map(|field| field.facts().weight), cached: 1 }
    }
}

impl Weights {
    /// Returns the cost of one use of the field.
    #[must_use]
    pub const fn of(&self, field: RootField) -> u32 {
        self.of[field as usize]
    }

    /// Returns the cost of one use of the field in an operation: a subscription, which reads it again and again, costs
    /// five reads when it begins.
    #[must_use]
    pub const fn in_operation(&self, kind: Kind, field: RootField) -> u32 {
        match kind {
            Kind::Subscription => self.of(field).saturating_mul(5),
            Kind::Query | Kind::Mutation => self.of(field),
        }
    }

    /// Returns the cost of a listing. By the calls to Move that it made: that of one use for each five begun, and that of
    /// an answer from memory if it made none; by the rows of the index that it looked through: one unit for each 10,000.
    #[must_use]
    pub fn of_listing(&self, field: RootField, calls: u32, rows: usize) -> u32 {
        const PAID_FOR: u32 = 5;
        const ROWS: usize = 10_000;
        let of_one = self.of(field);
        let of_calls = match calls.div_ceil(PAID_FOR) {
            0 => self.cached.min(of_one),
            begun => of_one.saturating_mul(begun),
        };
        of_calls.saturating_add(u32::try_from(rows / ROWS).unwrap_or(u32::MAX))
    }

    /// Sets what one use of the field costs.
    pub const fn set(&mut self, field: RootField, weight: u32) {
        self.of[field as usize] = weight;
    }
}

/// A set of root fields: what a tenant, a key or a token may call.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootFields(u32);

impl RootFields {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// Every root field.
    pub const ALL: Self = Self((1 << RootField::ALL.len()) - 1);
    /// `"*"` in a policy: what every tenant may reasonably do. What leads out of the gateway, or is of the
    /// whole account, is named by itself.
    pub const STAR: Self = Self::star();

    /// Gives the part of `"*"` that is not of the group `jobs`.
    #[must_use]
    pub fn star_beside_jobs() -> Self {
        Self::STAR.iter().filter(|field| field.group() != Group::Jobs).collect()
    }

    const fn star() -> Self {
        let (mut set, mut index) = (0, 0);
        while index < RootField::ALL.len() {
            let field = RootField::ALL[index];
            if matches!(field.facts().star, Star::Meant) {
                set |= 1 << field as u8;
            }
            index += 1;
        }
        Self(set)
    }

    /// Returns true if the set holds the field.
    #[must_use]
    pub const fn contains(self, field: RootField) -> bool {
        self.0 & (1 << field as u8) != 0
    }

    /// Returns the fields that are in both sets.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the fields that are in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The members, in the schema's order.
    pub fn iter(self) -> impl Iterator<Item = RootField> {
        RootField::ALL.into_iter().filter(move |field| self.contains(*field))
    }

    /// Returns true if nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<RootField> for RootFields {
    fn from_iter<I: IntoIterator<Item = RootField>>(fields: I) -> Self {
        Self(fields.into_iter().fold(0, |set, field| set | (1 << field as u8)))
    }
}

impl fmt::Debug for RootFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(RootField::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_field() {
        for field in RootField::ALL {
            assert_eq!(RootField::from_name(field.name()), Some(field));
            assert!(RootFields::ALL.contains(field));
        }
    }

    #[test]
    fn intersection_never_grants_more_than_either_side() {
        let read: RootFields = [RootField::GetJob, RootField::ListJobs].into_iter().collect();
        let key: RootFields = [RootField::GetJob, RootField::UpdateJob].into_iter().collect();
        assert_eq!(read.intersect(key).iter().collect::<Vec<_>>(), [RootField::GetJob]);
    }
}
