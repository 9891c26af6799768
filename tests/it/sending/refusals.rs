//! What cannot be sent is refused before anything is written, with what to do.

use rapport::auth::Role;
use serde_json::{Value, json};

use super::{begun_by, connect, say, start};
use crate::support::graph::Graph;
use crate::support::{Client, Service};

fn post(api: &Client, thread: &str, body: Value) -> crate::support::Answer {
    api.post(&format!("conversations/{thread}/messages"), body)
}

/// chatwoot#9516, #15113: outside of the window it is said at once, not by a failure later.
#[test]
fn free_text_outside_of_the_window_409_with_the_way_out() {
    let service = Service::start();
    let api = &service.client;
    let channel = connect_without_token(api);
    let thread = api.make("conversations", json!({ "channel": "whatsapp", "address": "+447700900123" }));
    let refused = post(api, &thread, json!({ "body": "Hello" })).expect(409);
    assert_eq!(refused.code(), "window_closed");
    assert_eq!(refused.json["window_expires_at"], Value::Null);
    assert!(refused.json["detail"].as_str().is_some_and(|detail| detail.contains("template")));
    // Nothing is left behind.
    assert_eq!(api.get("messages").expect(200).rows().len(), 0);
    service.database.run("UPDATE conversations SET window_expires_at = now() + interval '1 hour'");
    assert_eq!(post(api, &thread, json!({ "body": "Hello" })).expect(201).json["status"], json!("queued"));
    service.database.run("UPDATE conversations SET window_expires_at = now() - interval '1 second'");
    let refused = post(api, &thread, json!({ "body": "Hello" })).expect(409);
    assert!(refused.json["window_expires_at"].is_string(), "{}", refused.text);
    service.database.run("UPDATE conversations SET window_expires_at = now() + interval '1 hour'");
    api.patch(&format!("channels/{channel}"), json!({ "state": "paused" })).expect(200);
    let refused = post(api, &thread, json!({ "body": "Hello" })).expect(409);
    assert_eq!((refused.code(), &refused.json["channel_id"]), ("channel_paused", &json!(channel)));
    api.patch(&format!("conversations/{thread}"), json!({ "status": "closed" })).expect(200);
    assert_eq!(post(api, &thread, json!({ "body": "Hello" })).expect(409).code(), "conversation_closed");
    let mail = api.make("conversations", json!({ "channel": "email", "address": "isla@example.com" }));
    assert_eq!(post(api, &mail, json!({ "body": "Hello" })).expect(409).code(), "no_channel");
}

fn connect_without_token(api: &Client) -> String {
    api.make("channels", json!({ "kind": "whatsapp", "name": "Front desk", "phone_number_id": super::NUMBER }))
}

#[test]
fn what_channels_do_not_take_422() {
    let service = Service::start();
    let api = &service.client;
    api.make("channels", json!({ "kind": "loopback", "name": "Trying out" }));
    let thread = api.make("conversations", json!({ "channel": "whatsapp", "address": "+447700900123" }));
    let buttons = |count: usize| {
        let buttons: Vec<Value> = (0..count).map(|id| json!({ "id": id.to_string(), "title": "Yes" })).collect();
        json!({ "body": "Well?", "interactive": { "type": "buttons", "buttons": buttons } })
    };
    let rows = |count: usize| (0..count).map(|id| json!({ "id": id.to_string(), "title": "Yes" })).collect::<Vec<_>>();
    let list = |count| json!({ "body": "Well?", "interactive": { "type": "list", "button": "Choose", "sections": [{ "rows": rows(count) }] } });
    for (body, faults) in [
        (json!({}), vec!["/body"]),
        (json!({ "body": "x".repeat(4097) }), vec!["/body"]),
        (json!({ "kind": "image" }), vec!["/media/url"]),
        (json!({ "kind": "image", "media": { "url": "http://files.example/1.jpg" } }), vec!["/media/url"]),
        (
            json!({ "kind": "image", "media": { "url": "https://files.example/1.jpg" }, "body": "x".repeat(1025) }),
            vec!["/body"],
        ),
        (json!({ "kind": "audio", "media": { "url": "https://files.example/1.ogg" }, "body": "x" }), vec!["/body"]),
        (json!({ "kind": "order", "body": "x" }), vec!["/kind"]),
        (json!({ "body": "x", "media": { "url": "https://files.example/1.jpg" } }), vec!["/media"]),
        (json!({ "body": "x", "author": "contact" }), vec!["/author"]),
        (json!({ "body": "x", "direction": "inbound" }), vec!["/direction"]),
        (json!({ "location": {} }), vec!["/location/latitude", "/location/longitude"]),
        (
            json!({ "location": { "latitude": 90.1, "longitude": "9", "zoom": 3 } }),
            vec!["/location/latitude", "/location/longitude", "/location/zoom"],
        ),
        (
            json!({ "location": { "latitude": 1, "longitude": -180.5, "name": "" } }),
            vec!["/location/longitude", "/location/name"],
        ),
        (json!({ "kind": "location" }), vec!["/location"]),
        (json!({ "location": { "latitude": 1, "longitude": 2 }, "body": "Here" }), vec!["/body"]),
        (json!({ "kind": "text", "body": "Here", "location": { "latitude": 1, "longitude": 2 } }), vec!["/location"]),
        (json!({ "contacts": [] }), vec!["/contacts"]),
        (json!({ "contacts": vec![json!({ "name": { "formatted_name": "Amina" } }); 11] }), vec!["/contacts"]),
        (json!({ "contacts": [{ "name": {} }] }), vec!["/contacts/0/name/formatted_name"]),
        (
            json!({ "contacts": [{ "name": { "formatted_name": "Amina" }, "phones": [{ "phone": "+44", "wa_id": "+447700900123" }], "emails": [] }] }),
            vec!["/contacts/0/emails", "/contacts/0/phones/0/wa_id"],
        ),
        (
            json!({ "contacts": [{ "name": { "formatted_name": "Amina" }, "emails": [{ "email": "amina" }] }], "body": "Her" }),
            vec!["/body", "/contacts/0/emails/0/email"],
        ),
        (buttons(0), vec!["/interactive/buttons"]),
        (buttons(4), vec!["/interactive/buttons"]),
        (list(11), vec!["/interactive/sections"]),
        (json!({ "body": "x", "interactive": { "type": "link", "title": "Book" } }), vec!["/interactive/url"]),
        (json!({ "body": "x", "reply_to_id": uuid::Uuid::now_v7() }), vec!["/reply_to_id"]),
        (json!({ "reaction": { "message_id": uuid::Uuid::now_v7(), "emoji": "👍" } }), vec!["/reaction/message_id"]),
        (json!({ "reaction": { "message_id": uuid::Uuid::now_v7(), "emoji": "👍" }, "body": "x" }), vec!["/body"]),
    ] {
        let answer = post(api, &thread, body.clone()).expect(422);
        assert_eq!(answer.faults(), faults, "{body}: {}", answer.text);
    }
    assert_eq!(api.get("messages").expect(200).rows().len(), 0);
    post(api, &thread, buttons(3)).expect(201);
    post(api, &thread, list(10)).expect(201);
    post(
        api,
        &thread,
        json!({ "kind": "document", "media": { "url": "https://files.example/1.pdf", "file_name": "Offer.pdf" } }),
    )
    .expect(201);
}

