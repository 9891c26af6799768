//! Totals of a conversation's messages: when the last one was sent, when the last one of the other side came in, how many are unread, and
//! until when WhatsApp lets free text through. At any time they equal a recount of the messages that are said and not deleted. Until when
//! messages are free of charge after an advertisement only moves later: a message that is revoked or deleted takes nothing back.
//!
//! New messages are added to the totals; one of the other side wakes a snoozed conversation. Any other change (a message deleted, restored,
//! read or no draft any more) recounts, under the conversation's row lock. Adding takes that lock too, so a recount that does not see a message yet is followed by its
//! addition, and one that sees it follows the addition.
//!
//! `unread_new` is the counted part of `unread_count`: inbound messages that are not read and came after
//! `unread_since`. The rest is what the count was set to; the trigger `conversations_unread_update` records when.

use diesel::prelude::*;
use diesel::sql_types::{Bool, Uuid as SqlUuid};
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{Statement, Tx};

/// Condition for a message that counts: notes and drafts do not.
const SAID: &str = "rapport_is_said(kind, status)";
/// Condition for an unread message, if it came after its conversation was last marked.
const UNREAD: &str = "direction = 'inbound' AND status <> 'read' AND kind <> 'system'";
/// Condition for a message that opens WhatsApp's window: from the customer, and not of the channel's past. A call does, too.
const OPENS: &str = "direction = 'inbound' AND (kind <> 'system' OR payload->>'type' = 'call') AND origin <> 'history'";
/// When a message was sent, as far as that is plausible: a clock that is ahead moves its conversation by a day at most.
const SENT: &str = "least(sent_at, created_at + interval '1 day')";
/// Condition for a message that an advertisement brought (click to WhatsApp).
const FROM_AD: &str = "payload->'referral'->>'source_type' = 'ad'";
/// WhatsApp's customer service window after an inbound message.
const WINDOW: &str = "interval '24 hours'";
/// For how long WhatsApp charges nothing after a message that an advertisement brought (Meta, "Pricing", free entry point windows). Meta
/// counts from the answer: counted from the message, it promises nothing too much.
const FREE_ENTRY: &str = "interval '72 hours'";

/// The totals of a conversation after new messages were added.
#[derive(QueryableByName)]
struct UpdatedTotals {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    /// Whether the time of its last message is not after its start: it may be the start's own.
    #[diesel(sql_type = Bool)]
    is_inexact: bool,
    /// Whether it was marked read after this transaction began: that caller has not seen the messages, so they stay
    /// unread.
    #[diesel(sql_type = Bool)]
    was_marked: bool,
}

/// Adds the messages `new`, which this transaction inserted. Queries: one; up to two more when a message is older than
/// its conversation, or came while that was marked.
pub fn add(tx: &mut Tx<'_>, tenant: &Tenant, new: Vec<Uuid>) -> Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::new(
        "UPDATE conversations c SET version = c.version + 1, updated_at = now(), \
         last_message_at = greatest(c.last_message_at, m.sent), last_inbound_at = greatest(c.last_inbound_at, m.arrived), \
         snoozed_until = CASE WHEN m.came IS NULL THEN c.snoozed_until END, \
         unread_count = c.unread_count + m.unread, unread_new = c.unread_new + m.unread, window_expires_at = CASE \
         WHEN c.channel = 'whatsapp' AND m.came IS NOT NULL THEN greatest(c.window_expires_at, \
         CASE WHEN c.window_closed_at >= m.came THEN least(c.window_closed_at, m.came + ",
    );
    sql.sql(WINDOW).sql(") ELSE m.came + ").sql(WINDOW);
    sql.sql(" END) ELSE c.window_expires_at END, free_entry_expires_at = greatest(c.free_entry_expires_at, CASE WHEN c.channel = 'whatsapp' THEN m.ad + ");
    sql.sql(FREE_ENTRY).sql(" END) FROM (").append(said(tenant, &new));
    sql.sql(") m WHERE c.business_id = ").bind(tenant.id()).sql(
        " AND c.id = m.id RETURNING c.id, c.last_message_at <= c.started_at AS is_inexact, \
         m.unread > 0 AND c.unread_since >= m.first AS was_marked",
    );
    let updated = sql.load::<UpdatedTotals>(tx)?;
    let marked = updated.iter().filter(|totals| totals.was_marked).map(|totals| totals.id);
    let missed: Vec<Uuid> = marked.collect();
    if !missed.is_empty() {
        let mut sql =
            Statement::new("UPDATE conversations c SET unread_since = m.first - interval '1 microsecond' FROM (");
        sql.append(said(tenant, &new)).sql(") m WHERE c.business_id = ").bind(tenant.id());
        sql.sql(" AND c.id = m.id AND c.id = ANY(").bind(missed).sql(")").run(tx)?;
    }
    let inexact = updated.iter().filter(|totals| totals.is_inexact || totals.was_marked).map(|totals| totals.id);
    recount(tx, tenant, inexact.collect())
}

