//! The rows of attachments, and the parts of their bytes.

use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::{Statement, Tx};
use crate::http::file_store::{FileStore, PART_BYTES};
use crate::http::file_writer::WrittenFile;

pub static ATTACHMENT_FILES: FileStore = FileStore {
    insert: "INSERT INTO attachment_parts (business_id, id, attachment_id, number, data) VALUES (",
    table: "attachment_parts",
    owner: "attachment_id",
    unowned: "pending_since IS NOT NULL",
};

/// How long an upload waits to be used, in hours.
const UNUSED_HOURS: u32 = 24;

/// A file whose parts are there, and what is known of it.
#[derive(Clone, Debug)]
pub struct NewAttachment {
    pub id: Uuid,
    pub file: WrittenFile,
    pub file_name: Option<String>,
    /// In lower case, without parameters.
    pub mime_type: String,
}

/// Makes the row of a file: of one that `uploader` means to send, or that a message has. Queries: two.
pub fn insert(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    attachment: &NewAttachment,
    uploader: Option<Uuid>,
    is_used: bool,
) -> Result<()> {
    let NewAttachment { id, file, file_name, mime_type } = attachment;
    let mut sql = Statement::new(
        "INSERT INTO attachments (business_id, id, file_name, mime_type, bytes, sha256, uploaded_by, expires_at) VALUES (",
    );
    sql.bind(tenant.id()).sql(", ").bind(*id).sql(", ").bind(file_name.clone()).sql(", ").bind(mime_type.as_str());
    sql.sql(", ").bind(file.bytes as i64).sql(", ").bind(hex::encode(file.sha256)).sql(", ").bind(uploader);
    match is_used {
        true => sql.sql(", NULL)"),
        false => sql.sql(", now() + interval '").number(UNUSED_HOURS).sql(" hours')"),
    };
    sql.run(tx)?;
    let mut parts = Statement::new("UPDATE attachment_parts SET pending_since = NULL WHERE business_id = ");
    let kept = parts.bind(tenant.id()).sql(" AND attachment_id = ").bind(*id).run(tx)?;
    if kept as u64 != file.bytes.div_ceil(PART_BYTES as u64) {
        return Err(Error::Internal("parts of a file were cleared away before it was whole".into()));
    }
    Ok(())
}

/// Notes that a message has an attachment: it does not expire any more. Queries: one.
pub fn be_used(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<()> {
    let mut sql = Statement::new(
        "UPDATE attachments SET expires_at = NULL, version = version + 1, updated_at = now() WHERE expires_at IS NOT NULL AND business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND id = ").bind(id).run(tx)?;
    Ok(())
}
