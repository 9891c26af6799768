//! Names of people that change, or are told beside others: their conversation goes on, and answers reach them.

use serde_json::{Value, json};

use super::deliver;
use super::webhook::{NUMBER, connect};
use crate::support::whatsapp::{AT, body, text};
use crate::support::{Client, Service};

fn send(service: &Service, value: &Value) {
    deliver(service, &body(NUMBER, value));
}

/// A text from someone with this user id, and this number if they show it.
fn by_id(id: &str, at: i64, user_id: &str, number: Option<&str>) -> Value {
    let mut value = text(id, number.unwrap_or_default(), at, id);
    value["messages"][0]["from_user_id"] = json!(user_id);
    value["contacts"][0]["user_id"] = json!(user_id);
    value
}

fn changed(id: &str, at: i64, sender: Value, system: Value) -> Value {
    let mut message = json!({ "id": id, "timestamp": at.to_string(), "type": "system", "system": system });
    message.as_object_mut().expect("an object").extend(sender.as_object().expect("an object").clone());
    json!({ "messages": [message] })
}

fn thread_of(api: &Client, message: &str) -> Value {
    api.get(&format!("messages?external_id={message}&include=conversation")).expect(200).rows()[0]["conversation"]
        .clone()
}

/// How many conversations and contacts there are.
fn counts(api: &Client) -> (usize, usize) {
    (api.get("conversations").expect(200).rows().len(), api.get("contacts").expect(200).rows().len())
}

#[test]
fn conversation_goes_to_the_new_id_of_its_user() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    send(&service, &by_id("wamid.1", AT, "GB.1", None));
    assert_eq!(thread_of(api, "wamid.1")["address"], json!("GB.1"));
    let system =
        json!({ "type": "user_changed_user_id", "user_id": "GB.2", "previous_user_id": "GB.1", "body": "changed" });
    send(&service, &changed("wamid.2", AT + 10, json!({ "from_user_id": "GB.2" }), system));
    assert_eq!(thread_of(api, "wamid.1")["address"], json!("GB.2"));
    send(&service, &by_id("wamid.3", AT + 20, "GB.2", None));
    assert_eq!(thread_of(api, "wamid.3")["id"], thread_of(api, "wamid.1")["id"]);
    assert_eq!(counts(api), (1, 1));
    // Who changes the id keeps the number.
    send(&service, &by_id("wamid.4", AT + 30, "GB.7", Some("447700900777")));
    let system = json!({ "type": "user_changed_user_id", "user_id": "GB.8", "previous_user_id": "GB.7" });
    send(&service, &changed("wamid.5", AT + 40, json!({ "from": "447700900777" }), system));
    assert_eq!(thread_of(api, "wamid.4")["address"], json!("+447700900777"));
    send(&service, &text("wamid.6", "447700900777", AT + 50, "by number"));
    assert_eq!(thread_of(api, "wamid.6")["id"], thread_of(api, "wamid.4")["id"]);
}

/// The new number is not shown: answers go to the user, and none to who has the old number next.
#[test]
fn number_that_was_given_up_for_an_unknown_one_is_nobodys() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    send(&service, &by_id("wamid.1", AT, "GB.1", Some("447700900123")));
    let isla = thread_of(api, "wamid.1");
    assert_eq!(isla["address"], json!("+447700900123"));
    let system = json!({ "type": "user_changed_number", "user_id": "GB.2", "previous_user_id": "GB.1" });
    send(&service, &changed("wamid.2", AT + 10, json!({ "from_user_id": "GB.2" }), system));
    assert_eq!(thread_of(api, "wamid.1")["address"], json!("GB.2"));
    send(&service, &by_id("wamid.3", AT + 100, "GB.9", Some("447700900123")));
    let noor = thread_of(api, "wamid.3");
    assert_eq!(noor["address"], json!("+447700900123"));
    assert_ne!((&noor["id"], &noor["contact_id"]), (&isla["id"], &isla["contact_id"]));
    send(&service, &by_id("wamid.4", AT + 200, "GB.2", None));
    assert_eq!(thread_of(api, "wamid.4")["id"], isla["id"]);
    assert_eq!(counts(api), (2, 2));
}

