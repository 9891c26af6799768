//! Stores uploaded files in the database in chunks, so that any process can read them and none holds a whole file in
//! memory.

use diesel::PgConnection;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{Statement, Tx};

/// Bytes of a chunk; the last one of a file may be smaller.
pub const CHUNK: usize = 1024 * 1024;

/// Stores chunk `number` of the file of `import`; the import itself need not exist yet.
pub fn keep(tx: &mut Tx<'_>, tenant: &Tenant, import: Uuid, number: usize, data: Vec<u8>) -> Result<()> {
    let mut sql = Statement::new("INSERT INTO import_chunks (business_id, id, import_id, number, data) VALUES (");
    sql.bind(tenant.id()).sql(", ").bind(Uuid::now_v7()).sql(", ");
    sql.bind(import).sql(", ").bind(number as i64).sql(", ");
    sql.bind(data).sql(")").run(tx)?;
    Ok(())
}

/// Deletes the file of `import`.
pub fn forget(tx: &mut Tx<'_>, tenant: &Tenant, import: Uuid) -> Result<()> {
    let mut sql = Statement::new("DELETE FROM import_chunks WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND import_id = ").bind(import).run(tx)?;
    Ok(())
}

/// Reads at most `length` bytes of the file of `import`, from byte `offset` on; fewer at its end. One query per chunk.
pub fn piece(conn: &mut PgConnection, tenant: &Tenant, import: Uuid, offset: u64, length: usize) -> Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(length);
    let mut offset = offset as usize;
    while piece.len() < length {
        let (number, from) = (offset / CHUNK, offset % CHUNK);
        let wanted = (length - piece.len()).min(CHUNK - from);
        let mut sql = Statement::new("SELECT substr(data, ");
        sql.bind(from as i64 + 1).sql("::int, ").bind(wanted as i64);
        sql.sql("::int) FROM import_chunks WHERE business_id = ").bind(tenant.id());
        sql.sql(" AND import_id = ").bind(import);
        sql.sql(" AND number = ").bind(number as i64);
        let bytes: Option<Vec<u8>> = sql.scalar(conn)?;
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { break };
        piece.extend_from_slice(&bytes);
        offset += bytes.len();
    }
    Ok(piece)
}
