//! Windows: until when free text goes through, and until when nothing is charged.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::deliver;
use super::webhook::{NUMBER, connect};
use crate::support::whatsapp::{AT, body, text};
use crate::support::{Client, Service};

const FROM: &str = "447700900123";
const HOUR: i64 = 3_600;

/// A message that something on Facebook brought.
fn referred(id: &str, at: i64, source_type: &str) -> Value {
    let mut said = text(id, FROM, at, "Is that still there?");
    said["messages"][0]["referral"] = json!({ "source_type": source_type, "source_id": "120208", "source_url": "https://fb.me/1", "headline": "Boilers" });
    said
}

/// The ends of both windows, in seconds.
fn windows(api: &Client) -> [Option<i64>; 2] {
    let thread = api.get(&format!("conversations?address=%2B{FROM}")).expect(200).rows()[0].clone();
    ["window_expires_at", "free_entry_expires_at"].map(|name| {
        let at = thread[name].as_str()?;
        Some(at.parse::<DateTime<Utc>>().expect("a time").timestamp())
    })
}

#[test]
fn advertisement_makes_messages_free_for_three_days() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    let send = |said: &Value| deliver(&service, &body(NUMBER, said));
    send(&text("wamid.1", FROM, AT, "Hi"));
    assert_eq!(windows(api), [Some(AT + 24 * HOUR), None]);
    send(&referred("wamid.2", AT + HOUR, "post"));
    assert_eq!(windows(api), [Some(AT + 25 * HOUR), None]);
    let ad = referred("wamid.3", AT + 2 * HOUR, "ad");
    send(&ad);
    let free = Some(AT + 74 * HOUR);
    assert_eq!(windows(api), [Some(AT + 26 * HOUR), free]);
    // What comes after it moves the service window only; what comes again, or late, moves nothing.
    send(&text("wamid.4", FROM, AT + 3 * HOUR, "Hello?"));
    send(&ad);
    send(&referred("wamid.5", AT + 1, "ad"));
    assert_eq!(windows(api), [Some(AT + 27 * HOUR), free]);
    // Nor is it taken back: WhatsApp charges nothing all the same.
    send(
        &json!({ "messages": [{ "id": "wamid.6", "from": FROM, "timestamp": (AT + 4 * HOUR).to_string(), "type": "revoke",
        "revoke": { "original_message_id": "wamid.3" } }] }),
    );
    for id in ["wamid.3", "wamid.4"] {
        let row = api.get(&format!("messages?external_id={id}")).expect(200).rows()[0]["id"].clone();
        api.delete(&format!("messages/{}", row.as_str().expect("an id"))).expect(204);
    }
    let [window, still_free] = windows(api);
    assert_eq!((window, still_free), (Some(AT + 25 * HOUR), free));
    // Another advertisement does.
    send(&referred("wamid.7", AT + 30 * HOUR, "ad"));
    assert_eq!(windows(api), [Some(AT + 54 * HOUR), Some(AT + 102 * HOUR)]);
}

#[test]
fn past_and_echoes_make_nothing_free() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    let metadata = json!({ "display_phone_number": "493023125010", "phone_number_id": NUMBER });
    let referral = json!({ "source_type": "ad", "source_id": "120208" });
    let said = |id: &str, from: &str| json!({ "id": id, "from": from, "to": FROM, "timestamp": AT.to_string(), "type": "text", "text": { "body": "Hi" }, "referral": referral });
    let mut old = said("wamid.old", FROM);
    old.as_object_mut().expect("an object").remove("to");
    for (field, member, list) in [
        ("smb_message_echoes", "message_echoes", json!([said("wamid.echo", "493023125010")])),
        ("history", "history", json!([{ "threads": [{ "id": FROM, "messages": [old] }] }])),
    ] {
        let mut value = json!({ "messaging_product": "whatsapp", "metadata": metadata });
        value[member] = list;
        let entry = json!([{ "id": "220000000000001", "changes": [{ "field": field, "value": value }] }]);
        deliver(&service, json!({ "object": "whatsapp_business_account", "entry": entry }).to_string().as_bytes());
    }
    assert_eq!(api.get("messages").expect(200).rows().len(), 2);
    assert_eq!(windows(api), [None, None]);
    // The same, delivered as it is written, is new.
    let mut new = text("wamid.old", FROM, AT, "Hi");
    new["messages"][0]["referral"] = referral;
    deliver(&service, &body(NUMBER, &new));
    assert_eq!(windows(api), [Some(AT + 24 * HOUR), Some(AT + 72 * HOUR)]);
}
