//! Who wrote: people whose names change, are shared, or are given to others; and what is forgotten of them.

use serde_json::{Value, json};

use super::webhook::{NUMBER, connect};
use super::{deliver, until_applied};
use crate::inbox::member;
use crate::support::whatsapp::{AT, body, text};
use crate::support::{Client, Service};

fn send(service: &Service, value: &Value) {
    deliver(service, &body(NUMBER, value));
}

/// A text from someone with these members of `from…`, and this profile.
fn from(id: &str, at: i64, sender: Value, contact: Value) -> Value {
    let mut message = json!({ "id": id, "timestamp": at.to_string(), "type": "text", "text": { "body": id } });
    message.as_object_mut().expect("an object").extend(sender.as_object().expect("an object").clone());
    json!({ "contacts": [contact], "messages": [message] })
}

fn moved(id: &str, at: i64, before: &str, after: &str) -> Value {
    let system = json!({ "type": "user_changed_number", "wa_id": after, "body": "changed" });
    json!({ "messages": [{ "id": id, "from": before, "timestamp": at.to_string(), "type": "system", "system": system }] })
}

fn contact_of(api: &Client, message: &str) -> Value {
    let row = api.get(&format!("messages?external_id={message}&include=conversation")).expect(200).rows()[0].clone();
    let id = row["conversation"]["contact_id"].as_str().expect("a contact").to_owned();
    api.get(&format!("contacts/{id}")).expect(200).json
}

/// A number that was given up and is another person's now leads to nobody who had it.
#[test]
fn recycled_number_is_another_person() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    send(&service, &text("wamid.1", "447700900123", AT, "Isla"));
    send(&service, &moved("wamid.2", AT + 10, "447700900123", "447700900456"));
    let isla = contact_of(api, "wamid.1");
    assert_eq!(isla["phone"], json!("+447700900456"));
    send(
        &service,
        &from(
            "wamid.3",
            AT + 100,
            json!({ "from": "447700900123" }),
            json!({ "profile": { "name": "Noor" }, "wa_id": "447700900123" }),
        ),
    );
    let noor = contact_of(api, "wamid.3");
    assert_eq!((&noor["first_name"], &noor["phone"]), (&json!("Noor"), &json!("+447700900123")));
    assert_ne!(noor["id"], isla["id"]);
    send(&service, &text("wamid.4", "447700900456", AT + 200, "Isla again"));
    assert_eq!(contact_of(api, "wamid.4")["id"], isla["id"]);
    let thread = api.get(&format!("conversations?contact_id={}", isla["id"].as_str().expect("an id"))).expect(200);
    assert_eq!((thread.rows().len(), &thread.rows()[0]["address"]), (1, &json!("+447700900456")));
    // What comes late from the time before the change gives the number back to nobody.
    let reaction = json!({ "message_id": "wamid.1", "emoji": "👍" });
    send(
        &service,
        &json!({ "messages": [{ "id": "wamid.r", "from": "447700900123", "timestamp": (AT + 5).to_string(), "type": "reaction", "reaction": reaction }] }),
    );
    assert_eq!(contact_of(api, "wamid.3")["id"], noor["id"]);
    // A former number is listed as such.
    let names = api
        .get(&format!("contact-identities?contact_id={}&value=447700900123", isla["id"].as_str().expect("an id")))
        .expect(200);
    assert!(names.rows()[0]["superseded_at"].is_string(), "{}", names.text);
}

/// A message that was written before the number changed, and comes after, is of the same person.
#[test]
fn message_from_before_a_changed_number_is_the_same_persons() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    send(&service, &moved("wamid.2", AT + 10, "447700900123", "447700900456"));
    send(&service, &text("wamid.1", "447700900123", AT, "Isla"));
    assert_eq!(contact_of(api, "wamid.1")["id"], contact_of(api, "wamid.2")["id"]);
    assert_eq!(contact_of(api, "wamid.1")["first_name"], json!("Isla"));
    assert_eq!(
        (api.get("contacts").expect(200).rows().len(), api.get("conversations").expect(200).rows().len()),
        (1, 1)
    );
}

