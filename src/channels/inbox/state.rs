//! Assigns, snoozes, closes and reopens conversations. Each is a change of the row as any other: with its hooks, its entry in the audit log and
//! its event.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::channels::conversations::{CLOSED, CONVERSATIONS};
use crate::db::schema::conversations;
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::{Changeset, Row, crud, select};

/// A locked conversation.
#[derive(QueryableByName)]
#[diesel(table_name = conversations)]
struct Locked {
    version: i64,
    status: String,
}

/// Locks conversation `id` if `expected` is its version, and returns whether it is closed. Errors: 404; 412.
pub fn lock(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<bool> {
    let mut sql = Statement::new("SELECT t.version, t.status FROM conversations t");
    sql.append(select::tenant_predicate(&CONVERSATIONS, tenant)).sql(" AND t.id = ").bind(id);
    select::not_deleted(&mut sql, &CONVERSATIONS);
    let locked = sql.sql(" FOR NO KEY UPDATE OF t").first::<Locked>(tx)?;
    let locked = locked.ok_or_else(|| crud::not_found(&CONVERSATIONS))?;
    if !expected.allows(Some(locked.version)) {
        return Err(Error::PreconditionFailed);
    }
    Ok(locked.status == CLOSED)
}

fn change(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    id: Uuid,
    expected: IfMatch,
    set: impl FnOnce(&mut Changeset),
) -> Result<Row> {
    let mut change = Changeset::empty(CONVERSATIONS.fields);
    set(&mut change);
    crud::update(tx, tenant, &CONVERSATIONS, id, change, expected)
}

/// Assigns a conversation to a member, or to nobody. Errors: 404; 412; 422 when the user is no member.
pub fn assign(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch, assignee: Option<Uuid>) -> Result<Row> {
    change(tx, tenant, id, expected, |change| change.set(conversations::assignee_id, assignee))
}

/// Takes a conversation out of sight until a time. Errors: 404; 409 when it is closed; 412.
pub fn snooze(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch, until: DateTime<Utc>) -> Result<Row> {
    if lock(tx, tenant, id, expected)? {
        let detail = "The conversation is closed, and so is out of sight already. Reopen it first: `DELETE …/closure`.";
        return Err(Error::conflict("conversation_closed", detail));
    }
    change(tx, tenant, id, IfMatch::ANY, |change| change.set(conversations::snoozed_until, until))
}

/// Brings a snoozed conversation back. Errors: 404; 412.
pub fn wake(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<Row> {
    change(tx, tenant, id, expected, |change| change.set(conversations::snoozed_until, None::<DateTime<Utc>>))
}

/// Closes a conversation. Errors: 404; 412.
pub fn close(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<Row> {
    change(tx, tenant, id, expected, |change| change.set(conversations::status, CLOSED))
}

/// Reopens a conversation; one that is not closed stays as it is. Errors: 404; 409 when another one with the same peer is open; 412.
pub fn reopen(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<Row> {
    let is_closed = lock(tx, tenant, id, expected)?;
    change(tx, tenant, id, IfMatch::ANY, |change| {
        if is_closed {
            change.set(conversations::status, "active");
        }
    })
}
