//! Reads statuses: how far a message came that the business sent.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::webhook_members::{error, id, object, text, time};
use super::webhook_peer::{PARTICIPANT, RECIPIENT, contact, identities};
use crate::channels::inbound::update::StatusUpdate;

/// Reads a status. Errors: the reason why it is ignored.
pub fn read(raw: &Value, item: &Value, received_at: DateTime<Utc>) -> Result<StatusUpdate, &'static str> {
    let target = id(item, "id").ok_or("no_id")?;
    let status = match text(item, "status").unwrap_or_default().to_ascii_lowercase().as_str() {
        "sent" => "sent",
        "delivered" => "delivered",
        "read" | "played" => "read",
        "failed" => "failed",
        _ => return Err("unknown_status"),
    };
    // Such as of a payment, which fails without the message that asked for it.
    if !matches!(text(item, "type").as_deref(), None | Some("message")) {
        return Err("unknown_status");
    }
    let participant = identities(item, PARTICIPANT);
    // What is sent to a group fails, and is sent, as a whole; it arrives at one participant after another.
    let is_of_participant = !participant.is_anonymous();
    // A group's `recipient_id` is the group.
    let recipient = match is_of_group(item) {
        true => participant,
        false => identities(item, RECIPIENT).or(object(raw, "contact").map(contact).unwrap_or_default()),
    };
    Ok(StatusUpdate {
        target,
        status,
        occurred_at: time(item, "timestamp").unwrap_or(received_at),
        recipient,
        is_of_participant,
        error: error(item),
        pricing: object(item, "pricing").cloned(),
        callback_data: text(item, "biz_opaque_callback_data"),
    })
}

/// Whether a status is of a message to a group: it says so, or names a participant.
pub fn is_of_group(status: &Value) -> bool {
    text(status, "recipient_type").is_some_and(|kind| kind.eq_ignore_ascii_case("group"))
        || !identities(status, PARTICIPANT).is_anonymous()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn read_status_of_a_whole_group() {
        let item = json!({"id": "a", "status": "sent", "recipient_id": "120363000", "recipient_type": "group"});
        let status = read(&Value::Null, &item, DateTime::UNIX_EPOCH).unwrap();
        assert!(!status.is_of_participant && status.recipient.is_anonymous());
    }

    #[test]
    fn read_status_of_a_group_names_the_participant() {
        let item = json!({"id": "a", "status": "PLAYED", "recipient_id": "4930231250100",
            "recipient_participant_user_id": "GB.1", "timestamp": "soon"});
        let status = read(&Value::Null, &item, DateTime::UNIX_EPOCH).unwrap();
        assert!(status.is_of_participant);
        assert_eq!((status.status, status.recipient.wa_id), ("read", None));
        assert_eq!(status.recipient.user_id.as_deref(), Some("GB.1"));
        assert_eq!(status.occurred_at, DateTime::UNIX_EPOCH);
    }
}
