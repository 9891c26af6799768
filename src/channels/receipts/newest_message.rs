//! Selects the message that is marked as read: the newest one, with which WhatsApp marks those before it.

use chrono::{DateTime, Utc};

use crate::db::Statement;

/// How long after it was sent a message can be marked, in days (Meta, "Mark messages as read").
const MAX_AGE_DAYS: u32 = 30;

/// Selects `id`, `sent_at` and `external_id` of the newest message that a customer wrote in the conversation `v` through the channel, and that
/// had come in until `until`. What the channel tells of its past, and what was noted by hand, it does not know as unread.
pub fn newest_message(until: Option<DateTime<Utc>>) -> Statement {
    let mut sql = Statement::new(
        "SELECT m.id, m.sent_at, m.external_id FROM messages m WHERE m.business_id = v.business_id AND m.conversation_id = v.id \
         AND m.direction = 'inbound' AND m.origin = 'channel' AND m.kind <> 'system' AND m.external_id IS NOT NULL AND m.deleted_at IS NULL \
         AND m.sent_at > now() - interval '",
    );
    sql.number(MAX_AGE_DAYS).sql(" days'");
    if let Some(until) = until {
        sql.sql(" AND m.created_at <= ").bind(until);
    }
    sql.sql(" ORDER BY m.sent_at DESC, m.id DESC LIMIT 1");
    sql
}
