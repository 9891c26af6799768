//! Notes how far a member has read in a conversation.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::channels::conversations::CONVERSATIONS;
use crate::channels::read_positions::READ_POSITIONS;
use crate::channels::receipts::read_receipts;
use crate::db::{Statement, Tx};
use crate::resource::list_query::Projection;
use crate::resource::{Row, crud};

/// How far a member has read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub conversation: Uuid,
    pub user: Uuid,
    /// The last message that was read; `None`: all that has come in.
    pub message: Option<Uuid>,
    pub may_go_back: bool,
}

/// Notes it, and returns the member's position as it is now: that which they had, where it is later and may not go back. One that does not
/// move is not written, so that no cached answer is outdated; one that does is shown to the customer, if the channel shows it. The caller sees
/// the conversation. Errors: 422 when the message is of another conversation, or the user no member.
pub fn note(tx: &mut Tx<'_>, tenant: &Tenant, reading: Reading) -> Result<Row> {
    let until = arrival(tx, tenant, &reading)?;
    let mut sql = Statement::new("WITH before AS (SELECT read_until FROM read_positions WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND conversation_id = ").bind(reading.conversation).sql(" AND user_id = ");
    sql.bind(reading.user)
        .sql(") INSERT INTO read_positions AS p (business_id, conversation_id, user_id, read_until) VALUES (");
    sql.bind(tenant.id()).sql(", ").bind(reading.conversation).sql(", ").bind(reading.user).sql(", ").bind(until);
    sql.sql(
        ") ON CONFLICT (business_id, conversation_id, user_id) DO UPDATE SET read_until = excluded.read_until, version = p.version + 1, \
         updated_at = now() WHERE p.read_until < excluded.read_until OR (",
    );
    sql.bind(reading.may_go_back).sql(
        " AND p.read_until > excluded.read_until) RETURNING coalesce(p.read_until > (SELECT read_until FROM before), true)",
    );
    if sql.scalar::<bool>(tx)? == Some(true) {
        read_receipts::queue(tx, tenant, reading.conversation, until)?;
    }
    let mut sql = Statement::new("SELECT id FROM read_positions WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND conversation_id = ").bind(reading.conversation);
    let position = sql.sql(" AND user_id = ").bind(reading.user).scalar::<Uuid>(tx)?;
    let row = position.map(|id| crud::one(tx, tenant, &READ_POSITIONS, id, &Projection::default())).transpose()?;
    row.flatten().ok_or_else(|| Error::Internal("a position that was written is not there".into()))
}

/// Until when what came in is read. By arrival, not by the channel's times: those are earlier, so that a message that nobody has seen yet may
/// be before one that they have. Without a message it is that of the last one of the other side, which the conversation has; where they have
/// not written, when the conversation came. Errors: 422.
fn arrival(tx: &mut Tx<'_>, tenant: &Tenant, reading: &Reading) -> Result<DateTime<Utc>> {
    let mut sql = match reading.message {
        Some(message) => {
            let mut sql = Statement::new("SELECT created_at FROM messages WHERE deleted_at IS NULL AND id = ");
            sql.bind(message).sql(" AND conversation_id = ").bind(reading.conversation);
            sql
        }
        None => {
            let mut sql = Statement::new("SELECT coalesce(last_inbound_at, created_at) FROM conversations WHERE id = ");
            sql.bind(reading.conversation);
            sql
        }
    };
    sql.sql(" AND business_id = ").bind(tenant.id()).scalar(tx)?.ok_or_else(|| {
        let detail = "`message_id` names no message of this conversation, or a deleted one.";
        Error::Invalid(vec![FieldError::new("/message_id", "no_such_row", detail)])
    })
}

/// Forgets what a member has read: all of it is unread for them, since they became a member. Errors: 404.
pub fn forget(tx: &mut Tx<'_>, tenant: &Tenant, conversation: Uuid, user: Uuid) -> Result<()> {
    must_see(tx, tenant, conversation)?;
    let mut sql = Statement::new("DELETE FROM read_positions WHERE business_id = ");
    sql.bind(tenant.id())
        .sql(" AND conversation_id = ")
        .bind(conversation)
        .sql(" AND user_id = ")
        .bind(user)
        .run(tx)?;
    Ok(())
}

/// Errors: 404 unless the caller sees the conversation.
pub fn must_see(tx: &mut Tx<'_>, tenant: &Tenant, conversation: Uuid) -> Result<()> {
    let row = crud::one(tx, tenant, &CONVERSATIONS, conversation, &Projection::default())?;
    row.map(drop).ok_or_else(|| crud::not_found(&CONVERSATIONS))
}
