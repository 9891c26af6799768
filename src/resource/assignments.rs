//! The SQL of a single-row UPDATE that writes nothing when no value changes, and of the JSON merge that batches share.

use uuid::Uuid;

use super::body::Changeset;
use super::definition::Resource;
use super::field::Field;
use super::select;
use crate::auth::Tenant;
use crate::base::error::MAX_OBJECT_BYTES;
use crate::db::Statement;
use crate::http::precondition::IfMatch;

/// Applies the changeset to the row `id`, unless the row has all its values: then no row is updated and no trigger
/// runs.
pub fn update(resource: &Resource, tenant: &Tenant, id: Uuid, change: &Changeset, expected: IfMatch) -> Statement {
    let mut sql =
        Statement::new(format!("UPDATE {} AS t SET version = version + 1, updated_at = now()", resource.table));
    let mut differs = Statement::default();
    for (field, value) in change.values() {
        sql.sql(", ").ident(field.name).sql(" = ");
        // A field that only follows another does not make the row differ.
        if let Some((by, given)) = change.follows(field.name).and_then(|by| Some((by, change.get_field(by)?))) {
            sql.push(&format!("CASE WHEN t.{by} IS NOT DISTINCT FROM "))
                .bind(given.clone())
                .push(&format!(" THEN t.{} ELSE ", field.name))
                .bind(value.clone())
                .sql(" END");
            continue;
        }
        if change.fills(field.name) {
            sql.push(&format!("coalesce(t.{}, ", field.name)).bind(value.clone()).sql(")");
            continue;
        }
        let mut new = Statement::default();
        new.bind(value.clone());
        if field.merges() && !value.is_null() {
            new = merged(resource, field, new);
        }
        differs.sql(if differs.text().is_empty() { "" } else { " OR " });
        differs.push(&format!("t.{} IS DISTINCT FROM ", field.name)).append(new.clone());
        sql.append(new);
    }
    sql.append(select::row_predicate(resource, tenant, id, expected));
    if !differs.text().is_empty() {
        sql.sql(" AND (").append(differs).sql(")");
    }
    sql.sql(" RETURNING ").append(select::columns(resource, "t"));
    sql
}

/// Merges `patch` into the object `field` of a row (RFC 7396), within the size limit of such objects.
pub fn merged(resource: &Resource, field: &Field, patch: Statement) -> Statement {
    let mut sql = Statement::new(format!("rapport_merge_patch_limited(t.{}, ", field.name));
    sql.append(patch).push(&format!(", {MAX_OBJECT_BYTES}, '{}', '{}')", resource.table, field.name));
    sql
}