/// The number that changes is written in another spelling than the conversation's address.
#[test]
fn changed_number_moves_the_conversation_in_any_spelling() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    send(&service, &text("wamid.1", "551187654321", AT, "Oi"));
    let system = json!({ "type": "user_changed_number", "wa_id": "5511999990000" });
    send(&service, &changed("wamid.2", AT + 10, json!({ "from": "5511987654321" }), system));
    assert_eq!(thread_of(api, "wamid.1")["address"], json!("+5511999990000"));
    // Another person has the old one, in the other spelling, too.
    send(&service, &text("wamid.3", "551187654321", AT + 100, "Olá"));
    assert_ne!(thread_of(api, "wamid.3")["contact_id"], thread_of(api, "wamid.1")["contact_id"]);
}

/// Two changes of a number that arrive the wrong way round: the newest number stays.
#[test]
fn late_change_retires_no_newer_number() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    send(&service, &by_id("wamid.1", AT, "GB.1", Some("447700900123")));
    let from = |number: &str| json!({ "from": number, "from_user_id": "GB.1" });
    let system = |after: &str| json!({ "type": "user_changed_number", "wa_id": after });
    send(&service, &changed("wamid.3", AT + 20, from("447700900456"), system("447700900789")));
    send(&service, &changed("wamid.2", AT + 10, from("447700900123"), system("447700900456")));
    assert_eq!(thread_of(api, "wamid.1")["address"], json!("+447700900789"));
    send(&service, &text("wamid.4", "447700900789", AT + 30, "Still me"));
    assert_eq!(thread_of(api, "wamid.4")["id"], thread_of(api, "wamid.1")["id"]);
    assert_eq!(counts(api), (1, 1));
}

/// A status says which user a number is: an answer that shows no number is in the conversation that the shop began.
#[test]
fn status_tells_whose_number_it_is() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    let contact = api.make("contacts", json!({ "first_name": "Isla", "phone": "+447700900123" }));
    let begin = |address: &str, external_id: &str, more: Value| {
        let mut thread = json!({ "channel": "whatsapp", "address": address });
        thread.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let thread = api.make("conversations", thread);
        let sent = json!({ "conversation_id": thread, "direction": "outbound", "body": "Your table is ready",
            "external_id": external_id, "status": "sent", "sent_at": "2026-11-28T08:00:00Z" });
        api.make("messages", sent);
        thread
    };
    let known = begin("+447700900123", "wamid.o1", json!({ "contact_id": contact }));
    let unknown = begin("+447700900999", "wamid.o2", json!({}));
    let arrived = |id: &str, number: &str, user_id: &str| {
        let status = json!({ "id": id, "status": "delivered", "timestamp": AT.to_string(), "recipient_id": number });
        json!({ "contacts": [{ "wa_id": number, "user_id": user_id }], "statuses": [status] })
    };
    send(&service, &arrived("wamid.o1", "447700900123", "GB.1"));
    send(&service, &arrived("wamid.o2", "447700900999", "GB.9"));
    assert_eq!(counts(api), (2, 1), "a status makes nobody known");
    send(&service, &by_id("wamid.1", AT + 10, "GB.1", None));
    let thread = thread_of(api, "wamid.1");
    assert_eq!((&thread["id"], &thread["contact_id"]), (&json!(known), &json!(contact)));
    let mut value = by_id("wamid.2", AT + 10, "GB.9", None);
    value["contacts"][0]["profile"]["name"] = json!("Noor");
    send(&service, &value);
    let thread = thread_of(api, "wamid.2");
    assert_eq!((&thread["id"], &thread["address"]), (&json!(unknown), &json!("+447700900999")));
    let noor = api.get(&format!("contacts/{}", thread["contact_id"].as_str().expect("a contact"))).expect(200).json;
    assert_eq!(noor["first_name"], json!("Noor"));
    assert_eq!(counts(api), (2, 2));
}

#[test]
fn portfolio_that_is_told_later_splits_nobody() {
    let service = Service::start();
    let api = &service.client;
    let channel = connect(api, NUMBER);
    send(&service, &by_id("wamid.1", AT, "GB.1", None));
    for (place, portfolio) in [json!("506914307656634"), json!(null)].into_iter().enumerate() {
        api.patch(&format!("channels/{channel}"), json!({ "portfolio_id": portfolio })).expect(200);
        let id = format!("wamid.{portfolio}");
        send(&service, &by_id(&id, AT + 10 + place as i64, "GB.1", None));
        assert_eq!(thread_of(api, &id)["id"], thread_of(api, "wamid.1")["id"]);
    }
    assert_eq!(counts(api), (1, 1));
}
