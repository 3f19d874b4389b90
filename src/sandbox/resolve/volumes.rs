//! Human volumes.

use apollo_compiler::resolvers::ResolvedValue;

use super::super::objects::{Items, PageObject, Resolved, VolumeObject, World};
use super::super::store::volume::Volume;
use super::arguments::{Arguments, cursor};
use super::{invalid, not_found};

/// Answers `getVolume`.
pub fn get<'a>(world: &'a World<'a>, id: &str) -> Resolved<'a> {
    let volume = world.account.borrow().volumes.get(id).cloned().ok_or_else(not_found)?;
    Ok(ResolvedValue::object(VolumeObject::new(world, volume)))
}

/// Answers `listVolumes`.
pub fn list<'a>(world: &'a World<'a>, arguments: Arguments<'_>) -> Resolved<'a> {
    let paging = arguments.paging()?;
    let account = world.account.borrow();
    let page = account.volumes.page(&paging.range(), |_| true).ok_or_else(|| invalid("after"))?;
    let after = page.next.map(|volume| cursor(&*volume));
    let items = Items::Volumes(page.rows);
    Ok(ResolvedValue::object(PageObject { world, first: paging.first, after, items }))
}

/// Answers `createVolumeWithHuman`.
pub fn create<'a>(world: &'a World<'a>, arguments: Arguments<'_>) -> Resolved<'a> {
    let mut account = world.account.borrow_mut();
    let sources = arguments.sources(&account)?;
    let human_height = arguments.plain("humanHeight").as_f64().unwrap_or_default();
    if human_height <= 0.0 {
        return Err(invalid("humanHeight must be more than 0"));
    }
    let volume = Volume {
        fails: !account.are_there(&sources, world.pace()),
        sources,
        human_height,
        area_type: arguments.text("areaType").to_owned(),
        clip_window: arguments.plain("clipWindow"),
        metadata: arguments.given("metadata").map(str::to_owned),
        name: arguments.name("name"),
        ..Volume::new(world.now)
    };
    account.add_volume(volume.clone());
    Ok(ResolvedValue::object(VolumeObject::new(world, volume.into())))
}
