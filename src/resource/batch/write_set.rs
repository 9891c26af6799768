//! Checks and writes sets of rows. All writes of resources come here, of one row or of a thousand: this is the only place
//! that runs the hooks of a write and sends its INSERT or UPDATE.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::items::Returning;
use super::sql;
use crate::auth::{Tenant, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::db::{RawRow, Tx};
use crate::resource::body::{self, Changeset};
use crate::resource::definition::Resource;
use crate::resource::list_query::Projection;
use crate::resource::pending_row::PendingRow;
use crate::resource::read_rows::{self, RelatedRows};
use crate::resource::row::Row;
use crate::resource::{references, row_json, select};

/// Checks the references of a set and runs the resource's `before` hook. The rows that are rejected say why.
pub fn check(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, rows: &mut [PendingRow]) -> Result<()> {
    references::check_set(tx, tenant, resource, rows)?;
    before(tx, tenant, resource, rows)
}

/// As [`check`], of a row that is written alone.
pub fn check_alone(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    row: PendingRow,
) -> Result<PendingRow> {
    let mut set = [row];
    references::check_alone(tx, tenant, resource, &mut set[0])?;
    before(tx, tenant, resource, &mut set)?;
    let [row] = set;
    row.into_result()
}

fn before(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, rows: &mut [PendingRow]) -> Result<()> {
    if rows.iter().any(PendingRow::is_accepted) {
        (resource.hooks.before)(tx, tenant, rows)?;
    }
    Ok(())
}

/// Writes a set that was checked: changed rows, new rows, and the effects of the `after` hook. Returns the rows as they
/// are now, by id; of updates that change no value, too, unless the set is a single row.
pub fn put(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    rows: &[&PendingRow],
    returning: Returning,
) -> Result<HashMap<Uuid, Row>> {
    let (new, known): (Vec<&PendingRow>, Vec<&PendingRow>) = rows.iter().partition(|row| row.changes.creates);
    let mut written = HashMap::with_capacity(rows.len());
    let mut add = |tx: &mut Tx<'_>, statement: crate::db::Statement| -> Result<()> {
        for cells in statement.rows(tx)? {
            written.insert(row_json::id(&cells), row(resource, &cells, returning));
        }
        Ok(())
    };
    if !known.is_empty() {
        add(tx, sql::update(resource, tenant, &known, returning))?;
    }
    if !new.is_empty() {
        add(tx, sql::insert(resource, tenant, &new, returning))?;
    }
    let (changed, same): (Vec<&PendingRow>, Vec<&PendingRow>) =
        rows.iter().partition(|row| written.contains_key(&row.id));
    // Alone, the row may also be missing or have another version: the caller finds out.
    if !same.is_empty() && rows.len() > 1 {
        let ids = same.iter().map(|row| row.id).collect();
        for cells in select::by_ids(resource, tenant, &Projection::default(), ids).rows(tx)? {
            written.insert(row_json::id(&cells), row(resource, &cells, Returning::Rows));
        }
    }
    if !changed.is_empty() {
        (resource.hooks.after)(tx, tenant, &changed)?;
    }
    Ok(written)
}

/// The row of these cells.
pub fn row(resource: &'static Resource, cells: &RawRow, returning: Returning) -> Row {
    match returning {
        Returning::Rows => read_rows::row(resource, &Projection::default(), cells, &RelatedRows::default()),
        Returning::Versions => Row { json: Vec::new(), version: row_json::version_after_id(cells) },
    }
}

/// Checks that what a changeset repeats of the row is the row's own. Errors: the fields that are not.
pub fn check_repeated(resource: &Resource, change: &Changeset, cells: &RawRow) -> Result<(), Vec<FieldError>> {
    let places = change.repeated().iter().filter_map(|(field, _)| resource.index(field.name));
    let mask = places.fold(0, |mask, place| mask | 1 << place);
    if mask == 0 {
        return Ok(());
    }
    let mut shown = b"{".to_vec();
    row_json::members(&mut shown, resource.fields, cells, 0, Some(mask));
    shown.push(b'}');
    check_repeated_in(change, &serde_json::from_slice(&shown).unwrap_or_default())
}

/// As [`check_repeated`], of a row as JSON.
pub fn check_repeated_in(change: &Changeset, row: &Map<String, Json>) -> Result<(), Vec<FieldError>> {
    let mut faults = Vec::new();
    for (field, given) in change.repeated() {
        let own = row.get(field.name).cloned().unwrap_or_default();
        // As text, two instants can differ that are the same.
        let own = body::value(field.field_type, own, &TenantSettings::nowhere()).ok();
        let is_same = given.is_some() && own == *given;
        if !is_same {
            faults.push(FieldError::new(format!("/{}", field.name), "read_only", body::not_its_own(field)));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Checks the references of one changeset that is meant for many rows. Errors: 422 for those that lead to no row.
pub fn check_references(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    change: Changeset,
) -> Result<()> {
    let mut set = [PendingRow::new(Uuid::nil(), change)];
    references::check_set(tx, tenant, resource, &mut set)?;
    let [pending] = set;
    pending.into_result().map(drop)
}

/// Why a write found no row: it does not exist, or its version is not allowed.
pub fn why_not_written(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, id: Uuid) -> Result<Error> {
    Ok(match read_rows::one(tx, tenant, resource, id, &Projection::default())? {
        Some(_) => Error::PreconditionFailed,
        None => read_rows::not_found(resource),
    })
}
