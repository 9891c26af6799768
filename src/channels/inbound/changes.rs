//! Applies what changes a message: reactions, edits and revocations. In whatever order they come, the message ends the same.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::peers::ResolvedPeer;
use super::update::{Content, Direction, Edit, InboundMessage, Origin, Reaction, Revocation};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::channels::conversations::totals;
use crate::channels::limits::MAX_BODY_LEN;
use crate::db::{Statement, Tx};
use crate::resource::clean_text;

/// Longest emoji in characters: some are sequences of a dozen.
const MAX_EMOJI_LEN: usize = 64;
/// The business as one who reacts.
const BUSINESS: &str = "business";

/// The message that a change is of.
#[derive(QueryableByName)]
pub struct Target {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub conversation_id: Uuid,
    #[diesel(sql_type = Text)]
    direction: String,
    #[diesel(sql_type = Text)]
    origin: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    media_state: Option<String>,
}

impl Target {
    /// Whether `message` is the same one, which came as the channel's past, and now as it is written.
    pub fn is_past_of(&self, message: &InboundMessage) -> bool {
        self.origin == Origin::History.as_str()
            && message.origin == Origin::Channel
            && self.direction == message.direction.as_str()
    }
}

/// Finds a message by the channel's id, also a deleted one.
pub fn find(tx: &mut Tx<'_>, tenant: &Tenant, external_id: &str) -> Result<Option<Target>> {
    let mut sql = Statement::new(
        "SELECT id, conversation_id, direction, origin, kind, media_state FROM messages WHERE business_id = ",
    );
    Ok(sql.bind(tenant.id()).sql(" AND external_id = ").bind(external_id).first(tx)?)
}

/// Puts a reaction on a message, or takes it back. Each side has one; the later one counts, and of two at the same second the one
/// that takes back. Queries: one.
pub fn react(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    message: Uuid,
    reaction: &Reaction,
    peer: Option<&ResolvedPeer>,
) -> Result<()> {
    let reactor = peer.map_or_else(|| BUSINESS.to_owned(), |peer| peer.peer_id.to_string());
    let emoji = reaction.emoji.as_deref().map(clean_text::line);
    let emoji: Option<String> = emoji.map(|emoji| emoji.chars().take(MAX_EMOJI_LEN).collect());
    let removed_at: Option<DateTime<Utc>> = emoji.is_none().then_some(reaction.reacted_at);
    let mut sql = Statement::new(
        "INSERT INTO message_reactions AS r (business_id, id, message_id, reactor, contact_id, emoji, external_id, reacted_at, deleted_at) VALUES (",
    );
    sql.bind(tenant.id()).sql(", ").bind(Uuid::now_v7()).sql(", ").bind(message).sql(", ").bind(reactor).sql(", ");
    sql.bind(peer.and_then(|peer| peer.contact_id)).sql(", ").bind(emoji.unwrap_or_default()).sql(", ");
    sql.bind(&reaction.external_id).sql(", ").bind(reaction.reacted_at).sql(", ").bind(removed_at);
    sql.sql(
        ") ON CONFLICT (business_id, message_id, reactor) DO UPDATE SET emoji = excluded.emoji, external_id = excluded.external_id, \
         reacted_at = excluded.reacted_at, deleted_at = excluded.deleted_at, contact_id = coalesce(r.contact_id, excluded.contact_id), \
         version = r.version + 1, updated_at = now() \
         WHERE (excluded.reacted_at, excluded.deleted_at IS NOT NULL, excluded.external_id) \
             > (r.reacted_at, r.deleted_at IS NOT NULL, r.external_id)",
    );
    sql.run(tx)?;
    Ok(())
}

/// Gives a message another text, as its author did. The latest edit counts; a revoked message stays empty. Queries: one.
pub fn edit(tx: &mut Tx<'_>, tenant: &Tenant, target: &Target, edit: &Edit) -> Result<()> {
    if !is_by_author(target, edit.direction) {
        return Ok(());
    }
    let mut sql = Statement::new("UPDATE messages SET version = version + 1, updated_at = now(), body = ");
    sql.bind(body(&edit.content))
        .sql(", edited_at = ")
        .bind(edit.edited_at)
        .sql(", edited_by = ")
        .bind(&edit.external_id);
    sql.sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND id = ").bind(target.id);
    sql.sql(" AND revoked_at IS NULL AND (edited_at IS NULL OR (edited_at, edited_by) < (").bind(edit.edited_at);
    sql.sql(", ").bind(&edit.external_id).sql("))").run(tx)?;
    Ok(())
}

