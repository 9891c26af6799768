//! Writes of single rows: sets of one, without a savepoint. What the database rejects is the error of the transaction.

use uuid::Uuid;

use super::items::Returning;
use super::sql;
use super::write_set::{check_alone, check_repeated, put, row, why_not_written};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::body::Changeset;
use crate::resource::definition::Resource;
use crate::resource::list_query::Projection;
use crate::resource::pending_row::PendingRow;
use crate::resource::read_rows::{RESTORABLE_DAYS, not_found, one};
use crate::resource::row::Row;
use crate::resource::row_visibility::RowVisibility;
use crate::resource::select;

/// A row to be created. A caller restricted to assigned rows is assigned to it by default, or could not read it
/// afterwards.
pub fn new_row(tenant: &Tenant, resource: &Resource, id: Uuid, mut change: Changeset) -> PendingRow {
    if let (Some(person), RowVisibility::Assigned(column)) = (tenant.restricted_to_user(), resource.visibility) {
        change.set_default_field(resource.own_field(column), person.into());
    }
    PendingRow::new(id, change)
}

/// Creates a row. Errors: 409 and 422 from constraints, and those of the resource's hooks.
pub fn create(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, change: Changeset) -> Result<(Uuid, Row)> {
    let pending = new_row(tenant, resource, Uuid::now_v7(), change);
    let id = pending.id;
    let written = write(tx, tenant, resource, pending)?;
    Ok((id, written.ok_or_else(|| Error::Internal("an insert returned no row".into()))?))
}

/// Updates a row, if `expected` allows its version. An update that would change no value writes nothing and keeps the
/// version. Errors: 404; 412 when the version does not match; 422 when what the changeset repeats is not the row's own; and
/// those of [`create`].
pub fn update(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    id: Uuid,
    change: Changeset,
    expected: IfMatch,
) -> Result<Row> {
    if !change.repeated().is_empty() {
        let own = sql::lock_rows(resource, tenant, vec![id], Returning::Rows).row(tx)?;
        let cells = own.ok_or_else(|| not_found(resource))?;
        if !expected.allows(Some(row(resource, &cells, Returning::Rows).version)) {
            return Err(Error::PreconditionFailed);
        }
        check_repeated(resource, &change, &cells).map_err(Error::Invalid)?;
    }
    if !change.is_empty()
        && let Some(written) = write(tx, tenant, resource, PendingRow::new(id, change).at(expected))?
    {
        return Ok(written);
    }
    let row = one(tx, tenant, resource, id, &Projection::default())?.ok_or_else(|| not_found(resource))?;
    if expected.allows(Some(row.version)) { Ok(row) } else { Err(Error::PreconditionFailed) }
}

/// Checks and writes one row. `None`: the update changes nothing, or finds no row of an allowed version.
fn write(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, pending: PendingRow) -> Result<Option<Row>> {
    let pending = check_alone(tx, tenant, resource, pending)?;
    Ok(put(tx, tenant, resource, &[&pending], Returning::Rows)?.remove(&pending.id))
}

/// Deletes a row: marks it deleted, where it can be restored. Errors: 404 and 412.
pub fn delete(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    id: Uuid,
    expected: IfMatch,
) -> Result<()> {
    if sql::delete(resource, tenant, vec![id], expected).run(tx)? == 0 {
        return Err(why_not_written(tx, tenant, resource, id)?);
    }
    (resource.hooks.removed_or_restored)(tx, tenant, &[id])
}

/// Restores a deleted row. A row that is not deleted stays unchanged. Errors: 404 when there is none or its time is
/// over; 409 when another row has taken its place.
pub fn restore(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, id: Uuid) -> Result<Row> {
    let mut sql = Statement::new("UPDATE ");
    sql.ident(resource.table).sql(" AS t SET deleted_at = NULL, version = version + 1, updated_at = now()");
    sql.append(select::tenant_predicate(resource, tenant)).append(select::ids_predicate(vec![id]));
    sql.sql(" AND t.deleted_at > now() - make_interval(days => ").number(RESTORABLE_DAYS);
    sql.sql(") RETURNING ").append(select::columns(resource, "t"));
    if let Some(cells) = sql.row(tx)? {
        (resource.hooks.removed_or_restored)(tx, tenant, &[id])?;
        return Ok(row(resource, &cells, Returning::Rows));
    }
    one(tx, tenant, resource, id, &Projection::default())?.ok_or_else(|| not_found(resource))
}
