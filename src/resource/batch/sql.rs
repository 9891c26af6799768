//! The SQL of row sets: one statement each, whose text depends on the fields of the set and not on the number of rows.

use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use crate::auth::Tenant;
use crate::db::Statement;
use crate::resource::definition::Resource;
use crate::resource::field::Field;
use crate::resource::pending_row::PendingRow;
use crate::resource::{assignments, select};

/// Selects rows by id and locks them until the transaction ends; in id order, so that concurrent sets wait for each
/// other and do not deadlock. Cells: those of the row if `whole`, otherwise id and version.
pub fn lock_rows(resource: &Resource, tenant: &Tenant, ids: Vec<Uuid>, whole: bool) -> Statement {
    let mut sql = Statement::new("SELECT ");
    sql.append(cells(resource, whole)).sql(" FROM ").ident(resource.table).sql(" t");
    sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ANY(").bind(ids).sql(")");
    select::not_deleted(&mut sql, resource);
    sql.sql(" ORDER BY t.id FOR NO KEY UPDATE");
    sql
}

/// As [`lock_rows`], by the unique field `key`. The last cell is the position of the value in `values`, from 1.
pub fn lock_rows_by_key(
    resource: &Resource,
    tenant: &Tenant,
    key: &Field,
    values: Vec<String>,
    whole: bool,
) -> Statement {
    let mut sql = Statement::new("SELECT ");
    sql.append(cells(resource, whole)).sql(", k.place FROM unnest(").bind(values);
    sql.sql(") WITH ORDINALITY AS k (value, place) JOIN ").ident(resource.table);
    match key.fold_case {
        true => sql.sql(" t ON lower(t.").ident(key.name).sql(") = lower(k.value)"),
        false => sql.sql(" t ON t.").ident(key.name).sql(" = k.value"),
    };
    sql.append(select::tenant_predicate(resource, tenant));
    select::not_deleted(&mut sql, resource);
    sql.sql(" ORDER BY t.id FOR NO KEY UPDATE OF t");
    sql
}

fn cells(resource: &Resource, whole: bool) -> Statement {
    if whole { select::columns(resource, "t") } else { Statement::new("t.id, t.version") }
}

/// Inserts the pending rows, in their order. Fields that a row does not set get their column's default.
pub fn insert(resource: &Resource, tenant: &Tenant, drafts: &[&PendingRow]) -> Statement {
    let fields = fields(resource, drafts);
    let mut sql = Statement::new(format!("INSERT INTO {} AS t ({}, id", resource.table, resource.tenant_column));
    for field in &fields {
        sql.sql(", ").ident(field.name);
    }
    sql.sql(") SELECT ").bind(tenant.id()).sql(", i.id");
    for field in &fields {
        match field.default_sql() {
            Some(default) => sql.sql(", coalesce(i.").ident(field.name).sql(", ").append(default).sql(")"),
            None => sql.sql(", i.").ident(field.name),
        };
    }
    sql.sql(" FROM ")
        .append(recordset(&fields, drafts, false))
        .sql(" RETURNING ")
        .append(select::columns(resource, "t"));
    sql
}

