//! The SQL that writes sets of rows: one statement for each set, whose text depends on the fields that it sets, and not on
//! the number of its rows, but for sets of one: their values are bound one by one, those of others as one JSON document.

use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::items::Returning;

use crate::auth::Tenant;
use crate::base::error::MAX_OBJECT_BYTES;
use crate::db::Statement;
use crate::http::precondition::IfMatch;
use crate::resource::definition::Resource;
use crate::resource::field::Field;
use crate::resource::pending_row::PendingRow;
use crate::resource::select;

/// Selects rows by id and locks them until the transaction ends; in id order, so that concurrent sets wait for each
/// other and do not deadlock. Cells: those of the row, or its id and version.
pub fn lock_rows(resource: &Resource, tenant: &Tenant, ids: Vec<Uuid>, returning: Returning) -> Statement {
    let mut sql = Statement::new("SELECT ");
    sql.append(cells(resource, returning)).sql(" FROM ").ident(resource.table).sql(" t");
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
    returning: Returning,
) -> Statement {
    let mut sql = Statement::new("SELECT ");
    sql.append(cells(resource, returning)).sql(", k.place FROM unnest(").bind(values);
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

fn cells(resource: &Resource, returning: Returning) -> Statement {
    match returning {
        Returning::Rows => select::columns(resource, "t"),
        Returning::Versions => Statement::new("t.id, t.version"),
    }
}

/// Inserts the pending rows, in their order. Fields that a row does not set get their column's default.
pub fn insert(resource: &Resource, tenant: &Tenant, rows: &[&PendingRow], returning: Returning) -> Statement {
    let fields = fields(resource, rows);
    let mut sql = Statement::new("INSERT INTO ");
    sql.ident(resource.table).sql(" AS t (").ident(resource.tenant_column).sql(", id");
    for field in &fields {
        sql.sql(", ").ident(field.name);
    }
    sql.sql(") SELECT ").bind(tenant.id()).sql(", i.id");
    for field in &fields {
        match field.default_sql().filter(|_| rows.len() > 1) {
            Some(default) => sql.sql(", coalesce(i.").ident(field.name).sql(", ").append(default).sql(")"),
            None => sql.sql(", i.").ident(field.name),
        };
    }
    sql.sql(" FROM ").append(source(&fields, rows, false)).sql(" RETURNING ").append(cells(resource, returning));
    sql
}

/// Updates the pending rows that would change; fields that a row does not set stay unchanged. Rows that have all values
/// already are neither updated, so that no trigger runs, nor returned. A set of one is updated at an allowed version
/// only; the rows of others are locked, and their versions known.
pub fn update(resource: &Resource, tenant: &Tenant, rows: &[&PendingRow], returning: Returning) -> Statement {
    let fields = fields(resource, rows);
    // What a row sets is said by bit masks, where the rows of the set differ in it.
    let masked = rows.len() > 1
        && rows.iter().any(|row| {
            row.changes.values().len() < fields.len()
                || row
                    .changes
                    .values()
                    .iter()
                    .any(|(field, _)| row.changes.follows(field.name).is_some() || row.changes.fills(field.name))
        });
    let mut sql = Statement::new("UPDATE ");
    sql.ident(resource.table).sql(" AS t SET version = t.version + 1, updated_at = now()");
    let mut differs = Statement::default();
    for (place, field) in fields.iter().enumerate() {
        let assignment = Assignment::new(resource, field, rows, masked.then_some(1_i64 << place));
        sql.sql(", ").ident(field.name).sql(" = ").append(assignment.value());
        if let Some(differs_here) = assignment.differs() {
            differs.sql(if differs.text().is_empty() { "" } else { " OR " }).append(differs_here);
        }
    }
    sql.sql(" FROM ").append(source(&fields, rows, masked)).append(select::tenant_predicate(resource, tenant));
    sql.sql(" AND t.id = i.id");
    if !differs.text().is_empty() {
        sql.sql(" AND (").append(differs).sql(")");
    }
    select::not_deleted(&mut sql, resource);
    if let [only] = rows {
        select::version_predicate(&mut sql, only.expected);
    }
    sql.sql(" RETURNING ").append(cells(resource, returning));
    sql
}

/// How one field is set in the rows of a set.
struct Assignment<'s> {
    field: &'static Field,
    /// The new value: `i.name`, or its merge into the stored object.
    new: Statement,
    /// The field whose change this one follows.
    by: Option<&'static str>,
    /// Whether a row sets it only where it has null.
    fills: bool,
    /// The field's bit in the masks; `None`: every row of the set sets it alike.
    bit: Option<i64>,
    rows: &'s [&'s PendingRow],
}

