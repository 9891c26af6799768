//! Notes how far a member has read in a conversation.

use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::channels::conversations::{CONVERSATIONS, totals};
use crate::channels::read_positions::READ_POSITIONS;
use crate::db::{Statement, Tx};
use crate::resource::list_query::Projection;
use crate::resource::{Row, crud};

/// How far a member has read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub conversation: Uuid,
    pub user: Uuid,
    /// The last message that was read; `None`: the newest.
    pub message: Option<Uuid>,
    pub may_go_back: bool,
}

/// Notes it, and returns the member's position as it is now: that which they had, where it is later and may not go back. The caller sees the conversation. Errors: 422 when
/// the message is of another conversation, or the user no member.
pub fn note(tx: &mut Tx<'_>, tenant: &Tenant, reading: Reading) -> Result<Row> {
    // A message of the same time is read, too. Without messages: up to where the conversation began.
    let mut sql = Statement::new(
        "INSERT INTO read_positions AS p (business_id, conversation_id, user_id, read_until) SELECT c.business_id, c.id, ",
    );
    sql.bind(reading.user).sql(", coalesce(m.sent, c.started_at) FROM conversations c LEFT JOIN LATERAL (SELECT ");
    sql.sql(totals::SENT).sql(
        " AS sent FROM messages WHERE business_id = c.business_id AND conversation_id = c.id AND deleted_at IS NULL",
    );
    if let Some(message) = reading.message {
        sql.sql(" AND id = ").bind(message);
    }
    sql.sql(" ORDER BY sent_at DESC, id DESC LIMIT 1) m ON true WHERE c.business_id = ").bind(tenant.id());
    sql.sql(" AND c.id = ").bind(reading.conversation);
    if reading.message.is_some() {
        sql.sql(" AND m.sent IS NOT NULL");
    }
    sql.sql(" ON CONFLICT (business_id, conversation_id, user_id) DO UPDATE SET read_until = CASE WHEN ");
    sql.bind(reading.may_go_back).sql(
        " THEN excluded.read_until ELSE greatest(p.read_until, excluded.read_until) END, \
         version = p.version + (p.read_until <> excluded.read_until)::int, updated_at = now() RETURNING id",
    );
    let Some(position) = sql.scalar::<Uuid>(tx)? else {
        let detail = "`message_id` names no message of this conversation, or a deleted one.";
        return Err(Error::Invalid(vec![FieldError::new("/message_id", "no_such_row", detail)]));
    };
    let row = crud::one(tx, tenant, &READ_POSITIONS, position, &Projection::default())?;
    row.ok_or_else(|| Error::Internal("a position that was written is not there".into()))
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
