//! Sets of rows as SQL: each is one statement, whose text depends on which fields the set has and not on how many rows.

use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::super::{Draft, Field, Noun, assignments, select};
use crate::auth::Tenant;
use crate::db::{Statement, Value};

/// Rows by id, as they are, locked until the transaction ends. In one order, so that sets that meet wait for each other, and
/// not in a circle. Cells: those of the row; `whole`: or else id and version only.
pub fn locked(noun: &Noun, tenant: &Tenant, ids: Vec<Uuid>, whole: bool) -> Statement {
    let mut sql = Statement::new("SELECT ");
    sql.push(&cells(noun, whole)).push(" FROM ").push(noun.table).push(" t");
    sql.append(select::scoped(noun, tenant)).push(" AND t.id = ANY(").bind(Value::Uuids(ids)).push(")");
    select::alive(&mut sql, noun);
    sql.push(" ORDER BY t.id FOR NO KEY UPDATE");
    sql
}

/// As [`locked`], by the unique field `key`. The last cell is the place of the value among `values`.
pub fn locked_by_key(noun: &Noun, tenant: &Tenant, key: &Field, values: Vec<String>, whole: bool) -> Statement {
    let (column, value) = match key.fold_case {
        true => (format!("lower(t.{})", key.name), "lower(k.value)"),
        false => (format!("t.{}", key.name), "k.value"),
    };
    let mut sql = Statement::new("SELECT ");
    sql.push(&cells(noun, whole)).push(", k.place FROM unnest(").bind(Value::Texts(values));
    sql.push(") WITH ORDINALITY AS k (value, place) JOIN ").push(noun.table);
    sql.push(&format!(" t ON {column} = {value}")).append(select::scoped(noun, tenant));
    select::alive(&mut sql, noun);
    sql.push(" ORDER BY t.id FOR NO KEY UPDATE OF t");
    sql
}

fn cells(noun: &Noun, whole: bool) -> String {
    if whole { select::columns(noun, "t") } else { "t.id, t.version".to_owned() }
}

/// Makes the rows of `drafts`, in their order. What a row does not have is its column's default.
pub fn insert(noun: &Noun, tenant: &Tenant, drafts: &[&Draft]) -> Statement {
    let fields = fields(noun, drafts);
    let mut sql = Statement::new(format!("INSERT INTO {} AS t ({}, id", noun.table, noun.tenant));
    for field in &fields {
        sql.push(", ").push(field.name);
    }
    sql.push(") SELECT ").bind(Value::Uuid(Some(tenant.id()))).push(", i.id");
    for field in &fields {
        match field.default_sql() {
            Some(default) => sql.push(&format!(", coalesce(i.{}, {default})", field.name)),
            None => sql.push(&format!(", i.{}", field.name)),
        };
    }
    sql.push(" FROM ").append(recordset(&fields, drafts, false)).push(" RETURNING ").push(&select::columns(noun, "t"));
    sql
}

/// Changes the rows of `drafts` that would become others than they are; what a row does not have stays as it is. Rows that have all
/// of it already are not updated and not returned.
pub fn update(noun: &Noun, tenant: &Tenant, drafts: &[&Draft]) -> Statement {
    let fields = fields(noun, drafts);
    let by = |field: &Field| drafts.iter().find_map(|draft| draft.change.follows(field.name));
    let fills = |field: &Field| drafts.iter().any(|draft| draft.change.fills(field.name));
    let mixed = drafts.iter().any(|draft| draft.change.values().len() < fields.len())
        || fields.iter().any(|field| by(field).is_some() || fills(field));
    let mut sql = Statement::new(format!("UPDATE {} AS t SET version = t.version + 1, updated_at = now()", noun.table));
    let mut differs = Vec::with_capacity(fields.len());
    for (bit, field) in fields.iter().enumerate() {
        let (name, bit) = (field.name, 1_i64 << bit);
        let new = match field.merges() {
            true => assignments::merged(noun, field, Statement::new(format!("i.{name}"))).text().to_owned(),
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
        // What only follows or fills makes no difference of its own.
        if by(field).is_some() {
            given.push_str(&format!("i.following & {bit} = 0 AND "));
        }
        if fills(field) {
            given.push_str(&format!("i.filling & {bit} = 0 AND "));
        }
        differs.push(format!("({given}t.{name} IS DISTINCT FROM {new})"));
    }
    sql.push(" FROM ").append(recordset(&fields, drafts, mixed)).append(select::scoped(noun, tenant));
    sql.push(&format!(" AND t.id = i.id AND ({})", differs.join(" OR ")));
    select::alive(&mut sql, noun);
    sql.push(" RETURNING ").push(&select::columns(noun, "t"));
    sql
}

/// Marks rows deleted that were locked.
pub fn delete(noun: &Noun, tenant: &Tenant, ids: Vec<Uuid>) -> Statement {
    let mut sql = Statement::new(format!(
        "UPDATE {} AS t SET deleted_at = now(), version = t.version + 1, updated_at = now()",
        noun.table
    ));
    sql.append(select::scoped(noun, tenant)).push(" AND t.id = ANY(").bind(Value::Uuids(ids)).push(")");
    select::alive(&mut sql, noun);
    sql
}

/// The fields that any of `drafts` sets, in the noun's order.
fn fields(noun: &Noun, drafts: &[&Draft]) -> Vec<&'static Field> {
    let sets = |field: &&Field| drafts.iter().any(|draft| draft.change.get(field.name).is_some());
    noun.fields.iter().filter(sets).collect()
}

/// The rows as a table `i` of their ids and `fields`; with `mask` also of which fields each of them has (`given`), and which
/// of these only follow another one (`following`) or fill what is empty (`filling`).
fn recordset(fields: &[&'static Field], drafts: &[&Draft], mask: bool) -> Statement {
    let rows = drafts.iter().map(|draft| {
        let mut row = Map::with_capacity(fields.len() + 4);
        row.insert("id".to_owned(), json!(draft.id));
        let (mut given, mut following, mut filling) = (0_i64, 0_i64, 0_i64);
        for (field, value) in draft.change.values() {
            row.insert(field.name.to_owned(), value.to_json());
            let bit = fields.iter().position(|known| known.name == field.name).map_or(0, |bit| 1 << bit);
            given |= bit;
            following |= if draft.change.follows(field.name).is_some() { bit } else { 0 };
            filling |= if draft.change.fills(field.name) { bit } else { 0 };
        }
        if mask {
            row.insert("given".to_owned(), json!(given));
            row.insert("following".to_owned(), json!(following));
            row.insert("filling".to_owned(), json!(filling));
        }
        Json::Object(row)
    });
    let mut sql = Statement::new("jsonb_to_recordset(");
    sql.bind(Value::Json(Some(rows.collect()))).push(") AS i(id uuid");
    if mask {
        sql.push(", given bigint, following bigint, filling bigint");
    }
    for field in fields {
        sql.push(&format!(", {} {}", field.name, field.kind.sql()));
    }
    sql.push(")");
    sql
}
