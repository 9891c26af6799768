//! Sets of rows written in one statement each, whatever fields each row has: they travel as one JSON array.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::auth::Tenant;
use crate::db::{Statement, Tx, Value};
use crate::error::Result;
use crate::noun::{Change, Field, Noun, select};

type Object = Map<String, Json>;

/// What a change sets, as JSON, by field.
pub fn fields(change: &Change) -> Object {
    change.values().iter().map(|(field, value)| (field.name.to_owned(), value.to_json())).collect()
}

/// Makes rows of `noun`, which has no rules of its own but `prepare`. Errors: those of constraints, for all of them.
pub fn insert(tx: &mut Tx<'_>, tenant: &Tenant, noun: &Noun, rows: Vec<(Uuid, Object)>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let used = used(noun, rows.iter().map(|(_, row)| row));
    let with_id = |(id, mut row): (Uuid, Object)| {
        row.insert("id".to_owned(), id.to_string().into());
        Json::Object(row)
    };
    let rows = Json::Array(rows.into_iter().map(with_id).collect());
    let mut sql = Statement::new(format!("INSERT INTO {} ({}, id", noun.table, noun.tenant));
    for field in &used {
        sql.push(", ").push(field.name);
    }
    sql.push(") SELECT ").bind(Value::Uuid(Some(tenant.id()))).push(", x.id");
    for field in &used {
        // What the database would set for the one that leaves it out, another of the set has given.
        match field.default_sql() {
            Some(default) => sql.push(&format!(", coalesce(x.{}, {default})", field.name)),
            None => sql.push(&format!(", x.{}", field.name)),
        };
    }
    sql.push(" FROM ").append(recordset(rows, &used, "id uuid"));
    sql.run(tx)?;
    Ok(())
}

/// A row that is to be changed.
pub struct Edit {
    pub id: Uuid,
    /// The version that it must still have; none: whatever it has.
    pub version: Option<i64>,
    pub fields: Object,
}

/// Changes rows of `noun`; returns the versions of those that were there, as they are now.
pub fn update(tx: &mut Tx<'_>, tenant: &Tenant, noun: &Noun, rows: Vec<Edit>) -> Result<HashMap<Uuid, i64>> {
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let used = used(noun, rows.iter().map(|row| &row.fields));
    let ids = rows.iter().map(|row| row.id).collect();
    let as_json = |Edit { id, version, mut fields }: Edit| {
        fields.insert("given".to_owned(), fields.keys().cloned().collect());
        fields.insert("expected".to_owned(), version.into());
        fields.insert("id".to_owned(), id.to_string().into());
        Json::Object(fields)
    };
    let rows = Json::Array(rows.into_iter().map(as_json).collect());
    let mut sql = Statement::new(format!("UPDATE {} AS t SET version = t.version + 1, updated_at = now()", noun.table));
    for Field { name, .. } in &used {
        sql.push(&format!(", {name} = CASE WHEN '{name}' = ANY(x.given) THEN x.{name} ELSE t.{name} END"));
    }
    sql.push(" FROM ").append(recordset(rows, &used, "id uuid, expected bigint, given text[]"));
    // The ids once more, so that they lead to the rows whatever the planner thinks of the sizes.
    sql.append(select::scoped(noun, tenant)).push(" AND t.id = ANY(").bind(Value::Uuids(ids)).push(")");
    sql.push(" AND t.id = x.id AND t.version = coalesce(x.expected, t.version)");
    select::alive(&mut sql, noun);
    sql.push(" RETURNING t.id, t.version");
    Ok(sql.rows(tx)?.iter().filter_map(|row| Some((row.uuid(0)?, row.int(1)?))).collect())
}

/// Deletes rows of `noun` as the API does, where they still have their version; returns those that it deleted.
pub fn delete(tx: &mut Tx<'_>, tenant: &Tenant, noun: &Noun, rows: &[(Uuid, i64)], unless: &str) -> Result<Vec<Uuid>> {
    let (ids, versions): (Vec<Uuid>, Vec<i64>) = rows.iter().copied().unzip();
    let mut sql = match noun.soft_delete() {
        true => Statement::new(format!(
            "UPDATE {} AS t SET deleted_at = now(), version = t.version + 1, updated_at = now() FROM ",
            noun.table
        )),
        false => Statement::new(format!("DELETE FROM {} AS t USING ", noun.table)),
    };
    sql.push("unnest(")
        .bind(Value::Uuids(ids.clone()))
        .push(", ")
        .bind(Value::Ints(versions))
        .push(") AS x (id, version)");
    sql.append(select::scoped(noun, tenant)).push(" AND t.id = ANY(").bind(Value::Uuids(ids)).push(")");
    sql.push(" AND t.id = x.id AND t.version = x.version").push(unless);
    select::alive(&mut sql, noun);
    Ok(sql.push(" RETURNING t.id").rows(tx)?.iter().filter_map(|row| row.uuid(0)).collect())
}

/// The fields that any of `rows` has, in the noun's order.
fn used<'r>(noun: &Noun, rows: impl Iterator<Item = &'r Object> + Clone) -> Vec<&'static Field> {
    noun.fields.iter().filter(|field| rows.clone().any(|row| row.contains_key(field.name))).collect()
}

/// `jsonb_to_recordset(…) AS x (id uuid, name text, …)`
fn recordset(rows: Json, fields: &[&Field], own: &str) -> Statement {
    let mut sql = Statement::new("jsonb_to_recordset(");
    sql.bind(Value::Json(Some(rows))).push(&format!(") AS x ({own}"));
    for field in fields {
        sql.push(&format!(", {} {}", field.name, field.kind.sql()));
    }
    sql.push(")");
    sql
}
