//! Writes a message that a channel delivered: once, whatever comes twice.

use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text, Uuid as SqlUuid};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::changes::body;
use super::names::Shown;
use super::parked::{self, Parked};
use super::peers::{self, PeerContext, ResolvedPeer};
use super::threads::{self, Sought, Thread};
use super::update::{Direction, InboundMessage, Origin};
use super::waiting::REPLY;
use super::{leads, locks};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::channels::conversations::totals;
use crate::channels::directory::ConnectedChannel;
use crate::channels::messages::MESSAGES;
use crate::db::schema::messages;
use crate::db::{Statement, Tx};
use crate::resource::{Changeset, clean_text, crud};

/// Longest name of a file that is kept as it was sent, in characters.
const MAX_FILE_NAME_LEN: usize = 500;

/// A message that is there already.
#[derive(QueryableByName)]
struct Known {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    origin: String,
    #[diesel(sql_type = Text)]
    direction: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    media_state: Option<String>,
}

/// Writes `message` of `channel`, with the contact, the conversation and the lead that it brings; one that is there is left alone.
/// Queries: about a dozen, whatever the conversation holds.
pub fn write(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    channel: &ConnectedChannel,
    context: &PeerContext<'_>,
    message: &InboundMessage,
) -> Result<()> {
    if message.origin == Origin::History {
        // Old messages wake nobody: no entries of the audit log, so no events.
        Statement::new("SELECT set_config('rapport.silent', 'on', true)").run(tx)?;
    }
    let context = &PeerContext { at: message.sent_at, ..*context };
    let related = [Some(message.external_id.as_str()), message.reply_to.as_deref()];
    locks::messages(tx, tenant, related.into_iter().flatten())?;
    if let Some(known) = find(tx, tenant, &message.external_id)? {
        return complete(tx, tenant, &known, message);
    }
    if message.peer.is_anonymous() && message.group_id.is_none() {
        // The file of an old message that never came.
        return Ok(());
    }
    let author = match message.peer.is_anonymous() {
        true => None,
        false => {
            let name = message.peer.profile_name.as_deref().filter(|_| message.direction == Direction::Inbound);
            let shown = name.map(|name| Shown { name, at: message.sent_at, by: &message.external_id });
            Some(peers::resolve(tx, context, &message.peer, shown)?)
        }
    };
    let group = message.group_id.as_deref().map(|group| peers::resolve_group(tx, tenant, group)).transpose()?;
    let Some(resolved) = group.as_ref().or(author.as_ref()) else { return Ok(()) };
    let sought = Sought {
        channel: channel.id,
        resolved,
        peer: &message.peer,
        group_id: message.group_id.as_deref(),
        at: message.sent_at,
        is_past: message.origin == Origin::History,
    };
    let thread = threads::find_or_begin(tx, tenant, &sought)?;
    let author_contact = author.as_ref().filter(|_| group.is_some() && message.direction == Direction::Inbound);
    let id = insert(tx, tenant, &thread, author_contact, message)?;
    if let Some(answered) = &message.reply_to {
        answer(tx, tenant, channel, context, id, answered)?;
    }
    if let (Some(change), Some(author)) = (&message.identity_change, &author) {
        peers::change(tx, context, author, &change.previous, &change.current)?;
        move_address(tx, tenant, author.peer_id, change.previous.wa_id.as_deref(), change.current.wa_id.as_deref())?;
    }
    let becomes_lead = channel.creates_leads
        && group.is_none()
        && message.origin == Origin::Channel
        && message.content.kind != "system";
    match author.and_then(|author| author.contact_id) {
        Some(contact) if becomes_lead => leads::attach(tx, tenant, &thread, contact, message),
        _ => Ok(()),
    }
}

fn find(tx: &mut Tx<'_>, tenant: &Tenant, external_id: &str) -> Result<Option<Known>> {
    let mut sql = Statement::new("SELECT id, origin, direction, kind, media_state FROM messages WHERE business_id = ");
    Ok(sql.bind(tenant.id()).sql(" AND external_id = ").bind(external_id).first(tx)?)
}

