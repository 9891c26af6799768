//! Tests of conversations, and how messages change them.

use std::sync::LazyLock;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::{Client, Service};

/// A time of day on the day of the tests: conversations that they create have started before 09:00 of it.
fn at(clock: &str) -> String {
    static NINE: LazyLock<DateTime<Utc>> = LazyLock::new(|| Utc::now() + TimeDelta::hours(1));
    let (hours, minutes) = clock.split_once(':').expect("a clock time");
    let since_nine = TimeDelta::hours(hours.parse::<i64>().unwrap() - 9) + TimeDelta::minutes(minutes.parse().unwrap());
    (*NINE + since_nine).to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn message(api: &Client, conversation: &str, direction: &str, body: &str, sent_at: &str) -> Value {
    let body = json!({ "conversation_id": conversation, "direction": direction, "body": body, "sent_at": sent_at });
    api.create("messages", body)
}

#[test]
fn create_message_updates_conversation_counters_and_times() {
    let service = Service::start();
    let api = &service.client;
    let thread = api.make("conversations", json!({ "channel": "whatsapp", "address": "+4915112345678" }));
    let path = format!("conversations/{thread}");
    let read = || api.get(&path).expect(200).json;
    let fresh = read();
    assert_eq!((&fresh["unread_count"], &fresh["window_expires_at"]), (&json!(0), &Value::Null));
    assert_eq!(fresh["last_message_at"], fresh["started_at"]);

    let inbound = message(api, &thread, "inbound", "Hello?", &at("10:00"));
    assert_eq!((&inbound["author"], &inbound["status"]), (&json!("contact"), &json!("received")));
    let moved = read();
    assert_eq!(moved["unread_count"], 1);
    assert_eq!(moved["last_message_at"], at("10:00"));
    assert_eq!(moved["window_expires_at"], at("34:00"));
    assert!(moved["version"].as_i64() > fresh["version"].as_i64(), "so its ETag is another");

    // A message that arrives late is counted, but does not move timestamps back.
    message(api, &thread, "inbound", "Sent before, came after", &at("09:00"));
    let late = read();
    assert_eq!(late["unread_count"], 2);
    assert_eq!(late["last_message_at"], moved["last_message_at"]);
    assert_eq!(late["window_expires_at"], moved["window_expires_at"]);

    let answer = message(api, &thread, "outbound", "Good morning", &at("11:00"));
    assert_eq!((&answer["author"], &answer["status"]), (&json!("user"), &json!("queued")));
    let answered = read();
    assert_eq!(answered["unread_count"], 2, "only reading makes read");
    assert_eq!(answered["last_message_at"], at("11:00"));
    assert_eq!(answered["window_expires_at"], moved["window_expires_at"]);
    assert_eq!(api.patch(&path, json!({ "unread_count": 0 })).expect(200).json["unread_count"], 0);

    // A time far in the future is capped: a conversation must not stay on top of the inbox for thousands of years.
    message(api, &thread, "inbound", "See you", "9999-12-31T20:00:00Z");
    for (field, most) in [("last_message_at", 1), ("window_expires_at", 2)] {
        let moved: DateTime<Utc> = read()[field].as_str().unwrap().parse().unwrap();
        assert!(moved <= Utc::now() + TimeDelta::days(most), "{field}: {moved}");
    }

    // Only WhatsApp has a reply window.
    let sms = api.make("conversations", json!({ "channel": "sms", "address": "+4915112345678" }));
    message(api, &sms, "inbound", "Hi", &at("10:00"));
    assert!(api.get(&format!("conversations/{sms}")).expect(200).json["window_expires_at"].is_null());
}

#[test]
fn list_conversations_by_recency_includes_last_message() {
    let service = Service::start();
    let api = &service.client;
    let open = |address: &str| api.make("conversations", json!({ "channel": "sms", "address": address }));
    let threads = [open("a"), open("b"), open("c")];
    for (hour, thread) in [(10, 0), (12, 1), (11, 2), (13, 0)] {
        message(api, &threads[thread], "inbound", &format!("at {hour}"), &at(&format!("{hour}:00")));
    }
    api.patch(&format!("conversations/{}", threads[1]), json!({ "status": "pending" })).expect(200);
    open("d");
    let inbox = api.get("conversations?status=active&unread_count_min=1&include=last_message").expect(200);
    let shown: Vec<(&str, &str)> = inbox
        .rows()
        .iter()
        .map(|row| (row["address"].as_str().unwrap(), row["last_message"]["body"].as_str().unwrap()))
        .collect();
    assert_eq!(shown, [("a", "at 13"), ("c", "at 11")]);
    assert_eq!(inbox.queries(), 2);
    let empty = api.get("conversations?include=last_message,messages&unread_count=0").expect(200);
    assert_eq!((&empty.rows()[0]["last_message"], &empty.rows()[0]["messages"]), (&Value::Null, &json!([])));
    // A deleted message is not the last one.
    let last = inbox.rows()[0]["last_message"]["id"].as_str().unwrap();
    api.delete(&format!("messages/{last}")).expect(204);
    let thread = api.get(&format!("conversations/{}?include=last_message,messages", threads[0])).expect(200).json;
    assert_eq!(thread["last_message"]["body"], "at 10");
    assert_eq!(thread["messages"].as_array().unwrap().len(), 1);
}

#[test]
fn paging_messages_during_inserts_newest_first_no_duplicates() {
    let service = Service::start();
    let api = &service.client;
    let thread = api.make("conversations", json!({ "channel": "web", "address": "visitor-1" }));
    let other = api.make("conversations", json!({ "channel": "web", "address": "visitor-2" }));
    for minute in 10..35 {
        // Two in the same instant at every fifth minute.
        let minute = if minute % 5 == 1 { minute - 1 } else { minute };
        message(api, &thread, "inbound", &format!("m{minute}"), &at(&format!("10:{minute}")));
        message(api, &other, "inbound", "elsewhere", &at(&format!("10:{minute}")));
    }
    let path = format!("messages?conversation_id={thread}&limit=4");
    let mut seen = Vec::new();
    let mut page = api.get(&path).expect(200);
    loop {
        seen.extend(page.rows().iter().map(|row| (row["sent_at"].clone(), row["id"].clone())));
        let Some(next) = page.json["page"]["next"].as_str().map(str::to_owned) else {
            break;
        };
        // A concurrent message is newer than the page, so it does not shift it.
        message(api, &thread, "inbound", "new", &at("11:00"));
        page = api.get(&format!("{path}&cursor={next}")).expect(200);
    }
    assert_eq!(seen.len(), 25);
    let in_order =
        seen.windows(2).all(|pair| (pair[0].0.as_str(), pair[0].1.as_str()) > (pair[1].0.as_str(), pair[1].1.as_str()));
    assert!(in_order, "newest first, none twice");
    let found = api.get(&format!("messages?conversation_id={thread}&q=m12")).expect(200);
    assert_eq!(found.rows().len(), 1);
}

#[test]
fn second_open_conversation_of_one_address_409() {
    let service = Service::start();
    let api = &service.client;
    let body = || json!({ "channel": "email", "address": "anna@example.com" });
    let first = api.make("conversations", body());
    let refused = api.post("conversations", body()).expect(409);
    assert_eq!((refused.code(), refused.faults()), ("already_exists", vec!["/address"]));
    api.create("conversations", json!({ "channel": "web", "address": "anna@example.com" }));
    // A closed one allows a successor, and cannot be reopened beside it.
    api.patch(&format!("conversations/{first}"), json!({ "status": "closed" })).expect(200);
    let second = api.make("conversations", body());
    api.patch(&format!("conversations/{first}"), json!({ "status": "pending" })).expect(409);
    api.delete(&format!("conversations/{second}")).expect(204);
    api.patch(&format!("conversations/{first}"), json!({ "status": "active" })).expect(200);
    let refused = api.post(&format!("conversations/{second}/restoration"), json!({})).expect(409);
    assert_eq!(refused.code(), "already_exists");
}

#[test]
fn create_message_duplicate_external_id_409() {
    let service = Service::start();
    let api = &service.client;
    let thread = api.make("conversations", json!({ "channel": "whatsapp", "address": "+4915112345678" }));
    let body = json!({ "conversation_id": thread, "direction": "inbound", "body": "Hi", "external_id": "wamid.1" });
    api.create("messages", body.clone());
    let again = api.post("messages", body).expect(409);
    assert_eq!((again.code(), again.faults()), ("already_exists", vec!["/external_id"]));
    let unread = api.get(&format!("conversations/{thread}")).expect(200).json["unread_count"].clone();
    assert_eq!(unread, 1, "what was refused moved nothing");
    // Both errors at once: only the contact writes inbound, and a text message needs a body.
    let wrong = json!({ "conversation_id": thread, "direction": "inbound", "author": "ai" });
    assert_eq!(api.post("messages", wrong).expect(422).faults(), ["/author", "/body"]);
    let cost = json!({ "conversation_id": thread, "direction": "outbound", "author": "ai", "body": "Hi",
        "cost": "0.0125", "ai_cost": "0.000310", "input_tokens": 812 });
    let cost = api.create("messages", cost);
    assert_eq!((&cost["cost"], &cost["cost_currency"]), (&json!("0.012500"), &json!("EUR")));
}

#[test]
fn message_author_or_status_of_wrong_direction_422() {
    let service = Service::start();
    let api = &service.client;
    let thread = api.make("conversations", json!({ "channel": "sms", "address": "+4915112345678" }));
    let with = |direction: &str, field: &str, value: &str| json!({ "conversation_id": thread, "direction": direction, "body": "Hi", field: value });
    for (direction, field, value) in [
        ("inbound", "author", "user"),
        ("outbound", "author", "contact"),
        ("inbound", "status", "sent"),
        ("outbound", "status", "received"),
    ] {
        let refused = api.post("messages", with(direction, field, value)).expect(422);
        assert_eq!(refused.faults(), [format!("/{field}")], "{direction} {value}");
    }
    let inbound = api.make("messages", with("inbound", "status", "received"));
    let path = format!("messages/{inbound}");
    assert_eq!(api.patch(&path, json!({ "status": "delivered" })).expect(422).faults(), ["/status"]);
    api.patch(&path, json!({ "status": "read" })).expect(200);
}

#[test]
fn whatsapp_address_formats_normalise_to_one_conversation() {
    let service = Service::start();
    let talk = |address: &str| json!({ "channel": "whatsapp", "address": address });
    // Complete but without its plus sign, from another country than the business's.
    let thread = service.client.create("conversations", talk("16045550177"));
    assert_eq!(thread["address"], "+16045550177");
    for written in ["+16045550177", "+1 604 555-0177"] {
        assert_eq!(
            service.client.post("conversations", talk(written)).expect(409).code(),
            "already_exists",
            "{written}"
        );
    }
}

/// Whether free text may be sent is stored, and changes when the window does: without a change of the row no cached answer changes.
#[test]
fn can_reply_ends_with_the_window() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let thread = api.make("conversations", json!({ "channel": "whatsapp", "address": "+4915112345678" }));
    let mail = api.create("conversations", json!({ "channel": "email", "address": "isla@example.com" }));
    let can_reply = || api.get(&format!("conversations/{thread}")).expect(200).json["can_reply"].clone();
    assert_eq!((can_reply(), &mail["can_reply"]), (json!(false), &json!(true)), "nobody has written");
    // A window that ends in seconds.
    let sent_at = (chrono::Utc::now() - chrono::Duration::hours(24) + chrono::Duration::seconds(4)).to_rfc3339();
    api.make(
        "messages",
        json!({ "conversation_id": thread, "direction": "inbound", "body": "Hi", "sent_at": sent_at }),
    );
    assert_eq!(can_reply(), json!(true));
    let version = || api.get(&format!("conversations/{thread}")).expect(200).json["version"].clone();
    let before = version();
    crate::support::until("the window ends", || can_reply() == json!(false));
    assert_ne!(version(), before);
    api.make("messages", json!({ "conversation_id": thread, "direction": "inbound", "body": "Hi again" }));
    assert_eq!(can_reply(), json!(true));
}
