//! Reads one item of a WhatsApp webhook into the update that it means.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::content::content;
use super::error_codes::ErrorPolicy;
use super::webhook_members::{error, id, object, text, time};
use super::webhook_peer::{FROM, OWN, PREVIOUS, direction_in_history, group_id, identities, peer, thread_peer};
use super::{webhook_call, webhook_preference, webhook_status, webhook_template};
use crate::channels::inbound::update::{
    ChannelFailure, Direction, Edit, IdentityChange, InboundMessage, InboundUpdate, Origin, Peer, Reaction, Referral,
    Revocation,
};

/// Which list of a webhook an item stood in. It decides what the item is, as the items do not say it themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemList {
    Messages,
    MessageEchoes,
    History,
    Statuses,
    UserPreferences,
    Calls,
    /// No list: the whole value of a change, or errors within it.
    Change,
}

impl ItemList {
    /// Name of the list in Meta's JSON; `change` for a whole value.
    pub fn as_str(self) -> &'static str {
        match self {
            ItemList::Messages => "messages",
            ItemList::MessageEchoes => "message_echoes",
            ItemList::History => "history",
            ItemList::Statuses => "statuses",
            ItemList::UserPreferences => "user_preferences",
            ItemList::Calls => "calls",
            ItemList::Change => "change",
        }
    }

    fn named(name: &str) -> Option<ItemList> {
        [
            Self::Messages,
            Self::MessageEchoes,
            Self::History,
            Self::Statuses,
            Self::UserPreferences,
            Self::Calls,
            Self::Change,
        ]
        .into_iter()
        .find(|list| list.as_str() == name)
    }
}

/// An item with all of its webhook that [`read`] needs.
pub struct ItemParts<'a> {
    /// The change's `field`.
    pub field: &'a str,
    pub list: ItemList,
    /// The business' own number, as sent.
    pub display_number: Option<&'a str>,
    /// The peer's entry of `contacts`.
    pub contact: Option<&'a Value>,
    /// The history's thread, of which `id` and `context` are kept.
    pub thread: Option<&'a Value>,
    pub item: &'a Value,
}

impl ItemParts<'_> {
    /// Makes the object that is stored while an update waits, and that [`read`] takes: `field`, `list`,
    /// `display_number`, `contact`, `thread` (`id`, `context`), `item`. Members without a value are null.
    pub fn to_raw(&self) -> Value {
        let thread = self.thread.map(|thread| json!({"id": thread.get("id"), "context": thread.get("context")}));
        json!({
            "field": self.field,
            "list": self.list.as_str(),
            "display_number": self.display_number,
            "contact": self.contact,
            "thread": thread,
            "item": self.item,
        })
    }
}

