//! `PATCH /imports/{id}`: changes how the file will be read, before it is imported.

use serde_json::Value as Json;
use uuid::Uuid;

use super::match_keys;
use super::stored_import::Import;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::schema::imports;
use crate::db::{SqlValue, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::{Changeset, Resource, Row, WriteOps, crud};

/// How imports are written.
pub const WRITES: WriteOps = WriteOps { update, ..WriteOps::PLAIN };

/// Updates how the file will be read. Errors: 404; 409 while a job works on it and once it was imported; 412; 422.
fn update(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    id: Uuid,
    mut change: Changeset,
    expected: IfMatch,
) -> Result<Row> {
    let mut import = Import::lock(tx, tenant, id)?;
    import.check_idle()?;
    if import.executed && !change.values().is_empty() {
        let detail = "The file has been imported; how it was read cannot be changed any more. Upload it again.";
        return Err(Error::conflict("already_imported", detail));
    }
    if let Some(SqlValue::Json(Some(Json::Object(given)))) = change.get(imports::mapping) {
        import.mapping = given.clone();
        change.set(imports::targets, import.column_mapping()?.targets());
    }
    if let Some(SqlValue::Texts(given)) = change.get(imports::match_by) {
        match_keys::check(import.resource, given)?;
    }
    crud::update(tx, tenant, resource, id, change, expected)
}
