//! `File` and what holds files.

use std::sync::Arc;

use apollo_compiler::resolvers::{ObjectValue, ResolveInfo, ResolvedValue};
use http::Method;

use super::{Resolved, World, optional};
use crate::sandbox::presign::ObjectKey;
use crate::sandbox::resolve::fail;
use crate::sandbox::store::file::{Content, File};
use crate::sandbox::store::sharing::ShareCode;

/// The extension of thumbnails.
pub const THUMBNAIL: &str = "thumbnail.jpg";

/// `File`
pub struct FileObject<'a> {
    world: &'a World<'a>,
    file: Arc<File>,
    /// Set for one that was created just now: its URL is one to write to.
    is_new: bool,
}

impl<'w> FileObject<'w> {
    /// A file, to read.
    pub const fn new(world: &'w World<'w>, file: Arc<File>) -> Self {
        Self { world, file, is_new: false }
    }

    /// A file that was created just now, to write.
    pub const fn created(world: &'w World<'w>, file: Arc<File>) -> Self {
        Self { world, file, is_new: true }
    }

    fn url(&self, method: &Method, extension: &str) -> ResolvedValue<'_> {
        let account = self.world.account.borrow();
        let key = ObjectKey { client: account.id(), file: &self.file.id, extension };
        ResolvedValue::leaf(self.world.signer.url(method, &key, self.world.now))
    }

    fn is_there(&self) -> bool {
        self.world.account.borrow().content(&self.file, self.world.pace()).is_some()
    }

    /// A URL, made anew at each read.
    fn presigned_url(&self) -> Resolved<'_> {
        if self.is_new {
            return Ok(self.url(&Method::PUT, &self.file.file_type));
        }
        if !self.is_there() {
            return Err(fail("MoveFileError", "File object does not exist"));
        }
        Ok(self.url(&Method::GET, &self.file.file_type))
    }

    /// Films have one.
    fn thumbnail_url(&self) -> ResolvedValue<'_> {
        if matches!(self.file.content, Content::Uploaded(_)) {
            self.url(&Method::GET, THUMBNAIL)
        } else {
            ResolvedValue::null()
        }
    }
}

impl ObjectValue for FileObject<'_> {
    fn type_name(&self) -> &'static str {
        "File"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        let File { id, created, metadata, name, file_type, .. } = &*self.file;
        match info.field_name() {
            "id" => Ok(ResolvedValue::leaf(id.as_str())),
            "created" => Ok(ResolvedValue::leaf(created.to_string())),
            "metadata" => Ok(optional(metadata.as_deref())),
            // Never null: Move's Python client refuses that.
            "name" => Ok(ResolvedValue::leaf(name.as_deref().unwrap_or_default())),
            "type" => Ok(ResolvedValue::leaf(file_type.as_str())),
            "client" => Ok(self.world.client()),
            "presignedUrl" => self.presigned_url(),
            "thumbnailUrl" => Ok(self.thumbnail_url()),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

/// `AdditionalFile`
pub struct AdditionalFileObject<'a> {
    /// Its format, and its key too.
    pub format: String,
    /// The file.
    pub file: FileObject<'a>,
}

impl ObjectValue for AdditionalFileObject<'_> {
    fn type_name(&self) -> &'static str {
        "AdditionalFile"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        match info.field_name() {
            "key" | "format" => Ok(ResolvedValue::leaf(self.format.as_str())),
            "file" => {
                let FileObject { world, file, .. } = &self.file;
                Ok(ResolvedValue::object(FileObject::new(world, Arc::clone(file))))
            }
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

/// `ShareCode`
pub struct ShareCodeObject<'a> {
    /// The account and its surroundings.
    pub world: &'a World<'a>,
    /// The code.
    pub code: ShareCode,
}

impl ObjectValue for ShareCodeObject<'_> {
    fn type_name(&self) -> &'static str {
        "ShareCode"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        let ShareCode { code, file, created, expires } = &self.code;
        match info.field_name() {
            "code" => Ok(ResolvedValue::leaf(code.as_str())),
            "created" => Ok(ResolvedValue::leaf(created.to_string())),
            "expires" => Ok(ResolvedValue::leaf(expires.to_string())),
            "url" => {
                let address = self.world.signer.address;
                let url = format!("http://{address}/ugc/file/download?code={code}");
                Ok(ResolvedValue::leaf(url))
            }
            "file" => Ok(self.world.file(file)),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

impl World<'_> {
    /// Resolves a file by its id; null if there is none.
    pub fn file(&self, id: &str) -> ResolvedValue<'_> {
        let file = self.account.borrow().files.get(id).cloned();
        file.map_or_else(ResolvedValue::null, |file| {
            ResolvedValue::object(FileObject::new(self, file))
        })
    }

    /// Resolves `AdditionalFile`s: formats and files.
    pub fn files(&self, files: Vec<(String, Arc<File>)>) -> ResolvedValue<'_> {
        let object = move |(format, file)| {
            let file = FileObject::new(self, file);
            ResolvedValue::object(AdditionalFileObject { format, file })
        };
        ResolvedValue::list(files.into_iter().map(object))
    }
}
