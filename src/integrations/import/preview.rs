//! The preview of a dry run: the first changes that it would have made, and notes on the columns.

use diesel::PgConnection;
use serde_json::Value as Json;
use uuid::Uuid;

use super::dto::ImportPreview;
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
pub fn load(conn: &mut PgConnection, tenant: &Tenant, import: Uuid) -> Result<ImportPreview> {
    let import = Import::load(conn, tenant, import)?;
    let notes = import.column_mapping().map(|mapping| preview_notes::of_columns(&mapping)).unwrap_or_default();
    let stored = match import.run {
        Some(run) => stored(conn, tenant, run)?,
        None => None,
    };
    let mut shown = stored.unwrap_or_default();
    shown.notes.get_or_insert(notes);
    Ok(shown)
}

/// Returns the preview of a run, if it is still stored.
fn stored(conn: &mut PgConnection, tenant: &Tenant, run: Uuid) -> Result<Option<ImportPreview>> {
    let mut sql = Statement::new("SELECT before FROM import_row_results WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(row_results::range(run)[0]);
    let shown: Option<Option<Json>> = sql.scalar(conn)?;
    Ok(shown.flatten().and_then(|shown| serde_json::from_value(shown).ok()))
}
