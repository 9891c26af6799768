//! `POST /merges/{id}/reversion`: undoes a merge, as far as nothing has been changed since.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::dto::{MergeReversion, NotUndone};
use super::locks::{lock, take_turns};
use super::references::{self, Link};
use super::resource::{MERGES, REVERSIBLE_DAYS};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::crm::companies::{COMPANIES, CompanyRow};
use crate::crm::contacts::{CONTACTS, ContactRow};
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::crud::{self, RelatedRows};
use crate::resource::list_query::Projection;
use crate::resource::references::lock_existing;
use crate::resource::{Relation, Resource, select};

/// A merge that can be undone.
struct Kept {
    id: Uuid,
    resource: &'static Resource,
    survivor: Uuid,
    from: Vec<Uuid>,
}

/// A locked merge.
#[derive(QueryableByName)]
struct LockedMerge {
    #[diesel(sql_type = Text)]
    resource: String,
    #[diesel(sql_type = SqlUuid)]
    survivor_id: Uuid,
    #[diesel(sql_type = Array<Text>)]
    from_ids: Vec<String>,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Bool)]
    is_reverted: bool,
    #[diesel(sql_type = Bool)]
    is_too_late: bool,
}

/// A field of the survivor that the merge changed.
#[derive(QueryableByName)]
struct ChangedField {
    #[diesel(sql_type = Text)]
    name: String,
    /// Whether it still has the merge's value.
    #[diesel(sql_type = Bool)]
    is_unchanged: bool,
    /// Its value before the merge.
    #[diesel(sql_type = Nullable<Text>)]
    old: Option<String>,
}

