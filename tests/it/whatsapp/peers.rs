//! What other products' users reported, each as a test: by the number of the report.

use serde_json::{Value, json};

use super::deliver;
use super::webhook::{NUMBER, connect};
use crate::support::whatsapp::{AT, body, post, text};
use crate::support::{Client, Service};

fn send(service: &Service, value: &Value) {
    deliver(service, &body(NUMBER, value));
}

fn row(api: &Client, message: &str) -> Value {
    api.get(&format!("messages?external_id={message}&include=conversation,reactions,reply_to")).expect(200).rows()[0]
        .clone()
}

/// chatwoot#5840 #13986 #14657 (Brazil), #14048 #11053 #13932 (Mexico, Argentina): a contact that was there before gets a twin, because
/// WhatsApp writes the number otherwise.
#[test]
fn national_spellings_of_a_number_are_one_contact() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    for (place, (stored, written)) in [
        ("+5511987654321", "551187654321"),
        ("+551187654322", "5511987654322"),
        ("+525512345678", "5215512345678"),
        ("+5215512345679", "525512345679"),
        ("+541123456789", "5491123456789"),
        ("+5491123456780", "541123456780"),
    ]
    .into_iter()
    .enumerate()
    {
        let contact = api.make("contacts", json!({ "first_name": format!("Before {place}"), "phone": stored }));
        let id = format!("wamid.{place}");
        send(&service, &text(&id, written, AT, "Oi"));
        let thread = row(api, &id)["conversation"].clone();
        assert_eq!(
            (&thread["contact_id"], &thread["address"]),
            (&json!(contact), &json!(format!("+{written}"))),
            "{stored} {written}"
        );
        // And what comes by the other spelling goes on there.
        let other = format!("wamid.{place}.other");
        send(&service, &text(&other, &stored[1..], AT + 1, "Oi"));
        assert_eq!(row(api, &other)["conversation"]["id"], thread["id"], "{stored} {written}");
    }
    // A landline of Brazil is no mobile number without its nine.
    api.make("contacts", json!({ "first_name": "Mobile", "phone": "+5511933334444" }));
    send(&service, &text("wamid.landline", "551133334444", AT, "Bom dia"));
    assert_eq!(row(api, "wamid.landline")["conversation"]["address"], json!("+551133334444"));
    assert_eq!(api.get("duplicate-proposals").expect(200).rows().len(), 0);
}

/// chatwoot#14058 #13359: an album is a webhook for each picture, at once, and makes several contacts and conversations.
/// chatwoot#5433, n8n#20446: what is delivered again is written again.
#[test]
fn album_at_once_and_again_is_one_conversation() {
    let service = Service::with(&["--background-tasks", "on", "--db-connections", "8", "--http-workers", "2"]);
    let api = &service.client;
    connect(api, NUMBER);
    let picture = |number: usize| {
        let image = json!({ "id": format!("9{number}"), "mime_type": "image/jpeg" });
        let message = json!({ "id": format!("wamid.{number}"), "from": "447700900555", "timestamp": AT.to_string(), "type": "image", "image": image });
        json!({ "contacts": [{ "profile": { "name": "Mo" }, "wa_id": "447700900555" }], "messages": [message] })
    };
    std::thread::scope(|scope| {
        for number in (0..10).chain(0..10) {
            let (service, picture) = (&service, picture(number));
            scope.spawn(move || drop(post(&service.stranger(), &body(NUMBER, &picture)).expect(200)));
        }
    });
    crate::support::until("all are there", || api.get("messages").expect(200).rows().len() == 10);
    let threads = api.get("conversations").expect(200);
    assert_eq!((threads.rows().len(), &threads.rows()[0]["unread_count"]), (1, &json!(10)));
    assert_eq!((api.get("contacts").expect(200).rows().len(), api.get("leads").expect(200).rows().len()), (1, 1));
}

/// evolution-api#1762 #2110: new messages are taken for duplicates, by their text or by their second.
#[test]
fn equal_messages_with_ids_of_their_own_are_all_kept() {
    let service = Service::start();
    connect(&service.client, NUMBER);
    for number in 0..5 {
        send(&service, &text(&format!("wamid.{number}"), "447700900123", AT, "ok"));
    }
    assert_eq!(service.client.get("messages").expect(200).rows().len(), 5);
}

/// chatwoot#15586, whatomate#531: without a number, a message is dropped or its sender cannot be found.
#[test]
fn sender_without_number_is_a_contact_that_is_found() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    let message = |id: &str, more: Value| {
        let mut message = json!({ "id": id, "from_user_id": "GB.134", "timestamp": AT.to_string(), "type": "text", "text": { "body": "Hi" } });
        message.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({ "contacts": [{ "profile": { "name": "Isla R.", "username": "@isla.reed" }, "user_id": "GB.134", "wa_id": "" }], "messages": [message] })
    };
    send(&service, &message("wamid.1", json!({ "from": "" })));
    let found = api.get("contacts?q=isla").expect(200);
    assert_eq!((found.rows().len(), &found.rows()[0]["phone"]), (1, &Value::Null));
    assert_eq!(row(api, "wamid.1")["conversation"]["address"], json!("GB.134"));
    // When the number is known, it is the same person, and the conversation goes to the number.
    send(&service, &message("wamid.2", json!({ "from": "447700900123" })));
    let thread = row(api, "wamid.2")["conversation"].clone();
    assert_eq!((&thread["address"], &thread["contact_id"]), (&json!("+447700900123"), &found.rows()[0]["id"]));
    assert_eq!(row(api, "wamid.1")["conversation"]["id"], thread["id"]);
    assert_eq!(api.get("contacts?q=isla").expect(200).rows()[0]["phone"], json!("+447700900123"));
}