/// What a customer says is parked where nothing tells who says it; it does not vanish.
#[test]
fn message_of_nobody_is_parked() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let channel = connect(api, NUMBER);
    let mut value = text("wamid.1", "95000398405635@lid", AT, "Hi");
    value["contacts"] = json!([]);
    send(&service, &value);
    let parked = api.get("inbound-updates?state=failed").expect(200);
    assert_eq!((&parked.rows()[0]["kind"], &parked.rows()[0]["error"]), (&json!("message"), &json!("no_peer")));
    let path = format!("inbound-updates/{}/application", parked.rows()[0]["id"].as_str().expect("an id"));
    assert_eq!(api.post(&path, json!({})).expect(409).code(), "still_failing");
    assert_eq!(api.get("inbound-updates?state=failed").expect(200).rows()[0]["id"], parked.rows()[0]["id"]);
    // It is there after a replay, too.
    api.post(&format!("channels/{channel}/inbound-replays"), json!({ "after": "2020-01-01T00:00:00Z" })).expect(202);
    until_applied(&service);
    assert_eq!(api.get("inbound-updates?state=failed").expect(200).rows()[0]["id"], parked.rows()[0]["id"]);
}

/// A number that changes to another contact's takes nothing from that: a duplicate is proposed, once, and a merge settles it.
#[test]
fn changed_number_of_another_contact_is_proposed_as_duplicate() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    let other = api.make("contacts", json!({ "first_name": "Isla at work", "phone": "+447700900456" }));
    send(&service, &text("wamid.1", "447700900123", AT, "Isla"));
    send(&service, &moved("wamid.2", AT + 10, "447700900123", "447700900456"));
    send(&service, &moved("wamid.3", AT + 20, "447700900123", "447700900456"));
    let isla = contact_of(api, "wamid.1");
    assert_eq!(isla["phone"], json!("+447700900123"));
    assert_eq!(api.get(&format!("contacts/{other}")).expect(200).json["phone"], json!("+447700900456"));
    let proposed = api.get("duplicate-proposals?status=open&include=contact,other").expect(200);
    let [row] = proposed.rows() else { panic!("{}", proposed.text) };
    assert_eq!((&row["contact"]["id"], &row["other"]["id"]), (&isla["id"], &json!(other)));
    let path = format!("contacts/{}/merge", isla["id"].as_str().expect("an id"));
    api.post(&path, json!({ "from": [other] })).expect(201);
    assert_eq!(api.get("duplicate-proposals").expect(200).rows()[0]["status"], json!("merged"));
    let names = api.get(&format!("contact-identities?contact_id={}", isla["id"].as_str().expect("an id"))).expect(200);
    assert!(names.rows().len() >= 2, "{}", names.text);
    // Their messages go on to the one that is left.
    send(&service, &text("wamid.4", "447700900456", AT + 100, "Hi"));
    assert_eq!(contact_of(api, "wamid.4")["id"], isla["id"]);
}

