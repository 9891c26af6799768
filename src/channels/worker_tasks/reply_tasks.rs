//! Tasks to answer customers: messages in conversations that `ai` handles make them, answers of people cancel them, in the transaction
//! of the message. A burst of messages makes one task, because each message puts off the open one.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::channels::unsaid::{DRAFT, NOTE};
use crate::db::schema::messages;
use crate::db::{SqlValue, Statement, Tx};
use crate::resource::PendingRow;

/// The kind of these tasks.
pub const REPLY: &str = "reply";
/// How long after the last message a task may be claimed: people send a thought in several messages.
const QUIET: &str = "interval '3 seconds'";
/// How long messages put a task off at most: a customer who writes on is answered all the same.
const MAX_QUIET: &str = "interval '30 seconds'";

/// Why a person's answer cancels tasks.
const PERSON_ANSWERED: &str = "person_answered";
/// Why a conversation that people handle from now on has its tasks cancelled.
const HANDLER_CHANGED: &str = "handler_changed";
/// Why a conversation that goes on in another one has its tasks cancelled.
const CONVERSATION_MERGED: &str = "conversation_merged";

/// Makes and cancels tasks for new messages, given in their order. Queries: two at most.
pub fn follow(tx: &mut Tx<'_>, tenant: &Tenant, new: &[&PendingRow]) -> Result<()> {
    let (mut answered, mut waiting) = (BTreeSet::new(), BTreeMap::new());
    for message in new {
        let Some(conversation) = message.changes.get(messages::conversation_id).and_then(SqlValue::as_uuid) else {
            continue;
        };
        if is_answer_of_person(message) {
            answered.insert(conversation);
            waiting.remove(&conversation);
        } else if is_question(message) {
            waiting.insert(conversation, message.id);
        }
    }
    person_answered(tx, tenant, answered.into_iter().collect())?;
    schedule(tx, tenant, waiting)
}

/// Cancels the tasks about conversations in which a person has answered. Queries: one.
pub fn person_answered(tx: &mut Tx<'_>, tenant: &Tenant, conversations: Vec<Uuid>) -> Result<()> {
    cancel(tx, tenant, conversations, None, PERSON_ANSWERED).map(drop)
}

/// Whether a customer wrote it now: not a channel, and not in the past.
fn is_question(message: &PendingRow) -> bool {
    let text = |value: Option<&str>, other: &str| value == Some(other);
    let changes = &message.changes;
    text(changes.text(messages::direction), "inbound")
        && text(changes.text(messages::author), "contact")
        && !text(changes.text(messages::kind), "system")
        && !text(changes.text(messages::origin), "history")
}

/// Whether a person answered the customer with it, here or in the app on the business' phone.
fn is_answer_of_person(message: &PendingRow) -> bool {
    let text = |value: Option<&str>, other: &str| value == Some(other);
    let changes = &message.changes;
    text(changes.text(messages::direction), "outbound")
        && text(changes.text(messages::author), "user")
        // Neither of these is said to the customer.
        && !text(changes.text(messages::kind), NOTE)
        && !text(changes.text(messages::status), DRAFT)
        && !text(changes.text(messages::origin), "history")
}

/// Makes a task for each of the conversations that `ai` handles, about its message, or puts off the open one. One that a worker has
/// claimed is left alone: it does not know of the message, so there is a new one. Queries: one.
pub fn schedule(tx: &mut Tx<'_>, tenant: &Tenant, last_messages: BTreeMap<Uuid, Uuid>) -> Result<()> {
    if last_messages.is_empty() {
        return Ok(());
    }
    let (conversations, messages): (Vec<Uuid>, Vec<Uuid>) = last_messages.into_iter().unzip();
    let mut sql = Statement::new(
        "INSERT INTO worker_tasks AS t (business_id, id, kind, payload, run_at, dedupe_key, conversation_id) \
         SELECT c.business_id, rapport_uuid_v7(), ",
    );
    sql.literal(REPLY)
        .sql(", jsonb_build_object('conversation_id', c.id, 'last_message_id', k.message_id), clock_timestamp() + ");
    sql.sql(QUIET).sql(", c.id::text, c.id FROM unnest(").bind(conversations).sql(", ").bind(messages);
    sql.sql(") k (conversation_id, message_id) JOIN conversations c ON c.id = k.conversation_id WHERE c.handler = 'ai' AND c.business_id = ");
    sql.bind(tenant.id()).sql(
        " ORDER BY c.id ON CONFLICT (business_id, kind, dedupe_key) WHERE status = 'open' DO UPDATE SET payload = excluded.payload, attempts = 0, \
         run_at = least(excluded.run_at, greatest(t.opened_at + ",
    );
    sql.sql(MAX_QUIET).sql(", clock_timestamp())), version = t.version + 1, updated_at = now()").run(tx)?;
    Ok(())
}

/// Cancels the answers to conversations that people handle from now on; other tasks about them go on. Queries: one.
pub fn hand_over(tx: &mut Tx<'_>, tenant: &Tenant, conversations: Vec<Uuid>) -> Result<()> {
    cancel(tx, tenant, conversations, Some(REPLY), HANDLER_CHANGED).map(drop)
}

/// Cancels the tasks about a conversation that goes on in another one. Returns whether an answer was to be given: then it is in that
/// one ([`schedule`]). Queries: one.
pub fn leave(tx: &mut Tx<'_>, tenant: &Tenant, conversation: Uuid) -> Result<bool> {
    let kinds = cancel(tx, tenant, vec![conversation], None, CONVERSATION_MERGED)?;
    Ok(kinds.iter().any(|kind| kind == REPLY))
}

/// Cancels the tasks about conversations that have not ended, of a kind or of any: the workers that have them are refused when they
/// complete them. Returns their kinds. Queries: one.
fn cancel(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    conversations: Vec<Uuid>,
    kind: Option<&'static str>,
    reason: &'static str,
) -> Result<Vec<String>> {
    if conversations.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = Statement::new(
        "WITH found AS (SELECT id FROM worker_tasks WHERE status IN ('open', 'claimed') AND business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND conversation_id = ANY(").bind(conversations).sql(")");
    if let Some(kind) = kind {
        sql.sql(" AND kind = ").literal(kind);
    }
    sql.sql(
        " ORDER BY id FOR UPDATE) UPDATE worker_tasks t SET version = t.version + 1, updated_at = now(), status = 'cancelled', \
         lease_until = NULL, ended_at = now(), cancel_reason = ",
    );
    sql.literal(reason).sql(" FROM found WHERE t.id = found.id AND t.business_id = ").bind(tenant.id());
    Ok(sql.sql(" RETURNING t.kind").scalars(tx)?)
}
