//! Reads what a WhatsApp message says: its kind, text, file and payload.

use serde_json::{Map, Value, json};

use super::lenient_json;
use super::safe_file_name::safe_file_name;
use super::webhook_members::{error, list, object, prose, text};
use crate::channels::inbound::update::Content;

/// Longest payload in bytes of its JSON.
const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// Types whose content is a file.
const MEDIA_TYPES: [&str; 5] = ["image", "audio", "video", "document", "sticker"];

/// Members of a media object that are kept. Its `url` is not: it expires after minutes, and is a secret until then.
const MEDIA_MEMBERS: [&str; 4] = ["mime_type", "sha256", "voice", "animated"];

/// Reads the content of a message, an echo, a message of the history or the new message of an edit.
///
/// It never fails: what it does not know, or what does not have the member that its `type` names, has kind `unknown`.
/// `payload` is an object or None. Its members by type, besides those that any message may have: `forwarded` and
/// `frequently_forwarded` (true), `referral` and `referred_product` (as sent):
///
/// | type | kind | body | payload |
/// |---|---|---|---|
/// | `text` | `text` | its text | |
/// | `image`, `audio`, `video`, `document`, `sticker` | the type | caption | |
/// | `location` | `location` | name and address, else `latitude, longitude` | the location as sent |
/// | `contacts` | `contacts` | names, joined by `, ` | `contacts` as sent |
/// | `order` | `order` | its text | the order as sent |
/// | `interactive`: `button_reply`, `list_reply` | `interactive` | title | `type`, `id`, `title`, `description` |
/// | `interactive`: `nfm_reply` (a form) | `interactive` | body, else name | `type`, `name`, `response` (parsed) |
/// | `button` (quick reply of a template) | `interactive` | its text | `type`: `button`, `payload` as sent |
/// | `system` | `system` | its text | the system object as sent |
/// | `unsupported` | `unknown` | | `type`, `unsupported` as sent |
/// | `media_placeholder` (history) | `unknown` | | `type`, `media_placeholder` as sent |
/// | any other, or one with `errors` | `unknown` | | the whole message as sent |
///
/// A payload of more than 64 KiB is replaced by `{"truncated": true, "type": …}`.
pub fn content(item: &Value) -> Content {
    let name = item.get("type").and_then(Value::as_str).unwrap_or_default();
    let error = error(item);
    let mut content = match error {
        // The content did not come with it, whatever the type says.
        Some(_) => None,
        None => known(item, name),
    }
    .unwrap_or_else(|| unknown(item, name));
    content.error = error;
    content.payload = payload(content.payload, item, name);
    content
}

/// Reads a message of a known type; None if it lacks what the type promises.
fn known(item: &Value, name: &str) -> Option<Content> {
    if let Some(kind) = MEDIA_TYPES.into_iter().find(|kind| *kind == name) {
        return object(item, kind).map(|media| of_media(kind, media));
    }
    let payload_of = |value: &Value| Some(value.clone());
    match name {
        "text" => Some(plain("text", Some(prose(object(item, "text")?, "body")?), None)),
        "location" => object(item, name).map(|place| plain("location", location_text(place), payload_of(place))),
        "contacts" => {
            let cards = Some(list(item, name)).filter(|cards| !cards.is_empty())?;
            Some(plain("contacts", contact_names(cards), Some(json!({"contacts": cards}))))
        }
        "order" => object(item, name).map(|order| plain("order", prose(order, "text"), payload_of(order))),
        "interactive" => object(item, name).and_then(interactive),
        "button" => {
            let button = object(item, name)?;
            let payload = button.get("payload").filter(|payload| !payload.is_null());
            let body = prose(button, "text").or_else(|| payload.and_then(Value::as_str).map(str::to_owned))?;
            Some(plain("interactive", Some(body), Some(json!({"type": "button", "payload": payload}))))
        }
        "system" => object(item, name).map(|system| plain("system", prose(system, "body"), payload_of(system))),
        _ => None,
    }
}

fn plain(kind: &'static str, body: Option<String>, payload: Option<Value>) -> Content {
    Content { kind, body, media: None, file_name: None, payload, error: None, media_is_pending: false }
}

