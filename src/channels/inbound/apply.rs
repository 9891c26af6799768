//! Applies one update of a channel, in the transaction of its caller.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::parked::{self, Parked};
use super::peers::PeerContext;
use super::update::InboundUpdate;
use super::{changes, locks, new_message, waiting};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::channels::directory::ConnectedChannel;
use crate::db::Tx;

/// An update as it is applied, or parked until it can be.
pub struct Delivered<'a> {
    pub channel: &'a ConnectedChannel,
    /// What it is, as the resource of inbound updates names it.
    pub kind: &'static str,
    pub received_at: DateTime<Utc>,
    /// What it was read from.
    pub raw: &'a Json,
    pub update: &'a InboundUpdate,
}

/// Applies an update. One that is about a message which is not there waits for that. An update that was applied before changes nothing.
pub fn apply(tx: &mut Tx<'_>, tenant: &Tenant, delivered: &Delivered<'_>) -> Result<()> {
    let Delivered { channel, kind, received_at, raw, update } = delivered;
    let scope = channel.portfolio_id.as_deref().unwrap_or_default();
    let context = PeerContext { tenant, scope, at: *received_at };
    let target = match update {
        InboundUpdate::Message(message) => return new_message::write(tx, tenant, channel, &context, message),
        InboundUpdate::Ignored { .. } => return Ok(()),
        InboundUpdate::Status(status) => &status.target,
        InboundUpdate::Reaction(reaction) => &reaction.target,
        InboundUpdate::Edit(edit) => &edit.target,
        InboundUpdate::Revocation(revocation) => &revocation.target,
    };
    locks::messages(tx, tenant, [target.as_str()])?;
    match changes::find(tx, tenant, target)? {
        Some(found) => waiting::apply_to(tx, tenant, &found, update, &context),
        None => {
            let mut payload = (*raw).clone();
            if let Some(members) = payload.as_object_mut() {
                members.insert("scope".to_owned(), Json::from(scope));
            }
            let update = Parked { channel: channel.id, kind, received_at: *received_at, payload: &payload };
            parked::wait(tx, tenant, &update, target)
        }
    }
}