/// Recounts the conversations of `messages`, deleted ones too. Queries: two.
pub fn recount_of(tx: &mut Tx<'_>, tenant: &Tenant, messages: &[Uuid]) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    // Locked in id order, as everywhere that several are locked; and before the count, which must see the writes of
    // earlier lock holders.
    let mut sql = Statement::new("SELECT id FROM conversations WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ANY(ARRAY(SELECT conversation_id FROM messages WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ANY(").bind(messages.to_vec());
    let locked = sql.sql("))) ORDER BY id FOR NO KEY UPDATE").scalars::<Uuid>(tx)?;
    recount(tx, tenant, locked)
}

/// Recounts conversations that this transaction has locked, and updates those whose totals differ.
fn recount(tx: &mut Tx<'_>, tenant: &Tenant, conversations: Vec<Uuid>) -> Result<()> {
    if conversations.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::new(
        "UPDATE conversations c SET version = c.version + 1, updated_at = now(), last_message_at = m.last, last_inbound_at = m.arrived, \
         unread_count = c.unread_count - c.unread_new + m.unread, unread_new = m.unread, window_expires_at = m.closes, \
         free_entry_expires_at = greatest(c.free_entry_expires_at, m.free) FROM (SELECT o.id, coalesce(s.last, o.started_at) AS last, s.arrived, s.unread, \
         CASE WHEN o.channel <> 'whatsapp' THEN NULL WHEN o.window_closed_at >= s.came THEN least(o.window_closed_at, s.came + ",
    );
    sql.sql(WINDOW).sql(") ELSE s.came + ").sql(WINDOW);
    sql.sql(" END AS closes, CASE WHEN o.channel = 'whatsapp' THEN s.ad + ").sql(FREE_ENTRY);
    sql.sql(" END AS free FROM conversations o CROSS JOIN LATERAL (SELECT max(").sql(SENT);
    sql.sql(") AS last, max(").sql(SENT).sql(") FILTER (WHERE ").sql(OPENS).sql(") AS came, max(").sql(SENT);
    sql.sql(") FILTER (WHERE ").sql(OPENS).sql(" AND ").sql(FROM_AD).sql(") AS ad, ");
    sql.sql("max(created_at) FILTER (WHERE ").sql(OPENS).sql(") AS arrived, ");
    sql.sql("(count(*) FILTER (WHERE ").sql(UNREAD).sql(" AND created_at > o.unread_since))::int AS unread ");
    sql.sql("FROM messages WHERE business_id = ").bind(tenant.id());
    sql.sql(" AND conversation_id = o.id AND deleted_at IS NULL AND ").sql(SAID);
    sql.sql(") s WHERE o.business_id = ").bind(tenant.id());
    sql.sql(" AND o.id = ANY(").bind(conversations).sql(")) m WHERE c.business_id = ");
    sql.bind(tenant.id()).sql(" AND c.id = m.id AND ");
    sql.sql("((c.last_message_at, c.last_inbound_at, c.unread_new, c.window_expires_at) IS DISTINCT FROM (m.last, m.arrived, m.unread, m.closes) \
             OR m.free > coalesce(c.free_entry_expires_at, '-infinity'))");
    sql.run(tx)?;
    Ok(())
}

/// Aggregates the messages `new` by conversation. Several conversations are locked in id order, so that concurrent
/// writers do not deadlock.
fn said(tenant: &Tenant, new: &[Uuid]) -> Statement {
    let mut sql = Statement::default();
    if let [only] = new {
        sql.sql("SELECT conversation_id AS id, ").sql(SENT).sql(" AS sent, (").sql(UNREAD);
        sql.sql(")::int AS unread, CASE WHEN ").sql(OPENS).sql(" THEN ").sql(SENT);
        sql.sql(" END AS came, CASE WHEN ").sql(OPENS).sql(" AND ").sql(FROM_AD).sql(" THEN ").sql(SENT);
        sql.sql(" END AS ad, CASE WHEN ").sql(OPENS).sql(" THEN created_at END AS arrived");
        sql.sql(", created_at AS first FROM messages WHERE business_id = ").bind(tenant.id());
        sql.sql(" AND id = ").bind(*only).sql(" AND ").sql(SAID);
        return sql;
    }
    sql.sql("WITH said AS MATERIALIZED (SELECT conversation_id AS id, max(").sql(SENT);
    sql.sql(") AS sent, (count(*) FILTER (WHERE ").sql(UNREAD).sql("))::int AS unread, max(").sql(SENT);
    sql.sql(") FILTER (WHERE ").sql(OPENS);
    sql.sql(") AS came, max(").sql(SENT).sql(") FILTER (WHERE ").sql(OPENS).sql(" AND ").sql(FROM_AD);
    sql.sql(") AS ad, max(created_at) FILTER (WHERE ").sql(OPENS);
    sql.sql(") AS arrived, min(created_at) AS first FROM messages WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ANY(").bind(new.to_vec()).sql(") AND ").sql(SAID);
    sql.sql(" GROUP BY 1), turns AS MATERIALIZED (SELECT id FROM conversations WHERE business_id = ");
    sql.bind(tenant.id());
    sql.sql(" AND id = ANY(ARRAY(SELECT id FROM said)) ORDER BY id FOR NO KEY UPDATE) ");
    sql.sql("SELECT said.* FROM said JOIN turns USING (id)");
    sql
}
