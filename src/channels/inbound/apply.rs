//! Applies one update of a channel, in the transaction of its caller.

use super::delivered::Delivered;
use super::parked;
use super::peers::PeerContext;
use super::update::InboundUpdate;
use super::{changes, locks, new_message, opt_outs, waiting};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::channels::sending::pause;
use crate::channels::sending::settle::{self, StatusOwner};
use crate::channels::templates::{sync, template_update};
use crate::db::Tx;

/// Applies an update. One that is about a message which is not there waits for that; one in which a customer says something that
/// cannot be read is parked, for people to see. An update that was applied before changes nothing.
pub fn apply(tx: &mut Tx<'_>, tenant: &Tenant, delivered: &Delivered<'_>) -> Result<()> {
    let scope = delivered.channel.portfolio_id.as_deref().unwrap_or_default();
    let context = PeerContext::new(tenant, scope, delivered.received_at);
    if delivered.is_past() {
        tx.set_silent(true)?;
    }
    let target = match delivered.update {
        InboundUpdate::Message(message) => return new_message::write(tx, &context, delivered, message),
        InboundUpdate::Template(update) => return template_update::apply(tx, tenant, delivered.channel.id, update),
        InboundUpdate::NumberRated => return sync::request_account(tx, tenant, delivered.channel.id),
        InboundUpdate::Failure(failure) => {
            return pause::pause(tx, tenant, delivered.channel.id, &failure.error, failure.occurred_at);
        }
        InboundUpdate::Preference(preference) => return opt_outs::apply(tx, &context, preference),
        // A status of no known kind, or what is of another subject, says nothing.
        InboundUpdate::Ignored { .. } if matches!(delivered.kind, "status" | "account") => return Ok(()),
        InboundUpdate::Ignored { reason } => return parked::fail(tx, tenant, &delivered.parked(), reason),
        InboundUpdate::Status(status) => &status.target,
        InboundUpdate::Reaction(reaction) => &reaction.target,
        InboundUpdate::Edit(edit) => &edit.target,
        InboundUpdate::Revocation(revocation) => &revocation.target,
    };
    locks::messages(tx, tenant, [target.as_str()])?;
    let mut found = changes::find(tx, tenant, target)?;
    if let (None, InboundUpdate::Status(status)) = (&found, delivered.update) {
        match settle::owner(tx, tenant, delivered.channel.id, status)? {
            StatusOwner::Message => {
                waiting::apply(tx, tenant, &[target])?;
                found = changes::find(tx, tenant, target)?;
            }
            StatusOwner::Attempt => return settle::note_failure(tx, tenant, status),
            StatusOwner::Unknown => {}
        }
    }
    match found {
        Some(found) => waiting::apply_to(tx, tenant, &found, delivered.update, &context),
        None => {
            #[cfg(feature = "mutants")]
            crate::base::mutants::stall_for_a_pass();
            parked::wait(tx, tenant, &delivered.parked(), target)
        }
    }
}