/// Names of one account that are of two contacts: the first rule wins, nothing is moved.
#[test]
fn identities_of_two_contacts_are_proposed_as_duplicate() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    send(
        &service,
        &from(
            "wamid.1",
            AT,
            json!({ "from_user_id": "GB.1" }),
            json!({ "profile": { "name": "By id" }, "user_id": "GB.1" }),
        ),
    );
    send(&service, &text("wamid.2", "447700900123", AT + 1, "by number"));
    let (by_id, by_number) = (contact_of(api, "wamid.1"), contact_of(api, "wamid.2"));
    assert_ne!(by_id["id"], by_number["id"]);
    send(
        &service,
        &from(
            "wamid.3",
            AT + 2,
            json!({ "from_user_id": "GB.1", "from": "447700900123" }),
            json!({ "user_id": "GB.1", "wa_id": "447700900123" }),
        ),
    );
    assert_eq!(contact_of(api, "wamid.3")["id"], by_id["id"]);
    assert_eq!(api.get("duplicate-proposals").expect(200).rows().len(), 1);
    let row = api.get("duplicate-proposals").expect(200).rows()[0]["id"].as_str().expect("an id").to_owned();
    api.patch(&format!("duplicate-proposals/{row}"), json!({ "status": "dismissed" })).expect(200);
    send(
        &service,
        &from(
            "wamid.4",
            AT + 3,
            json!({ "from_user_id": "GB.1", "from": "447700900123" }),
            json!({ "user_id": "GB.1", "wa_id": "447700900123" }),
        ),
    );
    assert_eq!(api.get("duplicate-proposals?status=open").expect(200).rows().len(), 0, "dismissed once and for all");
}

/// A conversation that goes on in another one keeps its labels, as far as there is room, and is read as far as both were.
#[test]
fn merged_conversations_keep_labels_and_are_read_as_far_as_both_were() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    let [(amina, her), (bo, his), (cy, _), (dee, _)] =
        ["amina", "bo", "cy", "dee"].map(|name| member(&service, name, "agent"));
    let by_id = |id: &str, at: i64, sender: Value| {
        from(id, at, sender, json!({ "profile": { "name": "Isla" }, "user_id": "GB.1" }))
    };
    let read = |client: &Client, thread: &str| {
        client.put(&format!("conversations/{thread}/read-position"), json!({})).expect(200).json["read_until"].clone()
    };
    send(&service, &by_id("wamid.1", AT, json!({ "from_user_id": "GB.1" })));
    let one = api.get("conversations").expect(200).rows()[0]["id"].as_str().expect("an id").to_owned();
    let early = read(&amina, &one);
    let other = api.make("conversations", json!({ "channel": "whatsapp", "address": "+447700900123" }));
    send(&service, &by_id("wamid.2", AT + 1, json!({ "from_user_id": "GB.1" })));
    let late = read(&bo, &one);
    // Whenever this test runs, the receipt is queued: of messages that are a month old none is.
    service.database.run(
        "INSERT INTO read_receipts (business_id, id, channel_id, message_id, sent_at)
         SELECT m.business_id, v.id, v.channel_id, m.id, m.sent_at FROM messages m JOIN conversations v ON v.id = m.conversation_id
         WHERE m.external_id = 'wamid.2' ON CONFLICT DO NOTHING",
    );
    let [first, second] = [&amina, &bo].map(|client| read(client, &other));
    assert!(early.as_str() < second.as_str() && second.as_str() < late.as_str(), "{early} {second} {late}");
    assert_eq!(first, second);
    read(&cy, &one);
    read(&dee, &other);
    let labels: Vec<String> =
        (0..26).map(|number| api.make("labels", json!({ "name": format!("{number:02}") }))).collect();
    let put = |thread: &str, label: &str| {
        api.put(&format!("conversations/{thread}/labels/{label}"), json!({})).expect(200);
    };
    labels[..15].iter().for_each(|label| put(&one, label));
    labels[14..].iter().for_each(|label| put(&other, label));

    // Its number is known now, and is that of the conversation that people began.
    send(&service, &by_id("wamid.3", AT + 2, json!({ "from_user_id": "GB.1", "from": "447700900123" })));
    assert_eq!(api.get("messages?external_id=wamid.1").expect(200).rows()[0]["conversation_id"], json!(other));
    let shown = api.get(&format!("conversations/{other}?include=labels")).expect(200).json;
    let names: Vec<&str> = shown["labels"]
        .as_array()
        .expect("labels")
        .iter()
        .map(|label| label["name"].as_str().expect("a name"))
        .collect();
    let expected: Vec<String> = (0..8).chain(14..26).map(|number| format!("{number:02}")).collect();
    assert_eq!(names, expected, "the oldest of what fits");
    let positions = api.get(&format!("read-positions?conversation_id={other}&sort=created_at")).expect(200);
    let positions: Vec<(&Value, &Value)> =
        positions.rows().iter().map(|row| (&row["user_id"], &row["read_until"])).collect();
    assert_eq!(positions, [(&json!(her), &early), (&json!(his), &second)]);
    // So is what was shown to the customer: nothing of it is shown again.
    let receipts = || service.database.rows::<2>("SELECT id::text, message_id::text FROM read_receipts");
    let shown = receipts();
    let newest = api.get("messages?external_id=wamid.2").expect(200).rows()[0]["id"].clone();
    assert_eq!(shown, [[other.clone(), newest.as_str().expect("an id").to_owned()]]);
    let newest = json!({ "message_id": newest });
    bo.put(&format!("conversations/{other}/read-position"), newest).expect(200);
    assert_eq!(receipts(), shown);
}