fn of_media(kind: &'static str, sent: &Value) -> Content {
    let id = text(sent, "id");
    let file_name = prose(sent, "filename");
    let mut media = Map::new();
    if let Some(id) = &id {
        media.insert("id".to_owned(), json!(id));
    }
    for member in MEDIA_MEMBERS {
        // The wrong type would reach the one who downloads the file.
        if let Some(value) = sent.get(member).filter(|value| value.is_string() || value.is_boolean()) {
            media.insert(member.to_owned(), value.clone());
        }
    }
    if let Some(name) = &file_name {
        media.insert("file_name".to_owned(), json!(safe_file_name(name)));
    }
    Content {
        media: Some(Value::Object(media)),
        file_name,
        media_is_pending: id.is_some(),
        ..plain(kind, prose(sent, "caption"), None)
    }
}

/// Returns the text of a location: its name and address, else where it is.
pub fn location_text(place: &Value) -> Option<String> {
    let parts = |first: &str, second: &str| [text(place, first), text(place, second)];
    let named: Vec<String> = parts("name", "address").into_iter().flatten().collect();
    if !named.is_empty() {
        return Some(named.join(", "));
    }
    match parts("latitude", "longitude") {
        [Some(latitude), Some(longitude)] => Some(format!("{latitude}, {longitude}")),
        _ => None,
    }
}

/// Returns the text of contact cards: their names, of one without the first number.
pub fn contact_names(cards: &[Value]) -> Option<String> {
    let name = |card: &Value| {
        let parts = |name: &Value| [text(name, "first_name"), text(name, "last_name")].into_iter().flatten();
        let name = card.get("name").unwrap_or(&Value::Null);
        let joined = || Some(parts(name).collect::<Vec<_>>().join(" ")).filter(|name| !name.is_empty());
        let phone = || list(card, "phones").iter().find_map(|phone| text(phone, "phone"));
        text(name, "formatted_name").or_else(joined).or_else(phone)
    };
    let names: Vec<String> = cards.iter().filter_map(name).collect();
    Some(names.join(", ")).filter(|names| !names.is_empty())
}

fn interactive(sent: &Value) -> Option<Content> {
    for kind in ["button_reply", "list_reply"] {
        if let Some(reply) = object(sent, kind) {
            let (id, title) = (reply.get("id"), prose(reply, "title"));
            let body = title.or_else(|| text(reply, "id"))?;
            let mut payload = json!({"type": kind, "id": id, "title": body});
            if let (Some(description), Some(payload)) = (prose(reply, "description"), payload.as_object_mut()) {
                payload.insert("description".to_owned(), json!(description));
            }
            return Some(plain("interactive", Some(body), Some(payload)));
        }
    }
    let form = object(sent, "nfm_reply")?;
    // JSON within a text. Its escapes passed the first parser as text, so they are cleaned here.
    let response = match form.get("response_json") {
        Some(Value::String(written)) => lenient_json::parse(written.as_bytes()).unwrap_or_else(|_| json!(written)),
        other => json!(other),
    };
    let name = text(form, "name");
    let body = prose(form, "body").or_else(|| name.clone());
    Some(plain("interactive", body, Some(json!({"type": "nfm_reply", "name": name, "response": response}))))
}

fn unknown(item: &Value, name: &str) -> Content {
    let is_placeholder = name == "media_placeholder";
    let payload = if is_placeholder || name == "unsupported" {
        let mut payload = Map::from_iter([("type".to_owned(), json!(name))]);
        if let Some(sent) = item.get(name) {
            payload.insert(name.to_owned(), sent.clone());
        }
        Value::Object(payload)
    } else {
        item.clone()
    };
    Content { media_is_pending: is_placeholder, ..plain("unknown", None, Some(payload).filter(Value::is_object)) }
}

