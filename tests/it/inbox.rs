//! The shared inbox: what members see of each other's work, and of conversations that several answer.

use chrono::Utc;
use serde_json::{Value, json};

use crate::support::{Client, Service};

fn thread(api: &Client, address: &str) -> String {
    api.make("conversations", json!({ "channel": "whatsapp", "address": address }))
}

fn message(api: &Client, thread: &str, direction: &str, more: Value) -> String {
    let mut body = json!({ "conversation_id": thread, "direction": direction, "body": "Hello" });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    api.make("messages", body)
}

/// Notes and drafts are in the thread and nowhere else, until a draft is no draft any more.
#[test]
fn notes_and_drafts_count_nowhere_until_said() {
    let service = Service::start();
    let api = &service.client;
    let id = thread(api, "+447700900123");
    let asked =
        message(api, &id, "inbound", json!({ "sent_at": (Utc::now() - chrono::Duration::hours(1)).to_rfc3339() }));
    let shown = || api.get(&format!("conversations/{id}?include=last_message,messages")).expect(200).json;
    let figures = |name: &str| {
        let stats = api.get(&format!("stats/{name}?from=2026-01-01&to=2027-12-31&interval=month")).expect(200);
        stats.json["total"].clone()
    };
    let before = shown();
    assert_eq!((&before["last_message"]["id"], &before["unread_count"]), (&json!(asked), &json!(1)));
    let counted = (figures("messages"), figures("response-times"));
    assert_eq!((&counted.0["outbound"], &counted.1["count"]), (&json!(0), &json!(0)));

    let note = message(api, &id, "outbound", json!({ "kind": "note" }));
    let proposal = json!({ "author": "ai", "status": "draft", "model": "gpt-5-mini", "input_tokens": 9 });
    let draft = message(api, &id, "outbound", proposal);
    let own = message(api, &id, "outbound", json!({ "status": "draft" }));
    let kinds = json!({ "items": [
        { "conversation_id": id, "direction": "outbound", "kind": "note", "author": "system", "body": "Both" },
        { "conversation_id": id, "direction": "outbound", "status": "draft", "body": "Both" },
    ] });
    api.post("messages/batch/create", kinds).expect(200);
    api.delete(&format!("messages/{note}")).expect(204);
    api.post(&format!("messages/{note}/restoration"), json!({})).expect(200);
    let after = shown();
    let said = |shown: &Value| {
        let mut shown = shown.clone();
        shown.as_object_mut().expect("an object").shift_remove("messages");
        shown
    };
    assert_eq!(said(&after), said(&before), "not even its version");
    assert_eq!(after["messages"].as_array().map(Vec::len), Some(6));
    assert_eq!(api.get(&format!("messages/{note}")).expect(200).json["status"], "sent");
    assert_eq!((figures("messages"), figures("response-times")), counted);
    let differences = || service.database.ask("SELECT count(*)::text FROM stat_differences");
    assert_eq!(differences(), "0");
    // What the model read was paid for.
    assert_eq!(figures("ai")["input_tokens"], 9);

    // A member sends a proposal, and an answer of their own.
    api.patch(&format!("messages/{draft}"), json!({ "status": "queued" })).expect(200);
    assert_eq!(shown()["last_message"]["id"], json!(draft));
    assert_ne!(shown()["last_message_at"], before["last_message_at"]);
    assert_eq!((&figures("messages")["outbound"], &figures("response-times")["count"]), (&json!(1), &json!(0)));
    api.patch(&format!("messages/{own}"), json!({ "status": "sent" })).expect(200);
    assert_eq!((&figures("messages")["outbound"], &figures("response-times")["count"]), (&json!(2), &json!(1)));
    assert_eq!(differences(), "0");

    let refused = |more: Value| {
        let mut body = json!({ "conversation_id": id, "direction": "outbound", "kind": "note", "body": "x" });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        api.post("messages", body).expect(422).faults().join(" ")
    };
    assert_eq!(refused(json!({ "direction": "inbound" })), "/direction");
    assert_eq!(refused(json!({ "body": null })), "/body");
    assert_eq!(refused(json!({ "status": "queued" })), "/status");
    assert_eq!(api.patch(&format!("messages/{note}"), json!({ "status": "queued" })).expect(422).faults(), ["/status"]);
}
