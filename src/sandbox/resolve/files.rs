//! Files and links to them.

use std::sync::Arc;

use apollo_compiler::resolvers::ResolvedValue;

use super::super::objects::{FileObject, Resolved, ShareCodeObject, World};
use super::super::store::file::File;
use super::arguments::Arguments;
use super::{fail, invalid, not_found};

/// Answers `getFile`.
pub fn get<'a>(world: &'a World<'a>, id: &str) -> Resolved<'a> {
    let file = world.account.borrow().files.get(id).cloned().ok_or_else(not_found)?;
    Ok(ResolvedValue::object(FileObject::new(world, file)))
}

/// Answers `createFile`: its URL is one to upload to.
pub fn create<'a>(world: &'a World<'a>, arguments: Arguments<'_>) -> Resolved<'a> {
    let file_type = arguments.text("type");
    if file_type.is_empty() {
        return Err(invalid("type must not be empty"));
    }
    let file = File {
        metadata: arguments.given("metadata").map(str::to_owned),
        name: arguments.name("name"),
        ..File::new(file_type, world.now)
    };
    world.account.borrow_mut().files.insert(file.clone());
    Ok(ResolvedValue::object(FileObject::created(world, Arc::new(file))))
}

/// Answers `updateFile`.
pub fn update<'a>(world: &'a World<'a>, arguments: Arguments<'_>) -> Resolved<'a> {
    let id = arguments.text("id");
    {
        let mut account = world.account.borrow_mut();
        let file = account.files.get_mut(id).ok_or_else(not_found)?;
        arguments.update(&mut file.metadata, &mut file.name);
    }
    get(world, id)
}

/// Answers `generateShareCode`.
pub fn share<'a>(world: &'a World<'a>, id: &str) -> Resolved<'a> {
    let mut account = world.account.borrow_mut();
    let file = account.files.get(id).map(Arc::clone).ok_or_else(not_found)?;
    if account.content(&file, world.pace()).is_none() {
        return Err(fail("MoveFileError", "File object does not exist"));
    }
    let code = account.share_codes.generate(id, world.now);
    Ok(ResolvedValue::object(ShareCodeObject { world, code }))
}