/// Adds to a message that is there what this one knows better: that it is new and not of the past, or what its file is.
fn complete(tx: &mut Tx<'_>, tenant: &Tenant, known: &Known, message: &InboundMessage) -> Result<()> {
    let was_past = known.origin == Origin::History.as_str() && known.direction == message.direction.as_str();
    match message.origin {
        Origin::Channel if was_past => {
            let mut sql = Statement::new(
                "UPDATE messages SET version = version + 1, updated_at = now(), status = 'received', origin = 'channel' WHERE business_id = ",
            );
            sql.bind(tenant.id()).sql(" AND id = ").bind(known.id).run(tx)?;
            totals::recount_of(tx, tenant, &[known.id])
        }
        Origin::History
            if was_past
                && known.kind == "unknown"
                && known.media_state.as_deref() == Some("pending")
                && message.content.media.is_some() =>
        {
            let mut sql = Statement::new("UPDATE messages SET version = version + 1, updated_at = now(), kind = ");
            sql.bind(message.content.kind)
                .sql(", body = ")
                .bind(body(&message.content))
                .sql(", media = ")
                .bind(message.content.media.clone());
            sql.sql(", payload = ").bind(message.content.payload.clone());
            sql.sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND id = ").bind(known.id).run(tx)?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn insert(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    thread: &Thread,
    author: Option<&ResolvedPeer>,
    message: &InboundMessage,
) -> Result<Uuid> {
    let content = &message.content;
    let status = message.status.unwrap_or(match message.direction {
        Direction::Inbound => "received",
        Direction::Outbound => "sent",
    });
    let mut change = Changeset::empty(MESSAGES.fields);
    change.creates = true;
    change.set(messages::conversation_id, thread.id);
    change.set(messages::direction, message.direction.as_str());
    change.set(messages::author, if message.direction == Direction::Inbound { "contact" } else { "user" });
    change.set(messages::author_contact_id, author.and_then(|author| author.contact_id));
    change.set(messages::kind, content.kind);
    change.set(messages::body, body(content));
    change.set(messages::media, content.media.clone());
    change.set(messages::payload, content.payload.clone());
    change.set(messages::error, content.error.clone());
    change.set(messages::media_state, content.media_is_pending.then(|| "pending".to_owned()));
    change.set(messages::external_id, message.external_id.as_str());
    change.set(messages::status, status);
    change.set(messages::sent_at, message.sent_at);
    change.set(messages::origin, message.origin.as_str());
    if let Some(name) = &content.file_name {
        let name: String = name.chars().take(MAX_FILE_NAME_LEN).collect();
        change.set(messages::metadata, json!({ "file_name": name }));
    }
    Ok(crud::create(tx, tenant, &MESSAGES, change)?.0)
}

/// Links a message to the one that it answers, now or when that comes.
fn answer(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    channel: &ConnectedChannel,
    context: &PeerContext<'_>,
    id: Uuid,
    answered: &str,
) -> Result<()> {
    match find(tx, tenant, answered)? {
        Some(answered) => {
            let mut sql = Statement::new("UPDATE messages SET reply_to_id = ");
            sql.bind(answered.id).sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND id = ").bind(id).run(tx)?;
            Ok(())
        }
        None => {
            let payload: Json = json!({ REPLY: id });
            let waiting = Parked { channel: channel.id, kind: REPLY, received_at: context.at, payload: &payload };
            parked::wait(tx, tenant, &waiting, answered)
        }
    }
}

/// Sends messages of a peer's open conversations to its new number.
fn move_address(tx: &mut Tx<'_>, tenant: &Tenant, peer: Uuid, before: Option<&str>, after: Option<&str>) -> Result<()> {
    let (Some(before), Some(after)) = (before, after) else { return Ok(()) };
    let mut sql = Statement::new("UPDATE conversations SET version = version + 1, updated_at = now(), address = ");
    sql.bind(format!("+{}", clean_text::line(after)))
        .sql(" WHERE status <> 'closed' AND deleted_at IS NULL AND business_id = ");
    sql.bind(tenant.id()).sql(" AND peer_id = ").bind(peer).sql(" AND address = ").bind(format!("+{before}"));
    // Where a conversation with the new number is open, both keep their addresses: people decide whether they are one person.
    sql.sql(" AND NOT EXISTS (SELECT FROM conversations o WHERE o.business_id = conversations.business_id AND o.channel = conversations.channel \
         AND o.address = ").bind(format!("+{after}"));
    sql.sql(" AND o.channel_id = conversations.channel_id AND o.status <> 'closed' AND o.deleted_at IS NULL)")
        .run(tx)?;
    Ok(())
}
