//! Applies the updates that waited for messages which are there now.
//!
//! A status locks its message before it looks for it, and who writes a message locks it before, and looks for what waits after. So each
//! pair of them meets: one of the two sees the other. (With read committed, where each statement sees what was committed before it.)

use serde_json::Value as Json;
use uuid::Uuid;

use super::changes::{self, Target};
use super::parked::{self, Awaited, Parked};
use super::peers::PeerContext;
use super::update::{Direction, InboundUpdate, Peer};
use super::{changed_names, peers, statuses};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::channels::sending::settle;
use crate::channels::whatsapp::webhook_item;
use crate::db::{Statement, Tx};

/// What waits for a message that another one answers: `{"reply": id}`.
pub const REPLY: &str = "reply";

/// Applies what waits for messages of these ids, which this transaction has locked and written. Queries: one, and those of what is
/// applied.
pub fn apply(tx: &mut Tx<'_>, tenant: &Tenant, external_ids: &[&str]) -> Result<()> {
    if external_ids.is_empty() {
        return Ok(());
    }
    #[cfg(feature = "mutants")]
    if crate::base::mutants::is(crate::base::mutants::Mutant::WaitingForgotten) {
        return Ok(());
    }
    let ids = external_ids.iter().map(|id| (*id).to_owned()).collect();
    for awaited in parked::take(tx, tenant, ids)? {
        let Some(target) = changes::find(tx, tenant, &awaited.waits_for)? else { continue };
        // What waited and fails is no fault of the message.
        if let Err(error) = tx.savepoint(|tx| apply_awaited(tx, tenant, &target, &awaited)) {
            if error.is_transient() {
                return Err(error);
            }
            let Awaited { channel_id: channel, kind, received_at, payload, people, .. } = &awaited;
            let parked = Parked { channel: *channel, kind, received_at: *received_at, payload, people };
            parked::fail(tx, tenant, &parked, &error.translated().to_string())?;
        }
    }
    Ok(())
}

/// Applies one update to the message that it waited for.
pub fn apply_awaited(tx: &mut Tx<'_>, tenant: &Tenant, target: &Target, awaited: &Awaited) -> Result<()> {
    if awaited.kind == REPLY {
        return link_reply(tx, tenant, &awaited.payload, target.id);
    }
    let update = webhook_item::read(&awaited.payload, awaited.received_at);
    let context = PeerContext::new(tenant, &awaited.scope, awaited.received_at);
    apply_to(tx, tenant, target, &update, &context)
}

/// Applies a status or a change to its message.
pub fn apply_to(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    target: &Target,
    update: &InboundUpdate,
    context: &PeerContext<'_>,
) -> Result<()> {
    match update {
        InboundUpdate::Status(status) => {
            if status.is_of_participant {
                // It says nothing of the others.
                return Ok(());
            }
            statuses::apply(tx, tenant, target.id, status)?;
            changed_names::learn(tx, context, target.conversation_id, &status.recipient)?;
            settle::note_failure(tx, tenant, status)
        }
        InboundUpdate::Reaction(reaction) => {
            let peer = match reaction.direction {
                Direction::Inbound => {
                    let context = PeerContext { at: reaction.reacted_at, ..*context };
                    peer_of(tx, &context, &reaction.peer)?
                }
                Direction::Outbound => None,
            };
            if reaction.direction == Direction::Inbound && peer.is_none() {
                return Err(Error::conflict("conflict", "Nothing says who reacted."));
            }
            changes::react(tx, tenant, target.id, reaction, peer.as_ref())
        }
        InboundUpdate::Edit(edit) => changes::edit(tx, tenant, target, edit),
        InboundUpdate::Revocation(revocation) => changes::revoke(tx, tenant, target, revocation),
        // The file of an old message, which is known by its id.
        InboundUpdate::Message(message) => changes::complete(tx, tenant, target, message),
        // No message is what these wait for.
        InboundUpdate::Template(_)
        | InboundUpdate::Preference(_)
        | InboundUpdate::Failure(_)
        | InboundUpdate::NumberRated
        | InboundUpdate::Ignored { .. } => Ok(()),
    }
}

/// Who reacted; `None` for one whom nothing identifies.
fn peer_of(tx: &mut Tx<'_>, context: &PeerContext<'_>, peer: &Peer) -> Result<Option<peers::ResolvedPeer>> {
    if peer.is_anonymous() { Ok(None) } else { peers::resolve(tx, context, peer, None).map(Some) }
}

/// Links the message of a parked reply to the one that it answers.
pub fn link_reply(tx: &mut Tx<'_>, tenant: &Tenant, payload: &Json, answered: Uuid) -> Result<()> {
    match payload[REPLY].as_str().and_then(|id| Uuid::try_parse(id).ok()) {
        Some(reply) => link(tx, tenant, reply, answered),
        None => Ok(()),
    }
}

/// Links a message to the one that it answers. Queries: one.
fn link(tx: &mut Tx<'_>, tenant: &Tenant, reply: Uuid, answered: Uuid) -> Result<()> {
    let mut sql = Statement::new("UPDATE messages SET version = version + 1, updated_at = now(), reply_to_id = ");
    sql.bind(answered).sql(" WHERE reply_to_id IS NULL AND business_id = ").bind(tenant.id());
    sql.sql(" AND id = ").bind(reply).run(tx)?;
    Ok(())
}