impl<'s> Assignment<'s> {
    fn new(resource: &Resource, field: &'static Field, rows: &'s [&'s PendingRow], bit: Option<i64>) -> Self {
        let mut new = Statement::new("i.");
        new.ident(field.name);
        let merges = |row: &&PendingRow| {
            field.merges() && !row.changes.replaces_objects
                // Alone, a null is the new value.
                && (rows.len() > 1 || row.changes.get_field(field.name).is_some_and(|value| !value.is_null()))
        };
        let merges = rows.iter().any(merges);
        Self {
            field,
            new: if merges { merged(resource, field, new) } else { new },
            by: rows
                .iter()
                .find_map(|row| row.changes.follows(field.name).filter(|by| row.changes.get_field(by).is_some())),
            fills: rows.iter().any(|row| row.changes.fills(field.name)),
            bit,
            rows,
        }
    }

    /// Whether the row's bit for this field is set in a mask.
    fn is_in(&self, mask: &'static str) -> Option<Statement> {
        let mut sql = Statement::new(mask);
        sql.sql(" & ").number(self.bit?).sql(" <> 0");
        Some(sql)
    }

    /// The value of the field after the update.
    fn value(&self) -> Statement {
        let name = self.field.name;
        // The conditions under which the row keeps its value.
        let mut keeps = Statement::default();
        if let Some(bit) = self.bit.filter(|_| self.is_partial()) {
            keeps.sql("i.given & ").number(bit).sql(" = 0");
        }
        let or = |keeps: &mut Statement, mask: Option<Statement>, condition: Statement| {
            keeps.sql(if keeps.text().is_empty() { "" } else { " OR " });
            match mask {
                Some(mask) => keeps.sql("(").append(mask).sql(" AND ").append(condition).sql(")"),
                None => keeps.append(condition),
            };
        };
        if let Some(by) = self.by {
            let mut is_same = Statement::new("t.");
            is_same.ident(by).sql(" IS NOT DISTINCT FROM i.").ident(by);
            or(&mut keeps, self.is_in("i.following"), is_same);
        }
        if self.fills {
            let mut is_there = Statement::new("t.");
            is_there.ident(name).sql(" IS NOT NULL");
            or(&mut keeps, self.is_in("i.filling"), is_there);
        }
        if keeps.text().is_empty() {
            return self.new.clone();
        }
        let mut sql = Statement::new("CASE WHEN ");
        sql.append(keeps).sql(" THEN t.").ident(name).sql(" ELSE ").append(self.new.clone()).sql(" END");
        sql
    }

    /// Whether some rows of the set do not set the field.
    fn is_partial(&self) -> bool {
        self.rows.iter().any(|row| row.changes.get_field(self.field.name).is_none())
    }

    /// Whether the row would change by it. A field that only follows another, or fills a null, makes no row differ.
    fn differs(&self) -> Option<Statement> {
        let mut sql = Statement::new("(");
        if let Some(bit) = self.bit.filter(|_| self.is_partial()) {
            sql.sql("i.given & ").number(bit).sql(" <> 0 AND ");
        }
        for (applies, mask) in [(self.by.is_some(), "i.following"), (self.fills, "i.filling")] {
            if applies {
                sql.sql(mask).sql(" & ").number(self.bit?).sql(" = 0 AND ");
            }
        }
        sql.sql("t.").ident(self.field.name).sql(" IS DISTINCT FROM ").append(self.new.clone()).sql(")");
        Some(sql)
    }
}

/// Merges `patch` into the object `field` of a row (RFC 7396), within the size limit of such objects. A null patch is the
/// new value.
fn merged(resource: &Resource, field: &Field, patch: Statement) -> Statement {
    let mut sql = Statement::new("rapport_merge_patch_limited(t.");
    sql.ident(field.name).sql(", ").append(patch).sql(", ").number(MAX_OBJECT_BYTES as i64);
    sql.sql(", ").literal(resource.table).sql(", ").literal(field.name).sql(")");
    sql
}

/// Deletes rows: marks them deleted, where they can be restored. Returns ids of the deleted. A set of one is deleted at an allowed
/// version only; the rows of others are locked, and their versions known.
pub fn delete(resource: &Resource, tenant: &Tenant, ids: Vec<Uuid>, expected: IfMatch) -> Statement {
    let mut sql = Statement::new(if resource.soft_delete() { "UPDATE " } else { "DELETE FROM " });
    sql.ident(resource.table).sql(" AS t");
    if resource.soft_delete() {
        sql.sql(" SET deleted_at = now(), version = t.version + 1, updated_at = now()");
    }
    sql.append(select::tenant_predicate(resource, tenant)).append(select::ids_predicate(ids));
    select::not_deleted(&mut sql, resource);
    select::version_predicate(&mut sql, expected);
    sql
}

/// Returns the fields that any of the pending rows sets, in the resource's order.
fn fields(resource: &Resource, rows: &[&PendingRow]) -> Vec<&'static Field> {
    let sets = |field: &&Field| rows.iter().any(|row| row.changes.get_field(field.name).is_some());
    resource.fields.iter().filter(sets).collect()
}