/// Reads an item ([`ItemParts::to_raw`]). `received_at` is when its webhook arrived; it stands in for a time that is
/// missing or absurd, so an item that is read again needs the same.
///
/// It never fails. What has no effect is [`InboundUpdate::Ignored`], with one of these reasons:
/// - `not_an_item`: not an object of [`ItemParts::to_raw`].
/// - `no_id`: without an id nothing can be recognised when it comes again.
/// - `no_peer`: a message that belongs to no thread. An old one passes: it may be the file of a placeholder.
/// - `no_target`: a reaction, edit or revocation of nothing.
/// - `no_content`: an edit without its new message, or with one of an unknown kind.
/// - `unknown_status`: such as `warning`, `deleted` or `accepted`, or of a payment.
/// - `history_declined`: the business does not share its history; the item has `errors`.
/// - `reported_errors`: errors without a message that do not end what the channel can do.
/// - `unhandled_field`: a field of another subject, such as the settings of groups.
/// - `unknown_preference`: of another category than marketing messages, or neither stopped nor resumed.
pub fn read(raw: &Value, received_at: DateTime<Utc>) -> InboundUpdate {
    let list = raw.get("list").and_then(Value::as_str).and_then(ItemList::named);
    let (Some(list), Some(item)) = (list, object(raw, "item")) else {
        return ignored("not_an_item");
    };
    match list {
        ItemList::Messages => message(raw, item, Direction::Inbound, Origin::Channel, received_at),
        ItemList::MessageEchoes => message(raw, item, Direction::Outbound, Origin::PhoneApp, received_at),
        ItemList::History => {
            let display_number = text(raw, "display_number");
            let peer = object(raw, "thread").map(thread_peer).unwrap_or_default();
            let direction = direction_in_history(item, &peer, display_number.as_deref());
            message(raw, item, direction, Origin::History, received_at)
        }
        ItemList::Statuses => webhook_status::read(raw, item, received_at)
            .map_or_else(ignored, |status| InboundUpdate::Status(Box::new(status))),
        ItemList::Calls => webhook_call::read(raw, item, received_at).map_or_else(ignored, message_update),
        ItemList::UserPreferences => match webhook_preference::read(raw, item, received_at) {
            Ok(preference) => InboundUpdate::Preference(Box::new(preference)),
            Err(reason) => ignored(reason),
        },
        ItemList::Change => match (raw.get("field").and_then(Value::as_str), item.get("errors")) {
            (Some("history"), Some(_)) => ignored("history_declined"),
            (Some("" | "messages" | "smb_message_echoes"), Some(_)) => reported_errors(item, received_at),
            (Some("phone_number_quality_update"), _) => InboundUpdate::NumberRated,
            (Some(field), _) => match webhook_template::read(field, item, received_at) {
                Some(update) => InboundUpdate::Template(Box::new(update)),
                None => ignored("unhandled_field"),
            },
            _ => ignored("unhandled_field"),
        },
    }
}

fn ignored(reason: &'static str) -> InboundUpdate {
    InboundUpdate::Ignored { reason }
}

fn message_update(message: InboundMessage) -> InboundUpdate {
    InboundUpdate::Message(Box::new(message))
}

/// Reads errors that no message or status has: those after which nothing goes through the channel.
fn reported_errors(item: &Value, received_at: DateTime<Utc>) -> InboundUpdate {
    match error(item).filter(|error| ErrorPolicy::of(&error["code"]) == ErrorPolicy::ChannelPaused) {
        Some(error) => InboundUpdate::Failure(Box::new(ChannelFailure {
            error,
            occurred_at: time(item, "time").unwrap_or(received_at),
        })),
        None => ignored("reported_errors"),
    }
}

fn message(
    raw: &Value,
    item: &Value,
    direction: Direction,
    origin: Origin,
    received_at: DateTime<Utc>,
) -> InboundUpdate {
    let Some(external_id) = id(item, "id") else {
        return ignored("no_id");
    };
    let at = time(item, "timestamp").unwrap_or(received_at);
    let peer = peer(raw, item, direction);
    let target = |change: &Value| id(change, "original_message_id").or_else(|| id(change, "message_id"));
    match item.get("type").and_then(Value::as_str) {
        Some("reaction") => match object(item, "reaction").and_then(|reaction| Some((target(reaction)?, reaction))) {
            Some((target, reaction)) => {
                let emoji = text(reaction, "emoji");
                let reaction = Reaction { external_id, reacted_at: at, target, emoji, peer, direction };
                InboundUpdate::Reaction(Box::new(reaction))
            }
            None => ignored("no_target"),
        },
        Some("edit") => match object(item, "edit").and_then(|edit| Some((target(edit)?, edit))) {
            Some((target, edit)) => match object(edit, "message") {
                Some(message) => {
                    let content = content(message);
                    if content.kind == "unknown" {
                        return ignored("no_content");
                    }
                    let body = content.body.clone();
                    let edit = Edit { external_id, edited_at: at, target, body, content, peer, direction };
                    InboundUpdate::Edit(Box::new(edit))
                }
                None => ignored("no_content"),
            },
            None => ignored("no_target"),
        },
        Some("revoke") => match object(item, "revoke").and_then(target) {
            Some(target) => {
                let revocation = Revocation { external_id, revoked_at: at, target, peer, direction };
                InboundUpdate::Revocation(Box::new(revocation))
            }
            None => ignored("no_target"),
        },
        _ => {
            let identity_change = identity_change(item);
            // The thread is the one under the identity that was known; the new one may not be known yet.
            let peer = match &identity_change {
                Some(change) => {
                    Peer { username: peer.username, profile_name: peer.profile_name, ..change.previous.clone() }
                }
                None => peer,
            };
            let group_id = group_id(raw, item);
            if peer.is_anonymous() && group_id.is_none() && origin != Origin::History {
                return ignored("no_peer");
            }
            message_update(InboundMessage {
                external_id,
                sent_at: at,
                direction,
                origin,
                peer,
                group_id,
                status: (origin == Origin::History).then(|| history_status(item, direction)),
                content: content(item),
                reply_to: object(item, "context").and_then(|context| id(context, "id")),
                referral: object(item, "referral").and_then(referral),
                identity_change,
            })
        }
    }
}

