//! The preview of a dry run: the first changes that it would have made, and notes on the columns.

use diesel::PgConnection;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::stored_import::Import;
use super::{preview_notes, row_results};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{Statement, Tx};

/// Stores the preview of a dry run as row 0 of its run.
pub fn store(tx: &mut Tx<'_>, tenant: &Tenant, run: Uuid, shown: Json) -> Result<()> {
    let mut sql =
        Statement::new("INSERT INTO import_row_results (business_id, id, resource, outcome, before) VALUES (");
    sql.bind(tenant.id()).sql(", ").bind(row_results::range(run)[0]);
    sql.sql(", '', 'planned', ").bind(shown).sql(")").run(tx)?;
    Ok(())
}

/// Returns the preview of the last dry run of `import`, with notes on its columns. It has no changes if there was no
/// dry run or its preview is not stored any more. Errors: 404.
pub fn load(conn: &mut PgConnection, tenant: &Tenant, import: Uuid) -> Result<Json> {
    let import = Import::load(conn, tenant, import)?;
    let notes = import.column_mapping().map(|mapping| preview_notes::of_columns(&mapping)).unwrap_or_default();
    let none = || json!({ "changes": {}, "notes": &notes });
    let Some(run) = import.run else { return Ok(none()) };
    let mut sql = Statement::new("SELECT before FROM import_row_results WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(row_results::range(run)[0]);
    let stored: Option<Option<Json>> = sql.scalar(conn)?;
    let mut shown = stored.flatten().unwrap_or_else(none);
    if let Json::Object(shown) = &mut shown {
        // Previews of earlier versions have no notes.
        shown.entry("notes").or_insert_with(|| notes.into());
    }
    Ok(shown)
}
