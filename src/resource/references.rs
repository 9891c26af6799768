//! Checks that references lead to existing rows: of this business, visible to the caller, and not deleted.
//!
//! Referenced rows that can be soft-deleted are locked `FOR KEY SHARE`, as their foreign keys do anyway when the
//! referencing row is written: this waits for a concurrent merge of the row into another, and then sees it as deleted.
//! It blocks neither readers nor ordinary updates.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::body::Changeset;
use super::definition::Resource;
use super::pending_row::PendingRow;
use super::relation::{Cardinality, Relation};
use super::select;
use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::db::{Statement, Tx};

/// Rejects references of one row to deleted or missing rows, all at once. (Foreign keys reject missing rows as well,
/// one at a time, and cannot detect deleted ones; so references to users, who are never deleted, are left to them.)
pub fn check(tx: &mut Tx<'_>, tenant: &Tenant, resource: &Resource, draft: &PendingRow) -> Result<()> {
    let change = &draft.changes;
    let links: Vec<(&'static str, &Relation, Uuid)> = change
        .values()
        .iter()
        .filter_map(|(field, value)| {
            Some((field.name, Relation::of_link(resource.relations, field.name)?, value.as_uuid()?))
        })
        .collect();
    if links.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::default();
    if resource.lock_before_references && !change.creates {
        // Locks the row itself; -1 is no index of a reference.
        sql.push(&format!("SELECT -1 FROM (SELECT t.id FROM {} AS t", resource.table));
        sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ").bind(draft.id);
        sql.sql(" FOR NO KEY UPDATE OF t) AS own UNION ALL ");
    }
    for (place, (_, relation, id)) in links.iter().enumerate() {
        let resource = relation.resource();
        sql.sql(if place == 0 { "SELECT " } else { " UNION ALL SELECT " });
        sql.push(&format!("{place} WHERE NOT EXISTS (SELECT FROM {} AS t", resource.table))
            .append(select::tenant_predicate(resource, tenant));
        sql.push(&format!(" AND t.{} = ", relation.target)).bind(*id);
        select::not_deleted(&mut sql, resource);
        sql.sql(" FOR KEY SHARE OF t)");
    }
    let broken = sql.rows(tx)?;
    let broken = broken.iter().filter_map(|row| links.get(usize::try_from(row.int(0)?).ok()?));
    let faults: Vec<FieldError> =
        broken.map(|(field, relation, _)| missing_reference(field, relation.resource())).collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// Rejects the rows of a set with such references, in one query for all. Checks references to users, too, so that no
/// foreign key is violated: that would reject the whole set.
pub fn check_all(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    drafts: &mut [PendingRow],
) -> Result<()> {
    let there = lock_existing(tx, tenant, drafts.iter().flat_map(|draft| references(resource, &draft.changes)))?;
    for draft in drafts {
        let broken = references(resource, &draft.changes)
            .filter(|(relation, id)| !there.get(relation.column).is_some_and(|ids| ids.contains(id)))
            .map(|(relation, _)| missing_reference(relation.column, relation.resource()));
        let faults: Vec<FieldError> = broken.collect();
        if !faults.is_empty() {
            draft.refuse(Error::Invalid(faults));
        }
    }
    Ok(())
}

/// Returns which of the referenced ids exist, by the column of the reference, in one query. Rows that can be
/// soft-deleted are locked `FOR KEY SHARE`.
pub fn lock_existing(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
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
    for (place, (relation, ids)) in wanted.iter().enumerate() {
        let (resource, target) = (relation.resource(), relation.target);
        sql.sql(if place == 0 { "SELECT " } else { " UNION ALL SELECT " });
        sql.push(&format!("{place}, there.{target} FROM (SELECT t.{target} FROM {} AS t", resource.table));
        sql.append(select::tenant_predicate(resource, tenant)).push(&format!(" AND t.{target} = ANY("));
        sql.bind(ids.iter().copied().collect::<Vec<_>>()).sql(")");
        select::not_deleted(&mut sql, resource);
        if resource.soft_delete() {
            // In the order in which all statements lock rows of one resource.
            sql.push(&format!(" ORDER BY t.{target} FOR KEY SHARE OF t"));
        }
        sql.sql(") AS there");
    }
    for row in sql.rows(tx)? {
        if let (Some(place), Some(id)) = (row.int(0), row.uuid(1))
            && let Some((relation, _)) = wanted.get(place as usize)
        {
            there.entry(relation.column).or_default().insert(id);
        }
    }
    Ok(there)
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
