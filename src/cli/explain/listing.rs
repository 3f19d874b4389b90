//! The way in which a listing would be answered, and its cost.

use crate::app::index_file;
use crate::index::Glimpse;
use crate::model::{Caller, EntityKind, RootField};
use crate::operation::Operation;
use crate::reload::Loaded;

/// Tells the cost of a listing: by the calls to Move that it makes.
pub fn cost(caller: &Caller, loaded: &Loaded, field: RootField) -> String {
    let weights = &loaded.config.weights;
    if !caller.tenant.account.is_shared() {
        return weights.of_listing(field, 1, 0).to_string();
    }
    let (least, of_five) = (weights.of_listing(field, 0, 0), weights.of(field));
    format!("{least} without a call to Move, else {of_five} for each five begun")
}

/// Tells how listings find what is the tenant's.
pub fn way(caller: &Caller, loaded: &Loaded, operation: &Operation) -> String {
    if !caller.tenant.account.is_shared() {
        return "lists Move's own pages: the account is the tenant's alone, and has no index"
            .to_owned();
    }
    let mut listings =
        operation.root_fields().map(|(_, field)| field).filter(|field| field.is_listing());
    let kind = listings.next().map_or(EntityKind::Job, RootField::entity);
    let Some(file) = index_file(&loaded.config, kind) else {
        return "lists by reading the pages of all tenants: there is no index".to_owned();
    };
    match Glimpse::of(&file) {
        Glimpse::Complete { jobs, to } => {
            format!("lists by the index, which is complete: {jobs} {kind}s, the newest of {to}")
        }
        Glimpse::Filling { jobs } => format!(
            "lists by reading the pages of all tenants, until the index is complete: it has {jobs} {kind}s"
        ),
        Glimpse::NoFile => {
            "lists by reading the pages of all tenants, until the index is complete: it has not begun".to_owned()
        }
        Glimpse::InUse => "lists by the index, if it is complete: a gateway has it open, and tells \
                           jobs_gateway_index_complete in its metrics"
            .to_owned(),
        Glimpse::Unreadable => "lists by reading the pages of all tenants, until the index is complete: its file \
                                cannot be read now"
            .to_owned(),
    }
}
