//! Finds out whom an item of a WhatsApp webhook is about: from its own members and from its entry in `contacts`.

use serde_json::Value;

use super::webhook_members::{id, object, text};
use crate::base::phone_variants::match_key;
use crate::channels::inbound::update::{Direction, Peer};

/// Names of the members that identify one side of an item.
#[derive(Clone, Copy)]
pub struct IdentityMembers {
    wa_id: &'static str,
    user_id: &'static str,
    parent_user_id: &'static str,
}

/// Author of a message.
pub const FROM: IdentityMembers =
    IdentityMembers { wa_id: "from", user_id: "from_user_id", parent_user_id: "from_parent_user_id" };

/// Recipient of a message that the business wrote.
pub const TO: IdentityMembers =
    IdentityMembers { wa_id: "to", user_id: "to_user_id", parent_user_id: "to_parent_user_id" };

/// Entry of `contacts`, context of a thread, new identity in a system message.
pub const OWN: IdentityMembers =
    IdentityMembers { wa_id: "wa_id", user_id: "user_id", parent_user_id: "parent_user_id" };

/// Former identity in a system message.
pub const PREVIOUS: IdentityMembers =
    IdentityMembers { wa_id: "previous_wa_id", user_id: "previous_user_id", parent_user_id: "previous_parent_user_id" };

/// Recipient of a status.
pub const RECIPIENT: IdentityMembers =
    IdentityMembers { wa_id: "recipient_id", user_id: "recipient_user_id", parent_user_id: "recipient_parent_user_id" };

/// Participant of a group in a status.
pub const PARTICIPANT: IdentityMembers = IdentityMembers {
    wa_id: "recipient_participant_id",
    user_id: "recipient_participant_user_id",
    parent_user_id: "recipient_participant_parent_user_id",
};

/// Reads the identities of one side. A user id in the place of a number counts as user id: Meta writes it there where
/// the number is hidden.
pub fn identities(item: &Value, members: IdentityMembers) -> Peer {
    let number = id(item, members.wa_id);
    let wa_id = number.as_deref().and_then(phone_digits);
    let misplaced = number.filter(|number| wa_id.is_none() && is_user_id(number));
    let (misplaced_parent, misplaced_user) = match misplaced {
        Some(id) if id.contains(".ENT.") => (Some(id), None),
        id => (None, id),
    };
    Peer {
        wa_id,
        user_id: id(item, members.user_id).or(misplaced_user),
        parent_user_id: id(item, members.parent_user_id).or(misplaced_parent),
        ..Peer::default()
    }
}

/// Reads an entry of `contacts`, or a thread's context.
pub fn contact(entry: &Value) -> Peer {
    let profile = object(entry, "profile").unwrap_or(entry);
    Peer {
        username: id(profile, "username").or_else(|| id(entry, "username")),
        profile_name: text(profile, "name"),
        ..identities(entry, OWN)
    }
}

/// The entries of a webhook's `contacts`, read once for all of its items.
pub struct Contacts<'a> {
    entries: Vec<ContactEntry<'a>>,
}

struct ContactEntry<'a> {
    peer: Peer,
    match_key: Option<String>,
    sent: &'a Value,
}

impl<'a> Contacts<'a> {
    /// Reads the elements of `contacts`; one that is no object has no identity, so it is never found by one.
    pub fn new(contacts: &'a [Value]) -> Self {
        let entry = |sent| {
            let peer = identities(sent, OWN);
            let match_key = peer.wa_id.as_deref().map(match_key);
            ContactEntry { peer, match_key, sent }
        };
        Contacts { entries: contacts.iter().map(entry).collect() }
    }

