//! Totals of a conversation's messages: when the last one was sent, how many are unread, and until when WhatsApp lets
//! free text through. At any time they equal a recount of the messages that are not deleted.
//!
//! New messages are added to the totals. Any other change (a message deleted, restored or read) recounts, under the
//! conversation's row lock. Adding takes that lock too, so a recount that does not see a message yet is followed by its
//! addition, and one that sees it follows the addition.
//!
//! `unread_new` is the counted part of `unread_count`: inbound messages that are not read and came after
//! `unread_since`. The rest is what the count was set to; the trigger `conversations_unread_update` records when.

use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{SqlValue, Statement, Tx};

/// Condition for an unread message, if it came after its conversation was last marked.
const UNREAD: &str = "direction = 'inbound' AND status <> 'read'";
/// When a message was sent, as far as that is plausible: a clock that is ahead moves its conversation by a day at most.
const SENT: &str = "least(sent_at, created_at + interval '1 day')";
/// WhatsApp's customer service window after an inbound message.
const WINDOW: &str = "interval '24 hours'";

/// Adds the messages `new`, which this transaction inserted. Queries: one; up to two more when a message is older than
/// its conversation, or came while that was marked.
pub fn add(tx: &mut Tx<'_>, tenant: &Tenant, new: Vec<Uuid>) -> Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::new(
        "UPDATE conversations c SET version = c.version + 1, updated_at = now(), \
         last_message_at = greatest(c.last_message_at, m.sent), \
         unread_count = c.unread_count + m.unread, unread_new = c.unread_new + m.unread, window_expires_at = CASE \
         WHEN c.channel = 'whatsapp' AND m.came IS NOT NULL THEN greatest(c.window_expires_at, m.came + ",
    );
    sql.push(WINDOW).sql(") ELSE c.window_expires_at END FROM (").append(said(tenant, &new));
    sql.sql(") m WHERE c.business_id = ").bind(business(tenant)).sql(" AND c.id = m.id RETURNING c.id, ");
    // A last-message time that is not after the start may be the start's own, so it is recounted.
    sql.sql("(c.last_message_at <= c.started_at)::int, (m.unread > 0 AND c.unread_since >= m.first)::int");
    let rows = sql.rows(tx)?;
    let those = |cell| rows.iter().filter(move |row| row.int(cell) == Some(1)).filter_map(|row| row.uuid(0));
    // Marked after this transaction began: that caller has not seen these messages, so they stay unread.
    let missed: Vec<Uuid> = those(2).collect();
    if !missed.is_empty() {
        let mut sql =
            Statement::new("UPDATE conversations c SET unread_since = m.first - interval '1 microsecond' FROM (");
        sql.append(said(tenant, &new)).sql(") m WHERE c.business_id = ").bind(business(tenant));
        sql.sql(" AND c.id = m.id AND c.id = ANY(").bind(missed).sql(")").run(tx)?;
    }
    let inexact: Vec<Uuid> = those(1).chain(those(2)).collect();
    recount(tx, tenant, inexact)
}

/// Recounts the conversations of `messages`, deleted ones too. Queries: two.
pub fn recount_of(tx: &mut Tx<'_>, tenant: &Tenant, messages: &[Uuid]) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    // Locked in id order, as everywhere that several are locked; and before the count, which must see the writes of
    // earlier lock holders.
    let mut sql = Statement::new("SELECT id FROM conversations WHERE business_id = ");
    sql.bind(business(tenant)).sql(" AND id = ANY(ARRAY(SELECT conversation_id FROM messages WHERE business_id = ");
    sql.bind(business(tenant)).sql(" AND id = ANY(").bind(messages.to_vec());
    let locked = sql.sql("))) ORDER BY id FOR NO KEY UPDATE").rows(tx)?;
    recount(tx, tenant, locked.iter().filter_map(|row| row.uuid(0)).collect())
}

/// Recounts conversations that this transaction has locked, and updates those whose totals differ.
fn recount(tx: &mut Tx<'_>, tenant: &Tenant, conversations: Vec<Uuid>) -> Result<()> {
    if conversations.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::new(
        "UPDATE conversations c SET version = c.version + 1, updated_at = now(), last_message_at = m.last, \
         unread_count = c.unread_count - c.unread_new + m.unread, unread_new = m.unread, window_expires_at = m.closes \
         FROM (SELECT o.id, coalesce(s.last, o.started_at) AS last, s.unread, \
         CASE o.channel WHEN 'whatsapp' THEN s.came + ",
    );
    sql.push(WINDOW).sql(" END AS closes FROM conversations o CROSS JOIN LATERAL (SELECT max(").push(SENT);
    sql.sql(") AS last, max(").push(SENT).sql(") FILTER (WHERE direction = 'inbound') AS came, ");
    sql.sql("(count(*) FILTER (WHERE ").push(UNREAD).sql(" AND created_at > o.unread_since))::int AS unread ");
    sql.sql("FROM messages WHERE business_id = ").bind(business(tenant));
    sql.sql(" AND conversation_id = o.id AND deleted_at IS NULL) s WHERE o.business_id = ").bind(business(tenant));
    sql.sql(" AND o.id = ANY(").bind(conversations).sql(")) m WHERE c.business_id = ");
    sql.bind(business(tenant)).sql(" AND c.id = m.id AND ");
    sql.sql("(c.last_message_at, c.unread_new, c.window_expires_at) IS DISTINCT FROM (m.last, m.unread, m.closes)");
    sql.run(tx)?;
    Ok(())
}

fn business(tenant: &Tenant) -> SqlValue {
    SqlValue::Uuid(Some(tenant.id()))
}

/// Aggregates the messages `new` by conversation. Several conversations are locked in id order, so that concurrent
/// writers do not deadlock.
fn said(tenant: &Tenant, new: &[Uuid]) -> Statement {
    let mut sql = Statement::default();
    if let [only] = new {
        sql.sql("SELECT conversation_id AS id, ").push(SENT).sql(" AS sent, (").push(UNREAD);
        sql.sql(")::int AS unread, CASE direction WHEN 'inbound' THEN ").push(SENT);
        sql.sql(" END AS came, created_at AS first FROM messages WHERE business_id = ").bind(business(tenant));
        sql.sql(" AND id = ").bind(*only);
        return sql;
    }
    sql.sql("WITH said AS MATERIALIZED (SELECT conversation_id AS id, max(").push(SENT);
    sql.sql(") AS sent, (count(*) FILTER (WHERE ").push(UNREAD).sql("))::int AS unread, max(").push(SENT);
    sql.sql(
        ") FILTER (WHERE direction = 'inbound') AS came, min(created_at) AS first FROM messages WHERE business_id = ",
    );
    sql.bind(business(tenant)).sql(" AND id = ANY(").bind(new.to_vec());
    sql.sql(") GROUP BY 1), turns AS MATERIALIZED (SELECT id FROM conversations WHERE business_id = ");
    sql.bind(business(tenant));
    sql.sql(" AND id = ANY(ARRAY(SELECT id FROM said)) ORDER BY id FOR NO KEY UPDATE) ");
    sql.sql("SELECT said.* FROM said JOIN turns USING (id)");
    sql
}
