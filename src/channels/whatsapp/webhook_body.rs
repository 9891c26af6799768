//! Takes a WhatsApp webhook body apart into items that are applied one by one.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::webhook_item::{ItemList, ItemParts};
use super::webhook_members::{id, list, object, text, time};
use super::webhook_peer::{
    Contacts, FROM, OWN, PARTICIPANT, RECIPIENT, TO, direction_in_history, identities, thread_peer,
};
use super::webhook_status::is_of_group;
use crate::channels::inbound::update::{Direction, Peer};

/// What an item is, as far as its place and `type` say: [`crate::channels::whatsapp::webhook_item::read`] may find it unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    Message,
    /// A message that the business wrote in its phone's app.
    Echo,
    /// An old message.
    History,
    Status,
    /// A reaction, an edit or a revocation may come as message, as echo or in the history.
    Reaction,
    Edit,
    Revoke,
    /// About the account, or of a field that is not handled.
    Account,
}

/// One thing that a webhook body reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Id of the WhatsApp Business account (`entry[].id`).
    pub account_id: Option<String>,
    /// Id of the business' number, which names the channel (`metadata.phone_number_id`).
    pub phone_number_id: Option<String>,
    pub kind: ItemKind,
    /// When it happened, to the second, if the item has a usable time.
    pub occurred_at: Option<DateTime<Utc>>,
    /// The item with all that is needed to read it again alone ([`ItemParts::to_raw`]).
    pub raw: Value,
}

/// Returns the items of a body: first all messages, echoes and history of all entries in their order, among them
/// reactions, edits and revocations; then all statuses; then the rest. So a message that came with statuses waits for
/// none of them. A body that is no webhook has no items.
pub fn items(body: &Value) -> Vec<Item> {
    let (mut messages, mut statuses, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for entry in list(body, "entry") {
        for change in list(entry, "changes") {
            let field = change.get("field").and_then(Value::as_str).unwrap_or_default();
            let Some(value) = object(change, "value") else { continue };
            let change = Change::new(entry, field, value);
            match field {
                // The lists decide what their items are, should the field be missing.
                "" | "messages" | "smb_message_echoes" | "history" => {
                    messages.extend(change.messages());
                    messages.extend(change.echoes());
                    messages.extend(change.history());
                    statuses.extend(change.statuses());
                    rest.extend(change.errors());
                    let is_known = KNOWN_MEMBERS.iter().any(|member| value.get(member).is_some());
                    rest.extend((!is_known).then(|| change.about_account(value)));
                }
                "user_preferences" => rest.extend(change.preferences()),
                "calls" => messages.extend(change.calls()),
                _ => rest.push(change.about_account(value)),
            }
        }
    }
    messages.append(&mut statuses);
    messages.append(&mut rest);
    messages
}

/// Members of a change's value that items are made of. A value without any is kept whole.
const KNOWN_MEMBERS: [&str; 5] = ["messages", "message_echoes", "history", "statuses", "errors"];

/// One element of `changes`, with what its items share.
struct Change<'a> {
    entry: &'a Value,
    field: &'a str,
    value: &'a Value,
    contacts: Contacts<'a>,
    phone_number_id: Option<String>,
    display_number: Option<String>,
}

impl<'a> Change<'a> {
    fn new(entry: &'a Value, field: &'a str, value: &'a Value) -> Self {
        let metadata = value.get("metadata").unwrap_or(&Value::Null);
        Change {
            entry,
            field,
            value,
            contacts: Contacts::new(list(value, "contacts")),
            phone_number_id: id(metadata, "phone_number_id"),
            display_number: text(metadata, "display_phone_number"),
        }
    }

    /// Items of `messages`. In the field `history` they are the media of old messages, which follow their placeholders
    /// without a thread.
    fn messages(&self) -> impl Iterator<Item = Item> {
        let is_history = self.field == "history";
        list(self.value, "messages").iter().map(move |item| {
            if is_history {
                let peer = self.peer_in_history(item, &Peer::default());
                self.item(ItemList::History, message_kind(item, ItemKind::History), &peer, None, item)
            } else {
                let kind = message_kind(item, ItemKind::Message);
                self.item(ItemList::Messages, kind, &identities(item, FROM), None, item)
            }
        })
    }

    fn echoes(&self) -> impl Iterator<Item = Item> {
        list(self.value, "message_echoes").iter().map(|item| {
            let kind = message_kind(item, ItemKind::Echo);
            self.item(ItemList::MessageEchoes, kind, &identities(item, TO), None, item)
        })
    }

    fn history(&self) -> impl Iterator<Item = Item> {
        let threads = list(self.value, "history").iter().flat_map(|chunk| list(chunk, "threads"));
        threads.flat_map(move |thread| {
            let thread_peer = thread_peer(thread);
            list(thread, "messages").iter().map(move |item| {
                let peer = self.peer_in_history(item, &thread_peer);
                self.item(ItemList::History, message_kind(item, ItemKind::History), &peer, Some(thread), item)
            })
        })
    }

    fn statuses(&self) -> impl Iterator<Item = Item> {
        list(self.value, "statuses").iter().map(|item| {
            let peer = identities(item, if is_of_group(item) { PARTICIPANT } else { RECIPIENT });
            self.item(ItemList::Statuses, ItemKind::Status, &peer, None, item)
        })
    }

    fn calls(&self) -> impl Iterator<Item = Item> {
        list(self.value, "calls").iter().map(|item| {
            let is_own = text(item, "direction").as_deref() == Some("BUSINESS_INITIATED");
            let peer = identities(item, if is_own { TO } else { FROM });
            self.item(ItemList::Calls, ItemKind::Message, &peer, None, item)
        })
    }

