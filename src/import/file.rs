//! Uploaded files in the database, in chunks, so that any process can work on them and none holds one in memory.

use diesel::PgConnection;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::db::{Statement, Tx, Value};
use crate::error::Result;

/// Bytes of a chunk; the last of a file is smaller.
pub const CHUNK: usize = 1024 * 1024;

/// Keeps chunk `number` of the file of `import`, which need not be there yet.
pub fn keep(tx: &mut Tx<'_>, tenant: &Tenant, import: Uuid, number: usize, data: Vec<u8>) -> Result<()> {
    let mut sql = Statement::new("INSERT INTO import_chunks (business_id, id, import_id, number, data) VALUES (");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(", ").bind(Value::Uuid(Some(Uuid::now_v7()))).push(", ");
    sql.bind(Value::Uuid(Some(import))).push(", ").bind(Value::Int(Some(number as i64))).push(", ");
    sql.bind(Value::Bytes(data)).push(")").run(tx)?;
    Ok(())
}

/// Forgets the file of `import`.
pub fn forget(tx: &mut Tx<'_>, tenant: &Tenant, import: Uuid) -> Result<()> {
    let mut sql = Statement::new("DELETE FROM import_chunks WHERE business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND import_id = ").bind(Value::Uuid(Some(import))).run(tx)?;
    Ok(())
}

/// At most `length` bytes of the file of `import` from `place` on; fewer where it ends. One query for each chunk that they
/// are in.
pub fn piece(conn: &mut PgConnection, tenant: &Tenant, import: Uuid, place: u64, length: usize) -> Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(length);
    let mut place = place as usize;
    while piece.len() < length {
        let (number, from) = (place / CHUNK, place % CHUNK);
        let wanted = (length - piece.len()).min(CHUNK - from);
        let mut sql = Statement::new("SELECT substr(data, ");
        sql.bind(Value::Int(Some(from as i64 + 1))).push("::int, ").bind(Value::Int(Some(wanted as i64)));
        sql.push("::int) FROM import_chunks WHERE business_id = ").bind(Value::Uuid(Some(tenant.id())));
        sql.push(" AND import_id = ").bind(Value::Uuid(Some(import)));
        sql.push(" AND number = ").bind(Value::Int(Some(number as i64)));
        let row = sql.row(conn)?;
        let Some(bytes) = row.as_ref().and_then(|row| row.get(0)).filter(|bytes| !bytes.is_empty()) else { break };
        piece.extend_from_slice(bytes);
        place += bytes.len();
    }
    Ok(piece)
}
