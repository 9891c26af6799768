//! Reads calls (field `calls`): each is a message of kind `system`, with what a program can read of it. A customer who calls may be written to
//! for a day, as after a message (Meta, "Customer service windows").

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::webhook_members::{id, text, time};
use super::webhook_peer::peer;
use crate::channels::inbound::update::{Content, Direction, InboundMessage, Origin};

/// Members of a call that are kept. Not its `session`, which is for who takes it.
const MEMBERS: [&str; 6] = ["event", "direction", "status", "start_time", "end_time", "duration"];
/// What a call is in the payload of its message.
pub const CALL: &str = "call";

/// Reads an event of a call: it began (`event`: `connect`), or it has ended (`terminate`). Errors: the reason why it is ignored.
pub fn read(raw: &Value, item: &Value, received_at: DateTime<Utc>) -> Result<InboundMessage, &'static str> {
    let external_id = id(item, "id").ok_or("no_id")?;
    let direction = match text(item, "direction").as_deref() {
        Some("BUSINESS_INITIATED") => Direction::Outbound,
        _ => Direction::Inbound,
    };
    let peer = peer(raw, item, direction);
    if peer.is_anonymous() {
        return Err("no_peer");
    }
    let mut payload = Map::from_iter([("type".to_owned(), json!(CALL))]);
    for member in MEMBERS {
        if let Some(value) = item.get(member).filter(|value| value.is_string() || value.is_number()) {
            payload.insert(member.to_owned(), value.clone());
        }
    }
    Ok(InboundMessage {
        external_id,
        sent_at: time(item, "start_time").or_else(|| time(item, "timestamp")).unwrap_or(received_at),
        direction,
        origin: Origin::Channel,
        peer,
        group_id: None,
        status: None,
        content: Content {
            kind: "system",
            body: Some("Call".to_owned()),
            media: None,
            file_name: None,
            payload: Some(Value::Object(payload)),
            error: None,
            media_is_pending: false,
        },
        reply_to: None,
        referral: None,
        identity_change: None,
    })
}