    /// What people want of the business, each with its person.
    fn preferences(&self) -> impl Iterator<Item = Item> {
        list(self.value, "user_preferences")
            .iter()
            .map(|item| self.item(ItemList::UserPreferences, ItemKind::Account, &identities(item, OWN), None, item))
    }

    /// Errors that no message or status has: of the account, or why the history is not shared.
    fn errors(&self) -> impl Iterator<Item = Item> {
        let chunks = list(self.value, "history").iter();
        chunks.chain([self.value]).filter_map(|holder| holder.get("errors")).map(|errors| {
            // Without the lists beside them, whose items are kept for themselves.
            self.about_account(&json!({"errors": errors}))
        })
    }

    fn about_account(&self, item: &Value) -> Item {
        let mut item = item.clone();
        // Of what concerns an account, only the entry has a time: read again, it has it still.
        if let (Value::Object(members), Some(time)) = (&mut item, self.entry.get("time")) {
            members.entry("timestamp").or_insert_with(|| time.clone());
        }
        let item = &item;
        let occurred_at = time(item, "timestamp").or_else(|| time(self.entry, "time"));
        self.kept(ItemKind::Account, occurred_at, ItemList::Change, None, None, item)
    }

    fn peer_in_history(&self, item: &Value, thread_peer: &Peer) -> Peer {
        let members = match direction_in_history(item, thread_peer, self.display_number.as_deref()) {
            Direction::Inbound => FROM,
            Direction::Outbound => TO,
        };
        identities(item, members).or(thread_peer.clone())
    }

    fn item(&self, of: ItemList, kind: ItemKind, peer: &Peer, thread: Option<&Value>, item: &Value) -> Item {
        let contact = self.contacts.find(peer);
        self.kept(kind, time(item, "timestamp"), of, contact, thread, item)
    }

    fn kept(
        &self,
        kind: ItemKind,
        occurred_at: Option<DateTime<Utc>>,
        list: ItemList,
        contact: Option<&Value>,
        thread: Option<&Value>,
        item: &Value,
    ) -> Item {
        let display_number = self.display_number.as_deref();
        let parts = ItemParts { field: self.field, list, display_number, contact, thread, item };
        Item {
            account_id: id(self.entry, "id"),
            phone_number_id: self.phone_number_id.clone(),
            kind,
            occurred_at,
            raw: parts.to_raw(),
        }
    }
}

/// Returns the kind of a message by its type; `otherwise` for one that becomes a row.
fn message_kind(item: &Value, otherwise: ItemKind) -> ItemKind {
    match item.get("type").and_then(Value::as_str) {
        Some("reaction") => ItemKind::Reaction,
        Some("edit") => ItemKind::Edit,
        Some("revoke") => ItemKind::Revoke,
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::inbound::update::{InboundUpdate, Origin};
    use crate::channels::whatsapp::webhook_item::read;

    fn body(field: &str, value: Value) -> Value {
        json!({"entry": [{"id": 22, "time": 1_795_860_000, "changes": [{"field": field, "value": value}]}]})
    }

    #[test]
    fn items_messages_first_then_statuses_then_the_rest() {
        let message = json!({"messages": [{"id": "m", "from": "447700900123", "type": "text"}]});
        let both = json!({"statuses": [{"id": "s"}], "messages": [{"type": "reaction"}], "errors": [{"code": 1}]});
        let changes = json!([
            {"field": "account_update", "value": {"event": "X"}},
            {"field": "messages", "value": both},
            {"value": message},
            {"field": "messages", "value": {"polls": []}},
            {"field": "messages", "value": {"statuses": []}},
        ]);
        let items = items(&json!({"entry": [{"changes": changes}]}));
        let kinds: Vec<_> = items.iter().map(|item| item.kind).collect();
        assert_eq!(kinds[..3], [ItemKind::Reaction, ItemKind::Message, ItemKind::Status]);
        assert_eq!(kinds[3..], [ItemKind::Account; 3]);
    }

    #[test]
    fn items_of_no_webhook_none() {
        for body in [json!(null), json!([]), json!({"entry": {}}), json!({"entry": [{"changes": [{"value": 1}]}]})] {
            assert_eq!(items(&body), []);
        }
    }

    #[test]
    fn items_account_and_time_of_the_entry() {
        let items = items(&body("phone_number_quality_update", json!({"event": "DOWNGRADE", "contacts": [{}]})));
        let [item] = items.as_slice() else { panic!("{items:?}") };
        assert_eq!(item.account_id.as_deref(), Some("22"));
        assert_eq!(item.occurred_at.map(|at| at.timestamp()), Some(1_795_860_000));
        assert_eq!(item.raw["contact"], Value::Null);
        assert_eq!(read(&item.raw, DateTime::UNIX_EPOCH), InboundUpdate::NumberRated);
    }

    #[test]
    fn items_history_media_without_thread_and_declined_history() {
        // Meta's own examples have no `to` in messages of the business.
        let image = json!({"id": "m", "from": "493023125010", "type": "image", "image": {"id": "1"}});
        let value = json!({"metadata": {"display_phone_number": "+49 30 23125010"}, "messages": [image],
            "history": [{"errors": [{"code": 2_593_109}]}]});
        let items = items(&body("history", value));
        let [media, declined] = items.as_slice() else { panic!("{items:?}") };
        let InboundUpdate::Message(message) = read(&media.raw, DateTime::UNIX_EPOCH) else { panic!("no message") };
        assert_eq!((message.origin, message.direction), (Origin::History, Direction::Outbound));
        assert!(message.peer.is_anonymous());
        assert_eq!(read(&declined.raw, DateTime::UNIX_EPOCH), InboundUpdate::Ignored { reason: "history_declined" });
    }
}