/// A name that people gave stays, a deleted contact is not brought back, a closed conversation is not opened again.
#[test]
fn what_people_decided_stays() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    send(&service, &text("wamid.1", "447700900123", AT, "Hi"));
    let contact = contact_of(api, "wamid.1")["id"].as_str().expect("an id").to_owned();
    api.patch(&format!("contacts/{contact}"), json!({ "first_name": "Dr. Isla" })).expect(200);
    send(&service, &text("wamid.0", "447700900123", AT - 5, "An earlier one, with another profile"));
    assert_eq!(contact_of(api, "wamid.0")["first_name"], json!("Dr. Isla"));
    let thread = api.get("conversations").expect(200).rows()[0]["id"].as_str().expect("an id").to_owned();
    api.patch(&format!("conversations/{thread}"), json!({ "status": "closed" })).expect(200);
    send(&service, &text("wamid.2", "447700900123", AT + 10, "Again"));
    let threads = api.get("conversations?status=active").expect(200);
    assert_eq!(threads.rows().len(), 1);
    assert_ne!(threads.rows()[0]["id"], json!(thread));
    api.delete(&format!("contacts/{contact}")).expect(204);
    send(&service, &text("wamid.3", "447700900123", AT + 20, "Still here"));
    let anew = api.get("contacts").expect(200);
    assert_eq!((anew.rows().len(), &anew.rows()[0]["phone"]), (1, &json!("+447700900123")));
    assert_ne!(anew.rows()[0]["id"], json!(contact));
    // The conversation goes on with the new one.
    assert_eq!(api.get("conversations?status=active").expect(200).rows()[0]["contact_id"], anew.rows()[0]["id"]);
}

/// History wakes nobody: no event, no lead, nothing unread; a live message of the same id that comes later does.
#[test]
fn history_is_silent() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    connect(api, NUMBER);
    let old = |id: &str, at: i64| json!({ "from": "447700900123", "id": id, "timestamp": at.to_string(), "type": "text", "text": { "body": id }, "history_context": { "status": "READ" } });
    let change = |id: &str, kind: &str, what: Value| {
        let mut item = json!({ "from": "447700900123", "id": id, "timestamp": AT.to_string(), "type": kind });
        item[kind] = what;
        item
    };
    let reaction = change("wamid.h2", "reaction", json!({ "message_id": "wamid.h1", "emoji": "👍" }));
    let said = json!({ "type": "text", "text": { "body": "edited" } });
    let edit = change("wamid.h3", "edit", json!({ "original_message_id": "wamid.h1", "message": said }));
    let messages = json!([old("wamid.h1", AT - 9_000_000), old("wamid.1", AT), reaction, edit]);
    let thread = json!({ "id": "447700900123", "context": { "wa_id": "447700900123" }, "messages": messages });
    send(&service, &json!({ "history": [{ "metadata": { "phase": 1 }, "threads": [thread] }] }));
    let talk = |api: &Client| api.get("conversations").expect(200).rows()[0].clone();
    let before = talk(api);
    assert_eq!(
        (&before["unread_count"], &before["window_expires_at"], &before["lead_id"]),
        (&json!(0), &Value::Null, &Value::Null)
    );
    let events = "SELECT count(*)::text FROM (SELECT 1 FROM events WHERE resource IN ('messages', 'conversations', 'contacts', 'message-reactions')
        UNION ALL SELECT 1 FROM change_log WHERE changed IN ('messages', 'conversations', 'contacts', 'message_reactions') AND entry IS NOT NULL) e";
    assert_eq!(service.database.ask(events), "0");
    let oldest = api.get("messages?external_id=wamid.h1&include=reactions").expect(200).rows()[0].clone();
    assert_eq!((&oldest["body"], &oldest["reactions"][0]["emoji"]), (&json!("edited"), &json!("👍")));
    send(&service, &text("wamid.1", "447700900123", AT, "wamid.1"));
    let after = talk(api);
    assert_eq!(
        (&after["unread_count"], &after["window_expires_at"]),
        (&json!(1), &json!("2026-11-29T10:00:00.000000Z"))
    );
    assert_ne!(service.database.ask(events), "0");
    assert_eq!(api.get("leads").expect(200).rows().len(), 1, "what a new message brings");
}