/// chatwoot#14529 #9962 #14149: a status falls from read to sent. chatwoot#14739 #12661: times are those of the processing.
/// frappe_whatsapp#252: a status of an unknown message ends the rest of the body. botpress#15083 #15029: statuses block messages.
#[test]
fn statuses_climb_with_their_own_times_and_block_nothing() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    send(&service, &text("wamid.1", "447700900123", AT, "Hi"));
    let thread = row(api, "wamid.1")["conversation_id"].clone();
    api.make("messages", json!({ "conversation_id": thread, "direction": "outbound", "body": "Yes", "external_id": "wamid.ours", "status": "queued" }));
    let status = |id: &str, status: &str, at: i64| json!({ "id": id, "status": status, "timestamp": at.to_string(), "recipient_id": "447700900123" });
    let mut value = text("wamid.2", "447700900123", AT + 50, "and?");
    value["statuses"] = json!([
        status("wamid.unknown", "read", AT + 1),
        { "status": "sent" },
        status("wamid.ours", "warning", AT + 1),
        status("wamid.ours", "read", AT + 30),
        status("wamid.ours", "delivered", AT + 20),
        status("wamid.ours", "sent", AT + 10),
        status("wamid.ours", "failed", AT + 40),
    ]);
    send(&service, &value);
    let ours = row(api, "wamid.ours");
    let at = |second: i64| json!(format!("2026-11-28T10:00:{second}.000000Z"));
    assert_eq!(
        (&ours["status"], &ours["sent_at"], &ours["delivered_at"], &ours["read_at"]),
        (&json!("read"), &at(10), &at(20), &at(30))
    );
    assert_eq!(row(api, "wamid.2")["body"], json!("and?"));
}

/// chatwoot#8656 #10411: reactions are messages of their own, or are never taken back.
#[test]
fn reactions_are_on_their_message() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    let react = |id: &str, at: i64, emoji: &str| {
        let reaction = json!({ "message_id": "wamid.1", "emoji": emoji });
        json!({ "messages": [{ "id": id, "from": "447700900123", "timestamp": at.to_string(), "type": "reaction", "reaction": reaction }] })
    };
    let emojis = || {
        row(api, "wamid.1")["reactions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| row["emoji"].clone())
            .collect::<Vec<_>>()
    };
    // Before its message, too.
    send(&service, &react("wamid.r1", AT + 10, "👍"));
    send(&service, &text("wamid.1", "447700900123", AT, "Hi"));
    assert_eq!(emojis(), [json!("👍")]);
    send(&service, &react("wamid.r2", AT + 20, "❤️"));
    assert_eq!(emojis(), [json!("❤️")]);
    send(&service, &react("wamid.r3", AT + 30, ""));
    assert_eq!(emojis(), [json!(null); 0]);
    // An older one that comes late changes nothing.
    send(&service, &react("wamid.r2", AT + 20, "❤️"));
    assert_eq!(emojis(), [json!(null); 0]);
    let thread = api.get("conversations").expect(200).rows()[0].clone();
    assert_eq!((&thread["unread_count"], api.get("messages").expect(200).rows().len()), (&json!(1), 1));
}

/// chatwoot#14547: an ad's first message that the Cloud API does not deliver (131060) leaves a conversation without a beginning.
/// chatwoot#12569 #15325: echoes of the phone app are lost, or what they quote.
#[test]
fn undelivered_and_echoed_messages_are_kept() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    let errors = json!([{ "code": 131_060, "title": "This message is unavailable" }]);
    send(
        &service,
        &json!({ "contacts": [{ "profile": { "name": "Ken" }, "wa_id": "12025550177" }],
        "messages": [{ "id": "wamid.1", "from": "12025550177", "timestamp": AT.to_string(), "type": "unsupported", "errors": errors }] }),
    );
    let lost = row(api, "wamid.1");
    assert_eq!(
        (&lost["kind"], &lost["error"]["code"], &lost["conversation"]["unread_count"]),
        (&json!("unknown"), &json!(131_060), &json!(1))
    );
    assert_eq!(api.get("leads").expect(200).rows()[0]["title"], json!("WhatsApp: Ken"));
    let echo = json!({ "message_echoes": [{ "id": "wamid.2", "from": "493023125010", "to": "12025550177", "timestamp": (AT + 60).to_string(), "type": "text",
        "text": { "body": "Look at your phone" }, "context": { "id": "wamid.1" } }] });
    send(&service, &echo);
    let echoed = row(api, "wamid.2");
    assert_eq!(
        (&echoed["direction"], &echoed["origin"], &echoed["reply_to"]["external_id"]),
        (&json!("outbound"), &json!("phone_app"), &json!("wamid.1"))
    );
    assert_eq!(
        (&echoed["conversation"]["id"], &echoed["conversation"]["unread_count"]),
        (&lost["conversation"]["id"], &json!(1))
    );
}