/// The rows as a table `i` of their ids and `fields`; with `masked` also bit masks of the fields that each row sets
/// (`given`), and of those that only follow another one (`following`) or fill a null (`filling`).
fn source(fields: &[&'static Field], rows: &[&PendingRow], masked: bool) -> Statement {
    match rows {
        [only] => {
            let mut sql = Statement::new("(SELECT ");
            sql.bind(only.id).sql(" AS id");
            for field in fields {
                if let Some(value) = only.changes.get_field(field.name) {
                    sql.sql(", ").bind(value.clone()).sql(" AS ").ident(field.name);
                }
            }
            sql.sql(") AS i");
            sql
        }
        _ => recordset(fields, rows, masked),
    }
}

fn recordset(fields: &[&'static Field], rows: &[&PendingRow], masked: bool) -> Statement {
    let documents = rows.iter().map(|pending| {
        let mut row = Map::with_capacity(fields.len() + 4);
        row.insert("id".to_owned(), json!(pending.id));
        let (mut given, mut following, mut filling) = (0_i64, 0_i64, 0_i64);
        for (field, value) in pending.changes.values() {
            row.insert(field.name.to_owned(), value.to_json());
            let bit = fields.iter().position(|known| known.name == field.name).map_or(0, |bit| 1 << bit);
            given |= bit;
            following |= if pending.changes.follows(field.name).is_some() { bit } else { 0 };
            filling |= if pending.changes.fills(field.name) { bit } else { 0 };
        }
        if masked {
            row.insert("given".to_owned(), json!(given));
            row.insert("following".to_owned(), json!(following));
            row.insert("filling".to_owned(), json!(filling));
        }
        Json::Object(row)
    });
    let mut sql = Statement::new("jsonb_to_recordset(");
    sql.bind(Json::Array(documents.collect())).sql(") AS i(id uuid");
    if masked {
        sql.sql(", given bigint, following bigint, filling bigint");
    }
    for field in fields {
        sql.sql(", ").ident(field.name).sql(" ").sql(field.field_type.sql());
    }
    sql.sql(")");
    sql
}
