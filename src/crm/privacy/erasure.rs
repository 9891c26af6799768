//! Erasure: the rows about a contact are deleted, or emptied of all that someone has written into them, and with them what
//! the audit log tells of their fields.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::reach::Reach;
use crate::auth::Tenant;
use crate::crm::merges::{self, MERGES};
use crate::db::{Statement, Tx, Value};
use crate::error::Result;
use crate::noun::{Field, Kind, Noun, Written, select};

pub const MODES: &[&str] = &["anonymise", "delete"];

/// Fields that are kept although they could hold any text: they say nothing of a person.
const KEPT: [(&str, &str); 4] =
    [("leads", "source"), ("messages", "model"), ("decisions", "model"), ("bookings", "code")];
/// What stands where something must.
const ERASED: &str = "erased";

/// What was forgotten.
pub struct Erased {
    pub mode: String,
    /// How many rows of each noun.
    pub rows: Map<String, Json>,
    /// Their ids.
    pub ids: HashSet<Uuid>,
}

/// Forgets the contact `id`: to `delete` leaves nothing of them; to `anonymise` keeps rows for the figures, without a word of
/// whom they were about. `None`: as the business has it. What is `done` already is left as it is. Errors: 404.
pub fn erase(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, mode: Option<&str>, done: &HashSet<Uuid>) -> Result<Erased> {
    merges::take_turns(tx, tenant)?;
    let mut sql = Statement::new("SELECT erasure FROM businesses WHERE id = ");
    let configured = sql.bind(Value::Uuid(Some(tenant.id()))).row(tx)?;
    let configured = configured.as_ref().and_then(|row| row.text(0)).unwrap_or(MODES[0]);
    let mode = mode.unwrap_or(configured).to_owned();
    // The audit log tells that it was done, and nothing of what was there.
    let mut erasing = Statement::new("SELECT set_config('rapport.erasing', ");
    erasing.bind(Value::Text(Some(mode.clone()))).push(", true)").run(tx)?;
    let mut reach = Reach::find(tx, tenant, id, true)?;
    reach.0.iter_mut().for_each(|(_, ids)| ids.retain(|id| !done.contains(id)));
    // What merges gave to others, and took from them again.
    let mut sql = Statement::new("SELECT rapport_erase_merged(");
    sql.bind(Value::Uuids(reach.of(&MERGES))).push(")").run(tx)?;
    // What hangs on others first.
    for (noun, ids) in reach.0.iter().rev().filter(|(_, ids)| !ids.is_empty()) {
        let mut sql = match mode.as_str() {
            "delete" => Statement::new(format!("DELETE FROM {} AS t", noun.table)),
            _ => emptied(noun),
        };
        sql.append(select::scoped(noun, tenant)).push(" AND t.id = ANY(").bind(Value::Uuids(ids.clone())).push(")");
        sql.run(tx)?;
    }
    Statement::new("SELECT rapport_erase_audit(").bind(Value::Uuids(reach.ids())).push(")").run(tx)?;
    Statement::new("SELECT rapport_forget_imports(").bind(Value::Uuids(reach.ids())).push(")").run(tx)?;
    let rows = reach.0.iter().map(|(noun, ids)| (noun.plural.to_owned(), ids.len().into())).collect();
    Ok(Erased { mode, rows, ids: reach.ids().into_iter().collect() })
}

/// `UPDATE … SET` every field that someone could have written into.
fn emptied(noun: &Noun) -> Statement {
    let mut sql = Statement::new(format!("UPDATE {} AS t SET version = version + 1, updated_at = now()", noun.table));
    for field in noun.fields.iter().filter(|field| is_free(noun, field)) {
        sql.push(&format!(", {} = ", field.name));
        match field.kind {
            Kind::Tags => sql.push("'{}'"),
            Kind::Object if !field.nullable => sql.push("'{}'"),
            _ if field.nullable => sql.push("NULL"),
            _ => sql.bind(Value::Text(Some(ERASED.to_owned()))),
        };
    }
    match noun.plural {
        "contacts" => sql.push(", deleted_at = coalesce(deleted_at, now())"),
        // Two that are erased have the same address, which only closed threads can.
        "conversations" => sql.push(", status = 'closed'"),
        // The service wrote it, and it says what they were; so it cannot be undone any more either.
        "merges" => sql.push(", changes = '{}', links = '{}', reversible_until = least(reversible_until, now())"),
        _ => &mut sql,
    };
    sql
}

/// Whether a field takes whatever someone writes.
fn is_free(noun: &Noun, field: &Field) -> bool {
    let free =
        matches!(field.kind, Kind::Text { .. } | Kind::Email | Kind::Phone | Kind::Domain | Kind::Object | Kind::Tags);
    free && field.written != Written::Never && !KEPT.contains(&(noun.plural, field.name))
}