#[test]
fn message_is_not_sent_once_the_conversation_has_moved() {
    let graph = Graph::accepting();
    let (service, _) = start(&graph);
    let api = &service.client;
    let thread = begun_by(&service, "447700900123");
    let last =
        api.get(&format!("conversations/{thread}?include=last_message")).expect(200).json["last_message"]["id"].clone();
    let mine =
        post(api, &thread, json!({ "body": "One", "author": "ai", "if_last_message_id": last })).expect(201).json;
    let moved = post(api, &thread, json!({ "body": "Two", "author": "ai", "if_last_message_id": last })).expect(409);
    assert_eq!((moved.code(), &moved.json["last_message_id"]), ("conversation_moved", &mine["id"]));
    // The same request again is the same message.
    let key = uuid::Uuid::now_v7().to_string();
    let ask = || {
        let request = api.request("POST", &format!("conversations/{thread}/messages")).header("Idempotency-Key", &key);
        api.send(request.json(&json!({ "body": "Three" }))).expect(201).json["id"].clone()
    };
    assert_eq!(ask(), ask());
    crate::support::until("two were sent", || graph.calls().len() == 2);
    assert_eq!(graph.calls().iter().map(|call| call.text().to_owned()).collect::<Vec<_>>(), ["One", "Three"]);
}

#[test]
fn sending_needs_the_permission_and_the_conversation() {
    let service = Service::with(&["--sealing-key", crate::channels::KEY]);
    let api = &service.client;
    connect(api);
    let thread = api.make("conversations", json!({ "channel": "whatsapp", "address": "+447700900123" }));
    service.database.run("UPDATE conversations SET window_expires_at = now() + interval '1 hour'");
    post(&service.client_as(Role::Viewer), &thread, json!({ "body": "x" })).expect(403);
    let (_, neighbour) = service.neighbour();
    post(&neighbour, &thread, json!({ "body": "x" })).expect(404);
    let sent = say(api, &thread, "x");
    let retry = format!("messages/{}/retry", sent["id"].as_str().expect("an id"));
    neighbour.post(&retry, json!({})).expect(404);
    service.client_as(Role::Viewer).post(&retry, json!({})).expect(403);
    assert_eq!(api.post(&retry, json!({})).expect(409).code(), "not_retryable");
    let noted = api.make(
        "messages",
        json!({ "conversation_id": thread, "direction": "outbound", "status": "failed", "body": "x" }),
    );
    let refused = api.post(&format!("messages/{noted}/retry"), json!({})).expect(409);
    assert_eq!(refused.code(), "not_retryable");
    assert_eq!(neighbour.get("message-attempts").expect(200).rows().len(), 0);
    assert_eq!(api.get("message-attempts").expect(200).rows().len(), 1);
}