    /// Finds the entry of `peer`: by user id, else by number, else by the number in another national spelling; never by
    /// place, which is arbitrary in groups. If `peer` has no identity, a single entry must be its own.
    pub fn find(&self, peer: &Peer) -> Option<&'a Value> {
        if peer.is_anonymous() {
            return match self.entries.as_slice() {
                [only] => Some(only.sent),
                _ => None,
            };
        }
        let with = |matches: &dyn Fn(&ContactEntry<'_>) -> bool| self.entries.iter().find(|entry| matches(entry));
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        // A number passes to another person in time; with two user ids that differ, it says nothing.
        let may_be = |entry: &Peer| entry.user_id.is_none() || peer.user_id.is_none();
        let key = peer.wa_id.as_deref().map(match_key);
        with(&|entry| same(&entry.peer.user_id, &peer.user_id))
            .or_else(|| with(&|entry| same(&entry.peer.parent_user_id, &peer.parent_user_id)))
            .or_else(|| with(&|entry| may_be(&entry.peer) && same(&entry.peer.wa_id, &peer.wa_id)))
            .or_else(|| with(&|entry| may_be(&entry.peer) && same(&entry.match_key, &key)))
            .map(|entry| entry.sent)
    }
}

/// Reads the peer of a history thread: its context, else its id, which is the peer's number in a private thread.
pub fn thread_peer(thread: &Value) -> Peer {
    let of_context = object(thread, "context").map(contact).unwrap_or_default();
    let of_id = identities(thread, IdentityMembers { wa_id: "id", user_id: "", parent_user_id: "" });
    of_context.or(of_id)
}

/// Returns the side that is not the business: from the item, else from its entry of `contacts`, else from its thread.
pub fn peer(raw: &Value, item: &Value, direction: Direction) -> Peer {
    let members = match direction {
        Direction::Inbound => FROM,
        Direction::Outbound => TO,
    };
    let of_contact = object(raw, "contact").map(contact).unwrap_or_default();
    // In a group, the thread says nothing of an author.
    let thread = object(raw, "thread").filter(|_| group_id(raw, item).is_none());
    let of_thread = thread.map(thread_peer).unwrap_or_default();
    identities(item, members).or(of_contact).or(of_thread)
}

/// A group is named by `group_id`; in the app's own form (`…@g.us`) also as the recipient or as the thread.
pub fn group_id(raw: &Value, item: &Value) -> Option<String> {
    let is_group = |id: &String| id.ends_with("@g.us");
    let of_thread = || object(raw, "thread").and_then(|thread| id(thread, "id")).filter(is_group);
    id(item, "group_id").or_else(|| id(item, "to").filter(is_group)).or_else(of_thread)
}

/// Decides who wrote a message of the history, which has no member for it.
///
/// The business' own number decides first, because Meta's examples leave out `to` in messages of the business; then the
/// thread's peer; then `to`, which only messages of the business have. A message that says nothing is the peer's.
pub fn direction_in_history(item: &Value, thread_peer: &Peer, display_number: Option<&str>) -> Direction {
    let from = identities(item, FROM);
    let from_key = from.wa_id.as_deref().map(match_key);
    let display_number = display_number.and_then(phone_digits);
    let is_from = |number: Option<&str>| from_key.is_some() && from_key == number.map(match_key);
    if is_from(display_number.as_deref()) {
        return Direction::Outbound;
    }
    if is_from(thread_peer.wa_id.as_deref()) || (from.user_id.is_some() && from.user_id == thread_peer.user_id) {
        return Direction::Inbound;
    }
    let has_recipient = !identities(item, TO).is_anonymous();
    // Only where the business' number is unknown: a person's number and id need not be the same.
    let is_other = display_number.is_none() && from_key.is_some() && thread_peer.wa_id.is_some();
    if has_recipient || is_other { Direction::Outbound } else { Direction::Inbound }
}

