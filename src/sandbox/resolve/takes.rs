//! Takes.

use apollo_compiler::resolvers::{FieldError, ResolvedValue};

use super::super::objects::{Items, PageObject, Resolved, TakeObject, World};
use super::super::store::take::{Take, TakeKind};
use super::arguments::{Arguments, cursor};
use super::{invalid, not_found};

/// Answers `getTake`.
pub fn get<'a>(world: &'a World<'a>, id: &str) -> Resolved<'a> {
    let take = world.account.borrow().takes.get(id).cloned().ok_or_else(not_found)?;
    Ok(ResolvedValue::object(TakeObject::new(world, take)))
}

/// Answers `listTakes`.
pub fn list<'a>(world: &'a World<'a>, arguments: Arguments<'_>) -> Resolved<'a> {
    let paging = arguments.paging()?;
    let account = world.account.borrow();
    let page = account.takes.page(&paging.range(), |_| true).ok_or_else(|| invalid("after"))?;
    let after = page.next.map(|take| cursor(&*take));
    let items = Items::Takes(page.rows);
    Ok(ResolvedValue::object(PageObject { world, first: paging.first, after, items }))
}

/// Answers `createSingleCamTake`.
pub fn create_single_cam<'a>(world: &'a World<'a>, arguments: Arguments<'_>) -> Resolved<'a> {
    let take = read(world, arguments)?;
    Ok(add(world, take))
}

/// Answers `createMultiCamTake`.
pub fn create_multi_cam<'a>(world: &'a World<'a>, arguments: Arguments<'_>) -> Resolved<'a> {
    let volume = arguments.text("volumeId");
    let take = Take {
        kind: TakeKind::MultiCam,
        sync_method: arguments.plain("syncMethod"),
        volume: Some(volume.to_owned()),
        ..read(world, arguments)?
    };
    world.account.borrow().volumes.get(volume).ok_or_else(not_found)?;
    Ok(add(world, take))
}

fn read(world: &World<'_>, arguments: Arguments<'_>) -> Result<Take, FieldError> {
    Ok(Take {
        sources: arguments.sources(&world.account.borrow())?,
        metadata: arguments.given("metadata").map(str::to_owned),
        name: arguments.name("name"),
        ..Take::new(world.now)
    })
}

fn add<'a>(world: &'a World<'a>, take: Take) -> ResolvedValue<'a> {
    world.account.borrow_mut().takes.insert(take.clone());
    ResolvedValue::object(TakeObject::new(world, take.into()))
}

/// Answers `updateTake`.
pub fn update<'a>(world: &'a World<'a>, arguments: Arguments<'_>) -> Resolved<'a> {
    let id = arguments.text("id");
    {
        let mut account = world.account.borrow_mut();
        let take = account.takes.get_mut(id).ok_or_else(not_found)?;
        arguments.update(&mut take.metadata, &mut take.name);
    }
    get(world, id)
}
