//! Puts labels on conversations and takes them off.

use diesel::prelude::*;
use uuid::Uuid;

use super::state::lock;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::channels::conversations::CONVERSATIONS;
use crate::channels::labels::{CONVERSATION_LABELS, LABELS};
use crate::db::schema::conversation_labels;
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::list_query::{Included, Projection};
use crate::resource::{Changeset, MAX_RELATED, Row, crud, select};

/// Labels of a conversation at most: all that `include=labels` shows.
pub const MAX_LABELS: usize = MAX_RELATED as usize;

/// A label of a conversation.
#[derive(QueryableByName)]
#[diesel(table_name = conversation_labels)]
struct Link {
    id: Uuid,
    label_id: Uuid,
}

/// Puts a label on a conversation; one that is there stays. Returns the conversation with its labels. Errors: 404; 409 when it has too many;
/// 412.
pub fn put(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, label: Uuid, expected: IfMatch) -> Result<Row> {
    lock(tx, tenant, id, expected)?;
    crud::one(tx, tenant, &LABELS, label, &Projection::default())?.ok_or_else(|| crud::not_found(&LABELS))?;
    let labels = of(tx, tenant, id)?;
    if labels.iter().any(|link| link.label_id == label) {
        return shown(tx, tenant, id);
    }
    if labels.len() >= MAX_LABELS {
        let detail = format!("The conversation has {MAX_LABELS} labels, which is the most. Take one off first.");
        return Err(Error::conflict("too_many_labels", detail));
    }
    let mut change = Changeset::empty(CONVERSATION_LABELS.fields);
    change.creates = true;
    change.set(conversation_labels::conversation_id, id);
    change.set(conversation_labels::label_id, label);
    crud::create(tx, tenant, &CONVERSATION_LABELS, change)?;
    touch(tx, tenant, id)?;
    shown(tx, tenant, id)
}

/// Takes a label off a conversation; one that is not there is no error. Returns the conversation with its labels. Errors: 404; 412.
pub fn take_off(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, label: Uuid, expected: IfMatch) -> Result<Row> {
    lock(tx, tenant, id, expected)?;
    if let Some(link) = of(tx, tenant, id)?.into_iter().find(|link| link.label_id == label) {
        crud::delete(tx, tenant, &CONVERSATION_LABELS, link.id, IfMatch::ANY)?;
        touch(tx, tenant, id)?;
    }
    shown(tx, tenant, id)
}

fn of(tx: &mut Tx<'_>, tenant: &Tenant, conversation: Uuid) -> Result<Vec<Link>> {
    let mut sql = Statement::new("SELECT id, label_id FROM conversation_labels WHERE business_id = ");
    Ok(sql.bind(tenant.id()).sql(" AND conversation_id = ").bind(conversation).load(tx)?)
}

/// Gives the conversation another version: its labels are a part of it.
fn touch(tx: &mut Tx<'_>, tenant: &Tenant, conversation: Uuid) -> Result<()> {
    let mut sql = Statement::new("UPDATE conversations t SET version = version + 1, updated_at = now()");
    sql.append(select::tenant_predicate(&CONVERSATIONS, tenant)).sql(" AND t.id = ").bind(conversation).run(tx)?;
    Ok(())
}

/// Reads the conversation with its labels.
fn shown(tx: &mut Tx<'_>, tenant: &Tenant, conversation: Uuid) -> Result<Row> {
    let labels = CONVERSATIONS.relation("labels").into_iter();
    let include = labels.map(|relation| Included { relation, resource: relation.resource(), mask: None }).collect();
    let row = crud::one(tx, tenant, &CONVERSATIONS, conversation, &Projection { mask: None, include })?;
    row.ok_or_else(|| crud::not_found(&CONVERSATIONS))
}