/// Updates the pending rows that would change; fields that a row does not set stay unchanged. Rows that have all values
/// already are neither updated nor returned.
pub fn update(resource: &Resource, tenant: &Tenant, drafts: &[&PendingRow]) -> Statement {
    let fields = fields(resource, drafts);
    let by = |field: &Field| drafts.iter().find_map(|draft| draft.changes.follows(field.name));
    let fills = |field: &Field| drafts.iter().any(|draft| draft.changes.fills(field.name));
    let mixed = drafts.iter().any(|draft| draft.changes.values().len() < fields.len())
        || fields.iter().any(|field| by(field).is_some() || fills(field));
    let mut sql =
        Statement::new(format!("UPDATE {} AS t SET version = t.version + 1, updated_at = now()", resource.table));
    let mut differs = Vec::with_capacity(fields.len());
    for (bit, field) in fields.iter().enumerate() {
        let (name, bit) = (field.name, 1_i64 << bit);
        let new = match field.merges() {
            true => assignments::merged(resource, field, Statement::new(format!("i.{name}"))).text().to_owned(),
            false => format!("i.{name}"),
        };
        let mut given = if mixed { format!("i.given & {bit} <> 0 AND ") } else { String::new() };
        match by(field) {
            Some(by) => sql.push(&format!(
                ", {name} = CASE WHEN i.given & {bit} = 0 OR (i.following & {bit} <> 0 AND t.{by} IS NOT DISTINCT FROM i.{by}) \
                 THEN t.{name} ELSE {new} END"
            )),
            None if fills(field) => sql.push(&format!(
                ", {name} = CASE WHEN i.given & {bit} = 0 OR (i.filling & {bit} <> 0 AND t.{name} IS NOT NULL) \
                 THEN t.{name} ELSE {new} END"
            )),
            None if mixed => {
                sql.push(&format!(", {name} = CASE WHEN i.given & {bit} <> 0 THEN {new} ELSE t.{name} END"))
            }
            None => sql.push(&format!(", {name} = {new}")),
        };
        // A field that only follows another or fills a null does not make the row differ.
        if by(field).is_some() {
            given.push_str(&format!("i.following & {bit} = 0 AND "));
        }
        if fills(field) {
            given.push_str(&format!("i.filling & {bit} = 0 AND "));
        }
        differs.push(format!("({given}t.{name} IS DISTINCT FROM {new})"));
    }
    sql.sql(" FROM ").append(recordset(&fields, drafts, mixed)).append(select::tenant_predicate(resource, tenant));
    sql.push(&format!(" AND t.id = i.id AND ({})", differs.join(" OR ")));
    select::not_deleted(&mut sql, resource);
    sql.sql(" RETURNING ").append(select::columns(resource, "t"));
    sql
}

/// Marks locked rows as deleted.
pub fn delete(resource: &Resource, tenant: &Tenant, ids: Vec<Uuid>) -> Statement {
    let mut sql = Statement::new(format!(
        "UPDATE {} AS t SET deleted_at = now(), version = t.version + 1, updated_at = now()",
        resource.table
    ));
    sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ANY(").bind(ids).sql(")");
    select::not_deleted(&mut sql, resource);
    sql
}

/// Returns the fields that any of the pending rows sets, in the resource's order.
fn fields(resource: &Resource, drafts: &[&PendingRow]) -> Vec<&'static Field> {
    let sets = |field: &&Field| drafts.iter().any(|draft| draft.changes.get_field(field.name).is_some());
    resource.fields.iter().filter(sets).collect()
}

/// The rows as a table `i` of their ids and `fields`; with `mask` also bit masks of the fields that each row sets
/// (`given`), and of those that only follow another one (`following`) or fill a null (`filling`).
fn recordset(fields: &[&'static Field], drafts: &[&PendingRow], mask: bool) -> Statement {
    let rows = drafts.iter().map(|draft| {
        let mut row = Map::with_capacity(fields.len() + 4);
        row.insert("id".to_owned(), json!(draft.id));
        let (mut given, mut following, mut filling) = (0_i64, 0_i64, 0_i64);
        for (field, value) in draft.changes.values() {
            row.insert(field.name.to_owned(), value.to_json());
            let bit = fields.iter().position(|known| known.name == field.name).map_or(0, |bit| 1 << bit);
            given |= bit;
            following |= if draft.changes.follows(field.name).is_some() { bit } else { 0 };
            filling |= if draft.changes.fills(field.name) { bit } else { 0 };
        }
        if mask {
            row.insert("given".to_owned(), json!(given));
            row.insert("following".to_owned(), json!(following));
            row.insert("filling".to_owned(), json!(filling));
        }
        Json::Object(row)
    });
    let mut sql = Statement::new("jsonb_to_recordset(");
    sql.bind(Json::Array(rows.collect())).sql(") AS i(id uuid");
    if mask {
        sql.sql(", given bigint, following bigint, filling bigint");
    }
    for field in fields {
        sql.push(&format!(", {} {}", field.name, field.field_type.sql()));
    }
    sql.sql(")");
    sql
}
