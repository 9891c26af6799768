//! Writes a message that a channel delivered: once, whatever comes twice.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::changed_names;
use super::changes::{self, body};
use super::delivered::Delivered;
use super::parked::{self, Parked};
use super::peers::{self, PeerContext, ResolvedPeer};
use super::profile_names::ProfileName;
use super::threads::{self, Thread, ThreadLookup};
use super::update::{Direction, InboundMessage, Origin};
use super::waiting::REPLY;
use super::{leads, locks};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::channels::directory::ConnectedChannel;
use crate::channels::messages::MESSAGES;
use crate::channels::worker_tasks::reply_tasks;
use crate::db::schema::messages;
use crate::db::{Statement, Tx};
use crate::resource::{Changeset, crud};

/// Longest name of a file that is kept as it was sent, in characters.
const MAX_FILE_NAME_LEN: usize = 500;

/// Writes `message`, with the contact, the conversation and the lead that it brings; one that is there is left alone.
/// Queries: about a dozen, whatever the conversation holds.
pub fn write(
    tx: &mut Tx<'_>,
    context: &PeerContext<'_>,
    delivered: &Delivered<'_>,
    message: &InboundMessage,
) -> Result<()> {
    let (tenant, channel) = (context.tenant, delivered.channel);
    let finds_former = message.identity_change.is_some();
    let context = &PeerContext { at: message.sent_at, finds_former, ..*context };
    let related = [Some(message.external_id.as_str()), message.reply_to.as_deref()];
    locks::messages(tx, tenant, related.into_iter().flatten())?;
    if let Some(known) = changes::find(tx, tenant, &message.external_id)? {
        changes::complete(tx, tenant, &known, message)?;
        if known.is_past_of(message) && message.direction == Direction::Inbound && message.content.kind != "system" {
            reply_tasks::schedule(tx, tenant, [(known.conversation_id, known.id)].into())?;
        }
        // It came as the channel's past: what a new message brings comes now.
        if known.is_past_of(message) && message.group_id.is_none() && !message.peer.is_anonymous() {
            let author = peers::resolve(tx, context, &message.peer, shown(message))?;
            let thread = threads::of_id(tx, tenant, known.conversation_id)?;
            return become_lead(tx, channel, context, thread.as_ref(), &author, message);
        }
        return Ok(());
    }
    if message.peer.is_anonymous() && message.group_id.is_none() {
        // The file of an old message that is yet to come.
        return parked::wait(tx, tenant, &delivered.parked(), &message.external_id);
    }
    if let Some(change) = &message.identity_change {
        peers::lock(tx, context, &[&message.peer, &change.previous, &change.current])?;
    }
    let author = match message.peer.is_anonymous() {
        true => None,
        false => Some(peers::resolve(tx, context, &message.peer, shown(message))?),
    };
    let group = message.group_id.as_deref().map(|group| peers::resolve_group(tx, tenant, group)).transpose()?;
    let Some(resolved) = group.as_ref().or(author.as_ref()) else { return Ok(()) };
    let lookup = ThreadLookup {
        channel: channel.id,
        resolved,
        peer: &message.peer,
        group_id: message.group_id.as_deref(),
        at: message.sent_at,
        is_past: message.origin == Origin::History,
    };
    let thread = threads::find_or_begin(tx, tenant, &lookup)?;
    let author_contact = author.as_ref().filter(|_| group.is_some() && message.direction == Direction::Inbound);
    let id = insert(tx, tenant, &thread, author_contact, message)?;
    if let Some(answered) = &message.reply_to {
        answer(tx, tenant, delivered, id, answered)?;
    }
    let Some(author) = author else { return Ok(()) };
    if let Some(change) = &message.identity_change {
        let former = changed_names::change(tx, context, &author, change)?;
        threads::move_address(tx, tenant, author.peer_id, former, &change.current)?;
    }
    if group.is_some() {
        return Ok(());
    }
    become_lead(tx, channel, context, Some(&thread), &author, message)
}

/// The name that the author of a message shows.
fn shown(message: &InboundMessage) -> Option<ProfileName<'_>> {
    let name = message.peer.profile_name.as_deref().filter(|_| message.direction == Direction::Inbound);
    name.map(|name| ProfileName { name, at: message.sent_at, by: &message.external_id })
}

/// Makes who wrote a new message a lead, where the channel does.
fn become_lead(
    tx: &mut Tx<'_>,
    channel: &ConnectedChannel,
    context: &PeerContext<'_>,
    thread: Option<&Thread>,
    author: &ResolvedPeer,
    message: &InboundMessage,
) -> Result<()> {
    let is_new = message.origin == Origin::Channel && message.content.kind != "system";
    match (thread, author.contact_id) {
        (Some(thread), Some(contact)) if channel.creates_leads && is_new => {
            leads::attach(tx, context.tenant, thread, contact, message)
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
fn answer(tx: &mut Tx<'_>, tenant: &Tenant, delivered: &Delivered<'_>, id: Uuid, answered: &str) -> Result<()> {
    match changes::find(tx, tenant, answered)? {
        Some(answered) => {
            let mut sql = Statement::new("UPDATE messages SET reply_to_id = ");
            sql.bind(answered.id).sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND id = ").bind(id).run(tx)?;
            Ok(())
        }
        None => {
            let payload: Json = json!({ REPLY: id });
            let reply = Parked { kind: REPLY, payload: &payload, ..delivered.parked() };
            parked::wait(tx, tenant, &reply, answered)
        }
    }
}
