//! What a change makes of a row that is there, as SQL: the UPDATE of one row, which updates nothing where nothing would become
//! another; and the merge that sets of rows share with it.

use uuid::Uuid;

use super::body::LARGEST_OBJECT;
use super::{Change, Field, Noun, select, store};
use crate::auth::Tenant;
use crate::db::Statement;
use crate::http::precondition::IfMatch;

/// Sets what `change` says in the row `id`, unless the row has all of it already: then no row is updated, and no trigger runs.
pub fn update(tenant: &Tenant, id: Uuid, change: &Change, expected: IfMatch) -> Statement {
    let noun = change.noun;
    let mut sql = Statement::new(format!("UPDATE {} AS t SET version = version + 1, updated_at = now()", noun.table));
    let mut differs = Statement::default();
    for (field, value) in change.values() {
        sql.push(", ").push(field.name).push(" = ");
        // What only follows makes no difference of its own.
        if let Some((by, given)) = change.follows(field.name).and_then(|by| Some((by, change.get(by)?))) {
            sql.push(&format!("CASE WHEN t.{by} IS NOT DISTINCT FROM "))
                .bind(given.clone())
                .push(&format!(" THEN t.{} ELSE ", field.name))
                .bind(value.clone())
                .push(" END");
            continue;
        }
        if change.fills(field.name) {
            sql.push(&format!("coalesce(t.{}, ", field.name)).bind(value.clone()).push(")");
            continue;
        }
        let mut new = Statement::default();
        new.bind(value.clone());
        if field.merges() && !value.is_null() {
            new = merged(noun, field, new);
        }
        differs.push(if differs.text().is_empty() { "" } else { " OR " });
        differs.push(&format!("t.{} IS DISTINCT FROM ", field.name)).append(new.clone());
        sql.append(new);
    }
    sql.append(store::addressed(noun, tenant, id, expected));
    if !differs.text().is_empty() {
        sql.push(" AND (").append(differs).push(")");
    }
    sql.push(" RETURNING ").push(&select::columns(noun, "t"));
    sql
}

/// What `patch` makes of the object `field` of a row (RFC 7396), within the limit of such objects.
pub fn merged(noun: &Noun, field: &Field, patch: Statement) -> Statement {
    let mut sql = Statement::new(format!("rapport_merged(t.{}, ", field.name));
    sql.append(patch).push(&format!(", {LARGEST_OBJECT}, '{}', '{}')", noun.table, field.name));
    sql
}
