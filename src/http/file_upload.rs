//! Receives an uploaded file into a [`FileStore`], while it comes.

use actix_web::HttpRequest;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::file_store::FileStore;
use super::file_writer::{FileWriter, WrittenFile};
use super::payload::{BodyStream, announced_length};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::{Db, Tx};

/// An upload: where its file is kept, and how large it may be.
pub struct FileUpload<'a> {
    pub db: &'a Db,
    pub tenant: &'a Tenant,
    pub store: &'static FileStore,
    pub file: Uuid,
    /// Largest file in bytes, and the option that says so.
    pub max_bytes: u64,
    pub option: &'static str,
}

impl FileUpload<'_> {
    /// Receives the body of a request; `look` sees what comes. What breaks off leaves parts, which a task of their table's owner clears away.
    /// Errors: 413; 408 and 400 where the body does not come whole.
    pub async fn receive(
        &self,
        request: &HttpRequest,
        mut body: BodyStream,
        mut look: impl FnMut(&[u8]),
    ) -> Result<WrittenFile> {
        let Self { max_bytes, option, .. } = *self;
        let too_large = || Error::TooLarge(format!("A file may have at most {max_bytes} bytes ({option})."));
        if announced_length(request).is_some_and(|length| length > max_bytes) {
            return Err(too_large());
        }
        let mut writer = FileWriter::new(self.db, self.tenant, self.store, self.file);
        let mut received = 0;
        while let Some(piece) = body.next().await? {
            received += piece.len() as u64;
            if received > max_bytes {
                return Err(too_large());
            }
            look(&piece);
            writer.write(&piece).await?;
        }
        writer.finish().await
    }

    /// Deletes what was received, where nothing came of it: after an error, and where the answer to an earlier request was repeated.
    pub async fn forget(&self) {
        let (tenant, store, file) = (self.tenant.clone(), self.store, self.file);
        let forget = move |tx: &mut Tx<'_>| store.forget(tx, &tenant, file);
        if let Err(error) = self.db.for_tenant(self.tenant).write("file_forget", forget).await {
            tracing::warn!(%error, "a file that is not needed is cleared away with those that broke off");
        }
    }
}

/// The bytes of a file as a schema, whatever they are.
pub struct FileBytes;

impl PartialSchema for FileBytes {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

impl ToSchema for FileBytes {}