/// Returns the digits of a phone number: with or without `+`, separators, or a device's suffix (`@s.whatsapp.net`).
/// None for anything else, such as a user id, a group (`@g.us`) or a number of no possible length.
pub fn phone_digits(text: &str) -> Option<String> {
    let number = text.strip_suffix("@s.whatsapp.net").or_else(|| text.strip_suffix("@c.us")).unwrap_or(text);
    let number = number.trim().strip_prefix('+').unwrap_or(number.trim());
    let digits: String = number.chars().filter(|c| !matches!(c, ' ' | '\u{a0}' | '-' | '(' | ')' | '.')).collect();
    // E.164 allows 15; the ids of groups are longer.
    let is_number = (5..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(digits)
}

/// Whether `text` has the form of a business-scoped user id: `GB.1349…`, or `US.ENT.1181…` for a parent's.
fn is_user_id(text: &str) -> bool {
    text.split_once('.').is_some_and(|(country, id)| {
        let id = id.strip_prefix("ENT.").unwrap_or(id);
        let is_country = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
        is_country && !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Returns every name of a person in an item, whatever it means: numbers and ids.
pub fn people(raw: &Value) -> Vec<String> {
    let item = raw.get("item").unwrap_or(&Value::Null);
    let system = item.get("system").unwrap_or(&Value::Null);
    let of_item = [FROM, TO, RECIPIENT, PARTICIPANT, OWN].map(|members| identities(item, members));
    let of_system = [OWN, PREVIOUS].map(|members| identities(system, members));
    let others = [object(raw, "contact").map(contact), object(raw, "thread").map(thread_peer)];
    let peers = of_item.into_iter().chain(of_system).chain(others.into_iter().flatten());
    let mut names: Vec<String> =
        peers.flat_map(|peer| [peer.wa_id, peer.user_id, peer.parent_user_id]).flatten().collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn phone_digits_numbers_only() {
        for (written, expected) in [
            ("447700900123", Some("447700900123")),
            ("+44 7700-900 123", Some("447700900123")),
            ("447700900123@s.whatsapp.net", Some("447700900123")),
            ("120363000000000000@g.us", None),
            ("120363000000000000", None),
            ("GB.13491208655302741918", None),
            ("95000398405635@lid", None),
            ("٤٤٧٧٠٠٩٠٠١٢٣", None),
            ("12", None),
            ("", None),
        ] {
            assert_eq!(phone_digits(written).as_deref(), expected, "{written}");
        }
    }

    #[test]
    fn identities_user_id_in_the_place_of_a_number() {
        let peer = identities(&json!({"from": "GB.1349", "from_user_id": ""}), FROM);
        assert_eq!((peer.wa_id, peer.user_id.as_deref()), (None, Some("GB.1349")));
        let peer = identities(&json!({"from": "US.ENT.1181"}), FROM);
        assert_eq!((peer.user_id, peer.parent_user_id.as_deref()), (None, Some("US.ENT.1181")));
        assert!(identities(&json!({"from": "a group", "from_user_id": {}}), FROM).is_anonymous());
    }

    #[test]
    fn contacts_found_by_identity_never_by_place() {
        let contacts = [json!({"wa_id": "551187654321", "user_id": "BR.1"}), json!({"wa_id": "447700900123"})];
        let all = Contacts::new(&contacts);
        let found = |item: Value| all.find(&identities(&item, FROM)).map(|entry| entry["wa_id"].clone());
        assert_eq!(found(json!({"from_user_id": "BR.1"})), Some(json!("551187654321")));
        assert_eq!(found(json!({"from": "447700900123"})), Some(json!("447700900123")));
        assert_eq!(found(json!({"from": "5511987654321"})), Some(json!("551187654321")));
        assert_eq!(found(json!({"from": "551187654321", "from_user_id": "BR.2"})), None);
        assert_eq!(found(json!({"from": "12025550177"})), None);
        assert_eq!(found(json!({})), None);
        assert!(Contacts::new(&contacts[..1]).find(&Peer::default()).is_some());
    }

    #[test]
    fn direction_in_history_by_author() {
        let peer = thread_peer(&json!({"id": "447700900123", "context": {"user_id": "GB.1"}}));
        let own = Some("493023125010");
        for (item, own, expected) in [
            (json!({"from": "447700900123"}), own, Direction::Inbound),
            (json!({"from_user_id": "GB.1"}), own, Direction::Inbound),
            (json!({"from": "493023125010"}), own, Direction::Outbound),
            (json!({"from": "493023125010"}), None, Direction::Outbound),
            (json!({"from": "447700900999"}), own, Direction::Inbound),
            (json!({"from": "447700900999", "to": "447700900123"}), own, Direction::Outbound),
            (json!({"to": "447700900123"}), own, Direction::Outbound),
            (json!({}), own, Direction::Inbound),
        ] {
            assert_eq!(direction_in_history(&item, &peer, own), expected, "{item}");
        }
        let group = Peer::default();
        assert_eq!(direction_in_history(&json!({"from": "447700900555"}), &group, own), Direction::Inbound);
    }
}
