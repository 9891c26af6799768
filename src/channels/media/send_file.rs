//! A stored file that is handed to a channel.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, LocalBoxStream};
use uuid::Uuid;

use super::store::ATTACHMENT_FILES;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::Db;
use crate::http::file_store::PART_BYTES;

/// A stored file.
#[derive(Clone)]
pub struct StoredFile {
    pub db: Db,
    pub tenant: Tenant,
    pub attachment: Uuid,
    pub mime_type: String,
    pub file_name: Option<String>,
    pub bytes: u64,
}

impl StoredFile {
    /// Returns its bytes from `from` up to `until`, part by part. Errors: the database's; 500 where it was deleted meanwhile.
    pub fn read(&self, from: u64, until: u64) -> LocalBoxStream<'static, Result<Bytes>> {
        let file = self.clone();
        stream::try_unfold(from, move |at| {
            let file = file.clone();
            async move {
                if at >= until {
                    return Ok(None);
                }
                // Up to the end of the part.
                let part = PART_BYTES as u64;
                let length = (until - at).min(part - at % part) as usize;
                let (tenant, attachment) = (file.tenant.clone(), file.attachment);
                let read = file
                    .db
                    .for_tenant(&file.tenant)
                    .read("attachment_part", move |conn| ATTACHMENT_FILES.piece(conn, &tenant, attachment, at, length));
                let piece = read.await?;
                if piece.len() != length {
                    return Err(Error::Internal("a file was deleted while it was read".into()));
                }
                Ok(Some((Bytes::from(piece), at + length as u64)))
            }
        })
        .boxed_local()
    }
}