/// Adds to the payload what any message may have, and bounds its size.
fn payload(payload: Option<Value>, item: &Value, name: &str) -> Option<Value> {
    let mut members = match payload {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let context = item.get("context").unwrap_or(&Value::Null);
    for flag in ["forwarded", "frequently_forwarded"] {
        if context.get(flag) == Some(&Value::Bool(true)) {
            members.insert(flag.to_owned(), Value::Bool(true));
        }
    }
    for (parent, member) in [(item, "referral"), (context, "referred_product")] {
        if let Some(sent) = object(parent, member) {
            members.insert(member.to_owned(), sent.clone());
        }
    }
    if members.is_empty() {
        return None;
    }
    let payload = Value::Object(members);
    if payload.to_string().len() <= MAX_PAYLOAD_BYTES {
        return Some(payload);
    }
    let name: String = name.chars().take(64).collect();
    Some(json!({"truncated": true, "type": name}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_type_that_lies_unknown_with_whole_message() {
        for name in ["text", "image", "location", "contacts", "order", "interactive", "button", "system", "hologram"] {
            for wrong in [json!(null), json!("x"), json!([]), json!(7)] {
                let mut item = json!({"type": name});
                item[name] = wrong;
                let content = content(&item);
                assert_eq!((content.kind, content.body, content.payload), ("unknown", None, Some(item)));
            }
        }
        assert_eq!(content(&json!("x")).payload, None);
    }

    #[test]
    fn content_of_interactive_types() {
        let of = |item: Value| {
            let content = content(&item);
            assert_eq!(content.kind, "interactive");
            (content.body.unwrap_or_default(), content.payload.unwrap_or_default())
        };
        let reply = json!({"id": "a", "title": "Yes"});
        let (body, payload) = of(json!({"type": "interactive", "interactive": {"button_reply": reply}}));
        assert_eq!((body.as_str(), payload), ("Yes", json!({"type": "button_reply", "id": "a", "title": "Yes"})));
        let form = json!({"name": "flow", "body": "Sent", "response_json": "{\"a\": \"\\u0000\"}"});
        let (body, payload) = of(json!({"type": "interactive", "interactive": {"nfm_reply": form}}));
        assert_eq!(body, "Sent");
        assert_eq!(payload, json!({"type": "nfm_reply", "name": "flow", "response": {"a": "\u{fffd}"}}));
        let (body, payload) = of(json!({"type": "button", "button": {"text": "Yes", "payload": "Y"}}));
        assert_eq!((body.as_str(), payload), ("Yes", json!({"type": "button", "payload": "Y"})));
    }

    #[test]
    fn content_of_contacts_names_joined() {
        let cards = json!([{"name": {"formatted_name": "Ada L."}}, {"name": {"first_name": "Bo"}}, {}, 7]);
        let content = content(&json!({"type": "contacts", "contacts": cards}));
        assert_eq!(content.body.as_deref(), Some("Ada L., Bo"));
        assert_eq!(content.payload, Some(json!({"contacts": cards})));
    }

    #[test]
    fn content_of_media_keeps_known_members_only() {
        let sent = json!({"id": 9, "mime_type": {}, "sha256": "x", "url": "https://secret.example", "voice": true});
        let content = content(&json!({"type": "audio", "audio": sent}));
        assert_eq!(content.media, Some(json!({"id": "9", "sha256": "x", "voice": true})));
        assert!(content.media_is_pending);
        let content = super::content(&json!({"type": "audio", "audio": {"link": "x"}}));
        assert_eq!((content.kind, content.media_is_pending, content.media), ("audio", false, Some(json!({}))));
    }

    #[test]
    fn content_with_errors_unknown() {
        let item = json!({"type": "text", "text": {"body": "x"}, "errors": [{"code": 131051, "title": "t"}]});
        let content = content(&item);
        assert_eq!((content.kind, content.body), ("unknown", None));
        assert_eq!(content.error, Some(json!({"code": 131051, "title": "t", "details": null})));
    }

    #[test]
    fn content_payload_bounded_flags_added() {
        let item = json!({"type": "text", "text": {"body": "x"}, "context": {"forwarded": true}});
        assert_eq!(content(&item).payload, Some(json!({"forwarded": true})));
        let item = json!({"type": "text", "text": {"body": "x"}});
        assert_eq!(content(&item).payload, None);
        let item = json!({"type": "hologram", "hologram": "x".repeat(MAX_PAYLOAD_BYTES)});
        assert_eq!(content(&item).payload, Some(json!({"truncated": true, "type": "hologram"})));
    }
}
