//! Files that are kept in the database, in parts, so that any process can read them and none holds a whole file in memory.

use diesel::PgConnection;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{Statement, Tx};

/// Bytes of a part; the last one of a file may be smaller.
pub const PART_BYTES: usize = 1024 * 1024;

/// A table with the parts of files: `(business_id, id, <owner>, number, data)`, unique by business, owner and number.
#[derive(Debug)]
pub struct FileStore {
    /// The beginning of its INSERT, up to the values of business, id, owner, number and data.
    pub insert: &'static str,
    pub table: &'static str,
    /// The column that names the file.
    pub owner: &'static str,
    /// The condition of parts that are of no file yet.
    pub unowned: &'static str,
}

impl FileStore {
    /// Stores part `number` of `file`; the row that owns it need not exist yet.
    pub fn keep(&self, tx: &mut Tx<'_>, tenant: &Tenant, file: Uuid, number: usize, data: Vec<u8>) -> Result<()> {
        let mut sql = Statement::new(self.insert);
        sql.bind(tenant.id()).sql(", ").bind(Uuid::now_v7()).sql(", ").bind(file).sql(", ");
        sql.bind(number as i64).sql(", ").bind(data).sql(")").run(tx)?;
        Ok(())
    }

    /// Deletes the parts of `file`, unless it is there: a commit may have succeeded though its answer was lost.
    pub fn forget(&self, tx: &mut Tx<'_>, tenant: &Tenant, file: Uuid) -> Result<()> {
        let mut sql = Statement::new("DELETE FROM ");
        sql.sql(self.table).sql(" WHERE business_id = ").bind(tenant.id());
        sql.sql(" AND ").sql(self.owner).sql(" = ").bind(file).sql(" AND ").sql(self.unowned).run(tx)?;
        Ok(())
    }

    /// Reads at most `length` bytes of `file`, from byte `offset` on; fewer at its end. One query per part.
    pub fn piece(
        &self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        file: Uuid,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>> {
        let mut piece = Vec::with_capacity(length);
        let mut offset = offset as usize;
        while piece.len() < length {
            let (number, from) = (offset / PART_BYTES, offset % PART_BYTES);
            let wanted = (length - piece.len()).min(PART_BYTES - from);
            let mut sql = Statement::new("SELECT substr(data, ");
            sql.bind(from as i64 + 1).sql("::int, ").bind(wanted as i64).sql("::int) FROM ").sql(self.table);
            sql.sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND ").sql(self.owner).sql(" = ").bind(file);
            let bytes: Option<Vec<u8>> = sql.sql(" AND number = ").bind(number as i64).scalar(conn)?;
            let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { break };
            piece.extend_from_slice(&bytes);
            offset += bytes.len();
        }
        Ok(piece)
    }
}