/// Undoes merge `id` if `expected` is its version.
/// Queries: nine, and one for each reference to the resource. Errors: 404; 409 when it is undone already, too late, the
/// survivor is deleted, or a unique value is taken; 412.
pub fn run(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<MergeReversion> {
    take_turns(tx, tenant)?;
    let kept = find(tx, tenant, id, expected)?;
    let Kept { resource, survivor, .. } = kept;
    let ids: Vec<Uuid> = [survivor].into_iter().chain(kept.from.iter().copied()).collect();
    let rows = lock(tx, tenant, resource, &ids)?;
    let there = |id: Uuid| rows.iter().find(|row| row.id == id);
    if there(survivor).is_none_or(|row| row.is_deleted) {
        let detail =
            format!("The {} that they became is deleted, or was merged itself. Undo that first.", resource.name);
        return Err(Error::conflict("survivor_deleted", detail));
    }
    let fields = give_back(tx, tenant, &kept)?;
    let from: Vec<Uuid> = kept.from.iter().copied().filter(|id| there(*id).is_some()).collect();
    restore(tx, tenant, &kept).map_err(|error| taken(error, resource))?;
    let mut left = Map::new();
    for link in references::to(resource) {
        let count = relink(tx, tenant, &kept, link, &from)?;
        if count > 0 {
            let before = left.get(link.resource.plural).and_then(Json::as_i64).unwrap_or_default();
            left.insert(link.resource.plural.to_owned(), json!(before + count));
        }
    }
    if from.len() < kept.from.len() {
        left.insert(resource.plural.to_owned(), json!(kept.from.len() - from.len()));
    }
    let mut sql =
        Statement::new("UPDATE merges t SET reverted_at = now(), version = t.version + 1, updated_at = now()");
    sql.append(select::tenant_predicate(&MERGES, tenant)).sql(" AND t.id = ").bind(id);
    let cells = sql.sql(" RETURNING ").append(select::columns(&MERGES, "t")).row(tx)?;
    let cells = cells.ok_or_else(|| crud::not_found(&MERGES))?;
    let merge = crud::row(&MERGES, &Projection::default(), &cells, &RelatedRows::default());
    let row = crud::one(tx, tenant, resource, survivor, &Projection::default())?;
    let (contact, company) = match resource.table == CONTACTS.table {
        true => (row.map(ContactRow::try_from).transpose()?, None),
        false => (None, row.map(CompanyRow::try_from).transpose()?),
    };
    Ok(MergeReversion { merge: merge.try_into()?, contact, company, kept: NotUndone { fields, rows: left } })
}

/// Locks the merge. Errors: 404, 409, 412.
fn find(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<Kept> {
    let mut sql = Statement::new(
        "SELECT t.resource, t.survivor_id, t.from_ids, t.version, t.reverted_at IS NOT NULL AS is_reverted, \
         t.reversible_until < now() AS is_too_late FROM merges t",
    );
    sql.append(select::tenant_predicate(&MERGES, tenant)).sql(" AND t.id = ").bind(id);
    let merge = sql.sql(" FOR UPDATE").first::<LockedMerge>(tx)?.ok_or_else(|| crud::not_found(&MERGES))?;
    if !expected.allows(Some(merge.version)) {
        return Err(Error::PreconditionFailed);
    }
    if merge.is_reverted {
        return Err(Error::conflict("already_reverted", "This merge was undone already."));
    }
    if merge.is_too_late {
        let detail =
            format!("A merge can be undone for {} days, and not after a person was forgotten.", REVERSIBLE_DAYS);
        return Err(Error::conflict("too_late", detail));
    }
    let resource = if merge.resource == CONTACTS.plural { &CONTACTS } else { &COMPANIES };
    let from = merge.from_ids.iter().filter_map(|id| Uuid::try_parse(id).ok()).collect();
    Ok(Kept { id, resource, survivor: merge.survivor_id, from })
}

/// Appends the condition on this merge, whose alias is `m`.
fn this(sql: &mut Statement, tenant: &Tenant, kept: &Kept) {
    sql.sql("m.business_id = ").bind(tenant.id()).sql(" AND m.id = ").bind(kept.id);
}

/// Restores the survivor's old values, where the merge's values are unchanged and old references still point to a row.
/// Returns the other fields.
fn give_back(tx: &mut Tx<'_>, tenant: &Tenant, kept: &Kept) -> Result<Vec<String>> {
    let resource = kept.resource;
    let mut sql = Statement::new(
        "SELECT f.key AS name, to_jsonb(t) -> f.key IS NOT DISTINCT FROM f.value -> 'new' AS is_unchanged, \
         f.value ->> 'old' AS old FROM merges m CROSS JOIN jsonb_each(m.changes) f JOIN ",
    );
    sql.ident(resource.table).sql(" t ON t.business_id = m.business_id AND t.id = m.survivor_id WHERE ");
    this(&mut sql, tenant, kept);
    let changed = sql.sql(" ORDER BY f.key").load::<ChangedField>(tx)?;
    let link = |field: &ChangedField| {
        let relation = Relation::of_link(resource.relations, &field.name)?;
        Some((relation, Uuid::try_parse(field.old.as_deref()?).ok()?))
    };
    let existing = lock_existing(tx, tenant, changed.iter().filter_map(link))?;
    let leads = |field: &ChangedField| {
        link(field).is_none_or(|(relation, id)| existing.get(relation.column).is_some_and(|ids| ids.contains(&id)))
    };
    let (same, others): (Vec<ChangedField>, Vec<ChangedField>) =
        changed.into_iter().partition(|field| field.is_unchanged && leads(field));
    let mut sql = Statement::new("UPDATE ");
    sql.ident(resource.table).sql(" t SET version = t.version + 1, updated_at = now()");
    for field in resource.fields.iter().filter(|field| same.iter().any(|one| one.name == field.name)) {
        sql.sql(", ").ident(field.name).sql(" = p.").ident(field.name);
    }
    sql.sql(" FROM merges m CROSS JOIN jsonb_populate_record(NULL::").ident(resource.table);
    sql.sql(
        ", (SELECT jsonb_object_agg(f.key, f.value -> 'old') \
         FROM merges o CROSS JOIN jsonb_each(o.changes) f WHERE o.business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND o.id = ").bind(kept.id).sql(")) p WHERE ");
    this(&mut sql, tenant, kept);
    sql.sql(" AND t.business_id = m.business_id AND t.id = m.survivor_id")
        .run(tx)
        .map_err(|error| taken(error.into(), resource))?;
    Ok(others.into_iter().map(|field| field.name).collect())
}

/// Restores the other rows, if it was the merge that deleted them.
fn restore(tx: &mut Tx<'_>, tenant: &Tenant, kept: &Kept) -> Result<()> {
    let mut sql = Statement::new("UPDATE ");
    sql.ident(kept.resource.table);
    sql.sql(" t SET deleted_at = NULL, version = t.version + 1, updated_at = now() FROM merges m WHERE ");
    this(&mut sql, tenant, kept);
    // Both are the time of the merge's transaction.
    sql.sql(" AND t.business_id = m.business_id AND t.deleted_at = m.created_at AND t.id = ANY(");
    sql.bind(kept.from.clone()).sql(")").run(tx)?;
    Ok(())
}

/// Points rows back to what they referenced by `link`, if that is one of `there` and they still reference the survivor.
/// Returns how many could not be moved back.
fn relink(tx: &mut Tx<'_>, tenant: &Tenant, kept: &Kept, link: Link, there: &[Uuid]) -> Result<i64> {
    let Link { resource, column } = link;
    let mut sql = Statement::new(
        "WITH kept AS (SELECT r.id::uuid AS id, l.key::uuid AS was FROM merges m CROSS JOIN jsonb_each(m.links -> ",
    );
    sql.bind(link.name()).sql(") l CROSS JOIN jsonb_array_elements_text(l.value) r (id) WHERE ");
    this(&mut sql, tenant, kept);
    sql.sql("), back AS (SELECT t.id, kept.was FROM ").ident(resource.table);
    sql.sql(" t JOIN kept ON kept.id = t.id WHERE t.").ident(column).sql(" = ");
    sql.bind(kept.survivor).sql(" AND t.business_id = ").bind(tenant.id());
    sql.sql(" AND kept.was = ANY(").bind(there.to_vec());
    sql.sql(") ORDER BY t.id FOR NO KEY UPDATE OF t), gone AS (UPDATE ").ident(resource.table);
    sql.sql(" t SET ").ident(column).sql(" = back.was, version = t.version + 1, updated_at = now() ");
    sql.sql("FROM back WHERE t.business_id = ");
    sql.bind(tenant.id()).sql(" AND t.id = back.id RETURNING 1) ");
    sql.sql("SELECT (SELECT count(*) FROM kept) - (SELECT count(*) FROM gone)");
    Ok(sql.scalar::<i64>(tx)?.unwrap_or_default())
}

/// Translates the error of a unique value that was taken meanwhile.
fn taken(error: Error, resource: &Resource) -> Error {
    match error.nest_under("") {
        Error::Conflict { code: "already_exists", pointer, .. } => {
            let pointer = pointer.unwrap_or_default();
            let field = pointer.trim_matches('/');
            let detail = format!(
                "The `{field}` of a {} that would come back belongs to another one now. Change that, or delete it, first.",
                resource.name
            );
            Error::Conflict { code: "already_exists", detail, pointer: None, extra: Box::default() }
        }
        other => other,
    }
}