/// Empties a message, as its author did. Queries: one.
pub fn revoke(tx: &mut Tx<'_>, tenant: &Tenant, target: &Target, revocation: &Revocation) -> Result<()> {
    if !is_by_author(target, revocation.direction) {
        return Ok(());
    }
    let mut sql = Statement::new(
        "UPDATE messages SET version = version + 1, updated_at = now(), body = NULL, media = NULL, payload = NULL, media_state = NULL, attachment_id = NULL, \
         metadata = metadata - 'file_name', revoked_at = ",
    );
    sql.bind(revocation.revoked_at).sql(" WHERE revoked_at IS NULL AND business_id = ").bind(tenant.id());
    sql.sql(" AND id = ").bind(target.id).run(tx)?;
    Ok(())
}

/// Adds to a message that is there what `message`, the same one, knows better: that it is new and not of the past, or what its file is.
pub fn complete(tx: &mut Tx<'_>, tenant: &Tenant, target: &Target, message: &InboundMessage) -> Result<()> {
    if target.is_past_of(message) {
        let mut sql = Statement::new(
            "UPDATE messages SET version = version + 1, updated_at = now(), status = 'received', origin = 'channel', \
             payload = coalesce(payload, ",
        );
        sql.bind(message.content.payload.clone()).sql(") WHERE business_id = ");
        sql.bind(tenant.id()).sql(" AND id = ").bind(target.id).run(tx)?;
        return totals::recount_of(tx, tenant, &[target.id]);
    }
    if message.content.is_call() {
        return complete_call(tx, tenant, target, message);
    }
    let is_placeholder = target.kind == "unknown"
        && target.media_state.as_deref() == Some("pending")
        && target.origin == Origin::History.as_str();
    if is_placeholder && message.origin == Origin::History && message.content.media.is_some() {
        let content = &message.content;
        let mut sql = Statement::new("UPDATE messages SET version = version + 1, updated_at = now(), kind = ");
        sql.bind(content.kind).sql(", body = ").bind(body(content)).sql(", media = ").bind(content.media.clone());
        sql.sql(", payload = ").bind(content.payload.clone()).sql(" WHERE business_id = ").bind(tenant.id());
        sql.sql(" AND id = ").bind(target.id).run(tx)?;
    }
    Ok(())
}

/// Adds to a call how it ended: of what two events tell differently, the end's. Queries: one.
fn complete_call(tx: &mut Tx<'_>, tenant: &Tenant, target: &Target, message: &InboundMessage) -> Result<()> {
    let told = message.content.payload.clone();
    let is_end = told.as_ref().is_some_and(|told| told["event"] == "terminate");
    let mut sql = Statement::new(
        "UPDATE messages m SET version = m.version + 1, updated_at = now(), payload = n.payload FROM (SELECT id, ",
    );
    match is_end {
        true => sql.sql("payload || ").bind(told),
        false => sql.bind(told).sql("::jsonb || payload"),
    };
    sql.sql(" AS payload FROM messages WHERE business_id = ").bind(tenant.id()).sql(" AND id = ").bind(target.id);
    sql.sql(" FOR NO KEY UPDATE) n WHERE m.id = n.id AND m.payload <> n.payload AND m.business_id = ")
        .bind(tenant.id());
    sql.run(tx)?;
    Ok(())
}

/// Whether the side that changes a message wrote it.
fn is_by_author(target: &Target, direction: Direction) -> bool {
    target.direction == direction.as_str()
}

/// The text of a message: clean, and cut to what a message may have; what a program reads has it whole.
pub fn body(content: &Content) -> Option<String> {
    let text = clean_text::multi_line(content.body.as_deref()?);
    Some(text.chars().take(MAX_BODY_LEN).collect()).filter(|text: &String| !text.is_empty())
}