/// Translates the state of an old message. Meta names DELIVERED, ERROR, PENDING, PLAYED, READ and SENT, in upper case.
///
/// An inbound message is `read`, whatever it says: nothing old is unread. An outbound one that is PENDING is `sent`,
/// not queued: the phone sends it, and nothing here may send it again. The same goes for one without a known state.
fn history_status(item: &Value, direction: Direction) -> &'static str {
    if direction == Direction::Inbound {
        return "read";
    }
    let status = object(item, "history_context").and_then(|context| text(context, "status")).unwrap_or_default();
    match status.to_ascii_lowercase().as_str() {
        "delivered" => "delivered",
        "read" | "played" => "read",
        "error" | "failed" => "failed",
        _ => "sent",
    }
}

fn referral(sent: &Value) -> Option<Referral> {
    let referral = Referral {
        source_type: text(sent, "source_type"),
        source_id: text(sent, "source_id"),
        source_url: text(sent, "source_url"),
        headline: text(sent, "headline"),
        body: text(sent, "body"),
        ctwa_clid: text(sent, "ctwa_clid"),
    };
    (referral != Referral::default()).then_some(referral)
}

/// Reads a system message that says that a person has another number (`user_changed_number`; in older references
/// `customer_changed_number`) or another user id (`user_changed_user_id`).
///
/// Meta (webhook reference of system messages, August 2026): `from` is the former number; `system` has the new `wa_id`,
/// `user_id` and `parent_user_id`, and the former `previous_user_id` and `previous_parent_user_id`. A new number brings
/// a new user id. `new_wa_id` and `customer` (the former number) are older names.
fn identity_change(item: &Value) -> Option<IdentityChange> {
    let system = object(item, "system").filter(|_| item.get("type").and_then(Value::as_str) == Some("system"))?;
    let kind = text(system, "type")?;
    if !matches!(kind.as_str(), "user_changed_number" | "customer_changed_number" | "user_changed_user_id") {
        return None;
    }
    let older = |member: &'static str| identities(&json!({"wa_id": system.get(member)}), OWN);
    let current = identities(system, OWN).or(older("new_wa_id"));
    let named = identities(system, PREVIOUS).or(older("customer")).or(identities(item, FROM));
    // `from_user_id` may be the new id already.
    let unless_current = |previous: Option<String>, current: &Option<String>| {
        previous.filter(|previous| Some(previous) != current.as_ref())
    };
    let previous = Peer {
        wa_id: unless_current(named.wa_id, &current.wa_id),
        user_id: unless_current(named.user_id, &current.user_id),
        parent_user_id: unless_current(named.parent_user_id, &current.parent_user_id),
        ..Peer::default()
    };
    let says_both = !previous.is_anonymous() && !current.is_anonymous();
    says_both.then_some(IdentityChange { previous, current, is_of_number: kind != "user_changed_user_id" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_item(list: ItemList, item: Value) -> InboundUpdate {
        let parts = ItemParts { field: "", list, display_number: None, contact: None, thread: None, item: &item };
        read(&parts.to_raw(), DateTime::UNIX_EPOCH)
    }

    fn change_of(item: Value) -> Option<IdentityChange> {
        match read_item(ItemList::Messages, item) {
            InboundUpdate::Message(message) => message.identity_change,
            _ => None,
        }
    }

    #[test]
    fn read_user_id_change_previous_identity_is_the_peer() {
        let system = json!({
            "type": "user_changed_user_id", "user_id": "GB.2", "parent_user_id": "GB.ENT.2",
            "previous_user_id": "GB.1", "previous_parent_user_id": "GB.ENT.1", "wa_id": "GB.2",
        });
        let item = json!({"id": "a", "type": "system", "from_user_id": "GB.2", "system": system});
        let InboundUpdate::Message(message) = read_item(ItemList::Messages, item) else { panic!("no message") };
        let change = message.identity_change.unwrap();
        assert_eq!(message.peer, change.previous);
        assert_eq!((change.previous.user_id.as_deref(), change.previous.wa_id), (Some("GB.1"), None));
        assert_eq!(change.previous.parent_user_id.as_deref(), Some("GB.ENT.1"));
        assert_eq!((change.current.user_id.as_deref(), change.current.wa_id), (Some("GB.2"), None));
    }

    #[test]
    fn read_number_change_only_with_both_sides() {
        let of =
            |system: Value| change_of(json!({"id": "a", "from": "447700900123", "type": "system", "system": system}));
        let change = of(json!({"type": "customer_changed_number", "new_wa_id": 447_700_900_456_u64})).unwrap();
        assert_eq!(change.current.wa_id.as_deref(), Some("447700900456"));
        assert_eq!(change.previous.wa_id.as_deref(), Some("447700900123"));
        assert_eq!(of(json!({"type": "user_changed_number", "wa_id": "447700900123"})), None);
        assert_eq!(of(json!({"type": "user_changed_number"})), None);
        assert_eq!(of(json!({"type": "customer_identity_changed", "wa_id": "447700900456"})), None);
    }

    #[test]
    fn read_unusable_items_ignored() {
        let target = json!({"original_message_id": "t"});
        let of_tomorrow = json!({"original_message_id": "t", "message": {"type": "hologram", "hologram": {}}});
        for (list, item, expected) in [
            (ItemList::Messages, json!("x"), "not_an_item"),
            (ItemList::Messages, json!({"from": "447700900123"}), "no_id"),
            (ItemList::Messages, json!({"id": "a", "type": "text"}), "no_peer"),
            (ItemList::Messages, json!({"id": "a", "type": "reaction", "reaction": {}}), "no_target"),
            (ItemList::Messages, json!({"id": "a", "type": "revoke"}), "no_target"),
            (ItemList::Messages, json!({"id": "a", "type": "edit", "edit": target}), "no_content"),
            (ItemList::Messages, json!({"id": "a", "type": "edit", "edit": of_tomorrow}), "no_content"),
            (ItemList::Calls, json!({"id": "a", "event": "connect"}), "no_peer"),
            (ItemList::Statuses, json!({"id": "a", "status": "failed", "type": "payment"}), "unknown_status"),
            (ItemList::Statuses, json!({"status": "sent"}), "no_id"),
            (ItemList::Statuses, json!({"id": "a", "status": "warning"}), "unknown_status"),
            (ItemList::Change, json!({"event": "APPROVED"}), "unhandled_field"),
        ] {
            let update = read_item(list, item.clone());
            assert_eq!(update, InboundUpdate::Ignored { reason: expected }, "{item}");
        }
        assert_eq!(read(&json!([]), DateTime::UNIX_EPOCH), InboundUpdate::Ignored { reason: "not_an_item" });
    }

    #[test]
    fn history_status_never_to_be_sent_again() {
        let status =
            |status: &str, direction| history_status(&json!({"history_context": {"status": status}}), direction);
        for (sent, expected) in
            [("PENDING", "sent"), ("SENT", "sent"), ("PLAYED", "read"), ("ERROR", "failed"), ("new", "sent")]
        {
            assert_eq!(status(sent, Direction::Outbound), expected);
            assert_eq!(status(sent, Direction::Inbound), "read");
        }
    }
}
