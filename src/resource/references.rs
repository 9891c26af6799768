//! Checks that references lead to existing rows: of this business, visible to the caller, and not deleted.
//!
//! Referenced rows that can be soft-deleted are locked `FOR KEY SHARE`, as their foreign keys do anyway when the
//! referencing row is written: this waits for a concurrent merge of the row into another, and then sees it as deleted.
//! It blocks neither readers nor ordinary updates.

use std::collections::{BTreeMap, HashMap, HashSet};

use diesel::QueryableByName;
use diesel::sql_types::Integer;
use uuid::Uuid;

use super::body::Changeset;
use super::definition::Resource;
use super::pending_row::PendingRow;
use super::relation::{Cardinality, Relation};
use super::select;
use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::db::{Statement, Tx};

/// Rejects a row that is written alone, with all its references to deleted or missing rows. References to users are left
/// to the foreign keys: users are never deleted.
pub fn check_alone(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, row: &mut PendingRow) -> Result<()> {
    let checked = |(relation, _): &(&'static Relation, Uuid)| relation.resource().soft_delete();
    let own = (resource.lock_before_references && !row.changes.creates).then_some((resource, row.id));
    let existing = lock(tx, tenant, own, references(resource, &row.changes).filter(checked))?;
    refuse_missing(tx, tenant, resource, std::slice::from_mut(row), &existing, checked)
}

/// Rejects the rows of a set with such references, in one query for all. References to users are checked, too: a violated
/// foreign key would reject the whole set. The rows of the set are locked already.
pub fn check_set(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, rows: &mut [PendingRow]) -> Result<()> {
    let existing = lock_existing(tx, tenant, rows.iter().flat_map(|row| references(resource, &row.changes)))?;
    refuse_missing(tx, tenant, resource, rows, &existing, |_| true)
}

/// Rejects the rows with references to none of `existing`, unless a row has that reference already: the referenced row
/// was deleted since, and a row can be sent back as it was read.
fn refuse_missing(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    rows: &mut [PendingRow],
    existing: &ExistingIds,
    checked: impl Fn(&(&'static Relation, Uuid)) -> bool,
) -> Result<()> {
    let missing = |row: &PendingRow| -> Vec<(&'static Relation, Uuid)> {
        let is_missing =
            |(relation, id): &(&Relation, Uuid)| !existing.get(relation.column).is_some_and(|ids| ids.contains(id));
        references(resource, &row.changes).filter(&checked).filter(is_missing).collect()
    };
    let changed = rows.iter().filter(|row| !row.changes.creates).map(|row| (row.id, missing(row)));
    let kept = kept(tx, tenant, resource, changed.filter(|(_, missing)| !missing.is_empty()))?;
    for row in rows {
        let faults: Vec<FieldError> = missing(row)
            .into_iter()
            .filter(|(relation, id)| !kept.contains(&(row.id, relation.column, *id)))
            .map(|(relation, _)| missing_reference(relation.column, relation.resource()))
            .collect();
        if !faults.is_empty() {
            row.refuse(Error::Invalid(faults));
        }
    }
    Ok(())
}

/// Returns the references that rows have, of the columns that `missing` names: row, column and id. No query where it
/// names none, else one.
fn kept(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    missing: impl Iterator<Item = (Uuid, Vec<(&'static Relation, Uuid)>)>,
) -> Result<HashSet<(Uuid, &'static str, Uuid)>> {
    let mut wanted: BTreeMap<&'static str, Vec<Uuid>> = BTreeMap::new();
    for (row, links) in missing {
        links.iter().for_each(|(relation, _)| wanted.entry(relation.column).or_default().push(row));
    }
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let mut sql = Statement::default();
    for (place, (column, rows)) in wanted.iter().enumerate() {
        sql.sql(if place == 0 { "SELECT " } else { " UNION ALL SELECT " });
        sql.number(place as i64).sql(" AS place, t.id AS row_id, t.").ident(column).sql(" AS id FROM ");
        sql.ident(resource.table).sql(" AS t").append(select::tenant_predicate(resource, tenant));
        sql.append(select::ids_predicate(rows.clone())).sql(" AND t.").ident(column).sql(" IS NOT NULL");
    }
    let columns: Vec<&'static str> = wanted.into_keys().collect();
    let kept = sql.load::<KeptReference>(tx)?.into_iter().filter_map(|KeptReference { place, row_id, id }| {
        let column = usize::try_from(place).ok().and_then(|place| columns.get(place))?;
        Some((row_id, *column, id))
    });
    Ok(kept.collect())
}

/// A reference that a row has.
#[derive(QueryableByName)]
struct KeptReference {
    /// The place of its column.
    #[diesel(sql_type = Integer)]
    place: i32,
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    row_id: Uuid,
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    id: Uuid,
}

/// Returns which of the referenced ids exist, by the column of the reference, in one query. Rows that can be
/// soft-deleted are locked `FOR KEY SHARE`.
pub fn lock_existing(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    links: impl Iterator<Item = (&'static Relation, Uuid)>,
) -> Result<ExistingIds> {
    lock(tx, tenant, None, links)
}

/// As [`lock_existing`]; where there are references, the row `own` is locked before the rows that it references.
fn lock(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    own: Option<(&'static Resource, Uuid)>,
    links: impl Iterator<Item = (&'static Relation, Uuid)>,
) -> Result<ExistingIds> {
    let mut wanted: Vec<(&'static Relation, HashSet<Uuid>)> = Vec::new();
    for (relation, id) in links {
        match wanted.iter_mut().find(|(known, _)| std::ptr::eq(*known, relation)) {
            Some((_, ids)) => drop(ids.insert(id)),
            None => wanted.push((relation, HashSet::from([id]))),
        }
    }
    let mut there = ExistingIds::new();
    if wanted.is_empty() {
        return Ok(there);
    }
    // Sorted by column, whichever row came first: the same references make the same statement.
    wanted.sort_by_key(|(relation, _)| relation.column);
    let mut sql = Statement::default();
    if let Some((resource, id)) = own {
        // -1 is no place of a reference.
        sql.sql("SELECT -1 AS place, own.id FROM (SELECT t.id FROM ").ident(resource.table).sql(" AS t");
        sql.append(select::tenant_predicate(resource, tenant)).append(select::ids_predicate(vec![id]));
        sql.sql(" FOR NO KEY UPDATE OF t) AS own UNION ALL ");
    }
    for (place, (relation, ids)) in wanted.iter().enumerate() {
        let (resource, target) = (relation.resource(), relation.target);
        sql.sql(if place == 0 { "SELECT " } else { " UNION ALL SELECT " });
        sql.number(place as i64).sql(" AS place, there.id FROM (SELECT t.").ident(target);
        sql.sql(" AS id FROM ").ident(resource.table).sql(" AS t").append(select::tenant_predicate(resource, tenant));
        sql.sql(" AND t.").ident(target).sql(" = ANY(").bind(ids.iter().copied().collect::<Vec<_>>()).sql(")");
        select::not_deleted(&mut sql, resource);
        if resource.soft_delete() {
            // In the order in which all statements lock rows of one resource.
            sql.sql(" ORDER BY t.").ident(target).sql(" FOR KEY SHARE OF t");
        }
        sql.sql(") AS there");
    }
    for ExistingRow { place, id } in sql.load(tx)? {
        if let Some((relation, _)) = usize::try_from(place).ok().and_then(|place| wanted.get(place)) {
            there.entry(relation.column).or_default().insert(id);
        }
    }
    Ok(there)
}

/// A referenced row that exists.
#[derive(QueryableByName)]
struct ExistingRow {
    /// The place of its relation.
    #[diesel(sql_type = Integer)]
    place: i32,
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    id: Uuid,
}

/// Ids of existing rows, by the column of the reference to them.
pub type ExistingIds = HashMap<&'static str, HashSet<Uuid>>;

/// Returns the references that a changeset sets: relation and id.
pub fn references<'c>(
    resource: &'static Resource,
    change: &'c Changeset,
) -> impl Iterator<Item = (&'static Relation, Uuid)> + use<'c> {
    change.values().iter().filter_map(move |(field, value)| {
        let shows = |relation: &&Relation| relation.arity == Cardinality::One && relation.column == field.name;
        Some((resource.relations.iter().find(shows)?, value.as_uuid()?))
    })
}

/// The validation error of a reference that leads to no row.
pub fn missing_reference(field: &str, resource: &Resource) -> FieldError {
    let detail = format!("`{field}` names no {} of this business, or a deleted one.", resource.name);
    FieldError::new(format!("/{field}"), "no_such_row", detail)
}