/// Who is forgotten is forgotten in what was delivered, too: as it came, and where it waits.
#[test]
fn erasure_reaches_what_was_delivered() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    let (_, neighbour) = service.neighbour();
    connect(&neighbour, "109900000000002");
    send(
        &service,
        &from(
            "wamid.1",
            AT,
            json!({ "from": "447700900123", "from_user_id": "GB.1" }),
            json!({ "profile": { "name": "Canary" }, "wa_id": "447700900123", "user_id": "GB.1" }),
        ),
    );
    let unknown = json!({ "id": "wamid.2", "from": "447700900123", "timestamp": AT.to_string(), "type": "hologram", "hologram": { "canary": true } });
    send(
        &service,
        &json!({ "messages": [unknown], "statuses": [{ "id": "wamid.x", "status": "read", "recipient_id": "447700900123", "timestamp": AT.to_string() }] }),
    );
    send(&service, &text("wamid.3", "447700900555", AT, "Of another person"));
    deliver(&service, &body("109900000000002", &text("wamid.4", "447700900123", AT, "To another business")));
    // A contact that people made, whose messages another program sends.
    let made = api.make("contacts", json!({ "first_name": "Made", "phone": "+447700900777" }));
    send(
        &service,
        &json!({ "statuses": [{ "id": "wamid.y", "status": "read", "recipient_id": "447700900777", "timestamp": AT.to_string() }] }),
    );
    api.post(&format!("contacts/{made}/erasure"), json!({ "mode": "delete" })).expect(200);
    let contact = contact_of(api, "wamid.1")["id"].as_str().expect("an id").to_owned();
    api.post(&format!("contacts/{contact}/erasure"), json!({ "mode": "anonymise" })).expect(200);
    let left = service.database.ask(&format!(
        "SELECT string_agg(t, ' ') FROM (SELECT concat(i) AS t FROM contact_identities i WHERE business_id = '{0}' UNION ALL SELECT concat(u) FROM inbound_updates u
         UNION ALL SELECT concat(m) FROM messages m WHERE business_id = '{0}' UNION ALL SELECT concat(c) FROM conversations c WHERE business_id = '{0}'
         UNION ALL SELECT convert_from(body, 'UTF8') FROM inbound_bodies WHERE number_ids @> '{{109900000000001}}') all_rows",
        service.business
    ));
    assert!(
        !left.contains("447700900123") && !left.contains("GB.1") && !left.to_lowercase().contains("canary"),
        "{left}"
    );
    assert!(!left.contains("447700900777"), "{left}");
    assert!(left.contains("447700900555"), "another person's stays");
    assert_eq!(
        service.database.ask("SELECT count(*)::text FROM inbound_bodies"),
        "2",
        "and what came for another business"
    );
}
