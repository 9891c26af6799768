//! Reads what WhatsApp tells of the preferences of people: the field `user_preferences`.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::webhook_members::{object, text, time};
use super::webhook_peer::{OWN, contact, identities};
use crate::channels::inbound::update::MarketingPreference;

/// Reads an element of `user_preferences`. Errors: why it says nothing, as [`super::webhook_item::read`] has it.
pub fn read(raw: &Value, item: &Value, received_at: DateTime<Utc>) -> Result<MarketingPreference, &'static str> {
    let is_stopped = match (text(item, "category").as_deref(), text(item, "value").as_deref()) {
        (Some("marketing_messages"), Some("stop")) => true,
        (Some("marketing_messages"), Some("resume")) => false,
        _ => return Err("unknown_preference"),
    };
    let peer = identities(item, OWN).or(object(raw, "contact").map(contact).unwrap_or_default());
    if peer.is_anonymous() {
        return Err("no_peer");
    }
    Ok(MarketingPreference { peer, is_stopped, changed_at: time(item, "timestamp").unwrap_or(received_at) })
}
