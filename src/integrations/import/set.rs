//! Writes sets of rows in one statement each, whatever fields each row has: the rows are passed as one JSON array.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{Statement, Tx};
use crate::resource::{Changeset, Field, Resource, select};

type Object = Map<String, Json>;

/// Returns the values of a changeset as JSON, by field.
pub fn fields(change: &Changeset) -> Object {
    change.values().iter().map(|(field, value)| (field.name.to_owned(), value.to_json())).collect()
}

/// Inserts rows of a resource without rules of its own but `prepare`. Errors: those of constraints, for the whole set.
pub fn insert(tx: &mut Tx<'_>, tenant: &Tenant, resource: &Resource, rows: Vec<(Uuid, Object)>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let used = used(resource, rows.iter().map(|(_, row)| row));
    let with_id = |(id, mut row): (Uuid, Object)| {
        row.insert("id".to_owned(), id.to_string().into());
        Json::Object(row)
    };
    let rows = Json::Array(rows.into_iter().map(with_id).collect());
    let mut sql = Statement::new(format!("INSERT INTO {} ({}, id", resource.table, resource.tenant_column));
    for field in &used {
        sql.sql(", ").ident(field.name);
    }
    sql.sql(") SELECT ").bind(tenant.id()).sql(", x.id");
    for field in &used {
        // Another row of the set gives this field, so a row without it needs the default here.
        match field.default_sql() {
            Some(default) => sql.sql(", coalesce(x.").ident(field.name).sql(", ").append(default).sql(")"),
            None => sql.push(&format!(", x.{}", field.name)),
        };
    }
    sql.sql(" FROM ").append(recordset(rows, &used, "id uuid"));
    sql.run(tx)?;
    Ok(())
}

/// A row to be updated.
pub struct Edit {
    pub id: Uuid,
    /// The version which it must still have; `None`: any.
    pub version: Option<i64>,
    pub fields: Object,
}

/// Updates rows; returns the new versions of those which exist and have the expected version.
pub fn update(tx: &mut Tx<'_>, tenant: &Tenant, resource: &Resource, rows: Vec<Edit>) -> Result<HashMap<Uuid, i64>> {
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let used = used(resource, rows.iter().map(|row| &row.fields));
    let ids = rows.iter().map(|row| row.id).collect::<Vec<Uuid>>();
    let as_json = |Edit { id, version, mut fields }: Edit| {
        fields.insert("given".to_owned(), fields.keys().cloned().collect());
        fields.insert("expected".to_owned(), version.into());
        fields.insert("id".to_owned(), id.to_string().into());
        Json::Object(fields)
    };
    let rows = Json::Array(rows.into_iter().map(as_json).collect());
    let mut sql =
        Statement::new(format!("UPDATE {} AS t SET version = t.version + 1, updated_at = now()", resource.table));
    for Field { name, .. } in &used {
        sql.push(&format!(", {name} = CASE WHEN '{name}' = ANY(x.given) THEN x.{name} ELSE t.{name} END"));
    }
    sql.sql(" FROM ").append(recordset(rows, &used, "id uuid, expected bigint, given text[]"));
    // Repeats the ids, so that the planner looks rows up by id whatever its size estimates.
    sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ANY(").bind(ids).sql(")");
    sql.sql(" AND t.id = x.id AND t.version = coalesce(x.expected, t.version)");
    select::not_deleted(&mut sql, resource);
    sql.sql(" RETURNING t.id, t.version");
    Ok(sql.rows(tx)?.iter().filter_map(|row| Some((row.uuid(0)?, row.int(1)?))).collect())
}

/// Deletes rows as the API does, if they still have their version and `unless`, an SQL condition, holds; returns the
/// deleted ids.
pub fn delete(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &Resource,
    rows: &[(Uuid, i64)],
    unless: &str,
) -> Result<Vec<Uuid>> {
    let (ids, versions): (Vec<Uuid>, Vec<i64>) = rows.iter().copied().unzip();
    let mut sql = match resource.soft_delete() {
        true => Statement::new(format!(
            "UPDATE {} AS t SET deleted_at = now(), version = t.version + 1, updated_at = now() FROM ",
            resource.table
        )),
        false => Statement::new(format!("DELETE FROM {} AS t USING ", resource.table)),
    };
    sql.sql("unnest(").bind(ids.clone()).sql(", ").bind(versions).sql(") AS x (id, version)");
    sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ANY(").bind(ids).sql(")");
    sql.sql(" AND t.id = x.id AND t.version = x.version").push(unless);
    select::not_deleted(&mut sql, resource);
    Ok(sql.sql(" RETURNING t.id").rows(tx)?.iter().filter_map(|row| row.uuid(0)).collect())
}

/// Returns the fields which any of `rows` has, in the order of the resource.
fn used<'r>(resource: &Resource, rows: impl Iterator<Item = &'r Object> + Clone) -> Vec<&'static Field> {
    resource.fields.iter().filter(|field| rows.clone().any(|row| row.contains_key(field.name))).collect()
}

/// `jsonb_to_recordset(…) AS x (id uuid, name text, …)`
fn recordset(rows: Json, fields: &[&Field], own: &str) -> Statement {
    let mut sql = Statement::new("jsonb_to_recordset(");
    sql.bind(rows).push(&format!(") AS x ({own}"));
    for field in fields {
        sql.push(&format!(", {} {}", field.name, field.field_type.sql()));
    }
    sql.sql(")");
    sql
}
