//! The shared inbox: what members see of each other's work, and of conversations that several answer.

use chrono::Utc;
use rapport::auth::Role;
use serde_json::{Value, json};

use crate::sign_in::{admit, client, sign_in};
use crate::support::{Client, Service};
mod counts;
mod reading;
mod typing;

fn thread(api: &Client, address: &str) -> String {
    api.make("conversations", json!({ "channel": "whatsapp", "address": address }))
}

pub fn message(api: &Client, thread: &str, direction: &str, more: Value) -> String {
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

/// Users of the business, by role, signed in; with their ids.
pub fn member(service: &Service, name: &str, role: &str) -> (Client, String) {
    let email = format!("{name}@example.com");
    admit(service, "acme", &email, role);
    let session = sign_in(service, &email).expect(201).json;
    (client(service, &session), session["user"]["id"].as_str().expect("an id").to_owned())
}

fn ids(api: &Client, query: &str) -> Vec<String> {
    let list = api.get(query).expect(200);
    list.rows().iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn labels_are_put_on_taken_off_and_deleted() {
    let service = Service::start();
    let api = &service.client;
    let (other, neighbour) = service.neighbour();
    assert_ne!(other, service.business);
    let (one, two) = (thread(api, "+447700900001"), thread(api, "+447700900002"));
    let label = |name: &str| api.make("labels", json!({ "name": name, "color": "#1F93FF" }));
    let (vip, refund) = (label("VIP"), label("Refund"));
    assert_eq!(api.get(&format!("labels/{vip}")).expect(200).json["color"], "#1f93ff");
    assert_eq!(api.post("labels", json!({ "name": "vip" })).expect(409).faults(), ["/name"]);
    assert_eq!(api.post("labels", json!({ "name": "x", "color": "blue" })).expect(422).faults(), ["/color"]);

    let path = |thread: &str, label: &str| format!("conversations/{thread}/labels/{label}");
    let names = |row: &Value| -> Vec<String> {
        let labels = row["labels"].as_array().expect("labels");
        labels.iter().map(|label| label["name"].as_str().expect("a name").to_owned()).collect()
    };
    // Each list twice, the second time from the cache; after each change it is right at once.
    let by_label = |label: &str| {
        let lists = [(); 2].map(|()| ids(api, &format!("conversations?label_id={label}&sort=created_at")));
        assert_eq!(lists[0], lists[1]);
        lists[0].clone()
    };
    assert_eq!((by_label(&vip), by_label("none")), (vec![], vec![one.clone(), two.clone()]));
    let put = api.put(&path(&one, &vip), json!({})).expect(200);
    assert_eq!(names(&put.json), ["VIP"]);
    assert_eq!((by_label(&vip), by_label("none")), (vec![one.clone()], vec![two.clone()]));
    let again = api.put(&path(&one, &vip), json!({})).expect(200);
    assert_eq!((again.header("etag"), &again.json), (put.header("etag"), &put.json));
    api.put(&path(&one, &refund), json!({})).expect(200);
    api.put(&path(&two, &refund), json!({})).expect(200);
    assert_eq!(by_label(&refund), [one.clone(), two.clone()]);
    assert_eq!(by_label(&format!("{vip},{refund}")), [one.clone(), two.clone()]);
    // With their labels: one query more for all of a page.
    let shown = || {
        let lists = [(); 2].map(|()| api.get("conversations?include=labels&sort=created_at").expect(200));
        assert_eq!(lists[0].json, lists[1].json);
        lists
    };
    let [first, second] = shown();
    assert_eq!((first.queries(), second.queries()), (2, 0));
    assert_eq!(names(&first.rows()[0]), ["Refund", "VIP"]);
    api.patch(&format!("labels/{vip}"), json!({ "name": "Angry" })).expect(200);
    assert_eq!(names(&shown()[0].rows()[0]), ["Angry", "Refund"]);
    // At the version that was read.
    let stale = api.send(api.request("PUT", &path(&two, &vip)).header("If-Match", "\"1\"").json(&json!({})));
    assert_eq!(stale.expect(412).code(), "precondition_failed");
    assert_eq!(names(&api.delete(&path(&one, &refund)).expect(200).json), ["Angry"]);
    api.delete(&path(&one, &refund)).expect(200);
    assert_eq!(by_label(&refund), [two.as_str()]);
    // What is deleted is taken off, and links are rows that others can follow.
    assert_eq!(api.get("conversation-labels?include=label").expect(200).rows().len(), 2);
    api.delete(&format!("labels/{vip}")).expect(204);
    assert_eq!(names(&shown()[1].rows()[0]), Vec::<String>::new());
    assert_eq!(api.get("conversation-labels").expect(200).rows().len(), 1);
    api.put(&path(&one, &vip), json!({})).expect(404);
    // Twenty at most.
    let more: Vec<String> = (0..20).map(|number| label(&format!("Label {number}"))).collect();
    more.iter().for_each(|label| drop(api.put(&path(&one, label), json!({})).expect(200)));
    assert_eq!(api.put(&path(&one, &refund), json!({})).expect(409).code(), "too_many_labels");
    // Nobody else's.
    let theirs = neighbour.make("labels", json!({ "name": "Refund" }));
    let their_thread = thread(&neighbour, "+447700900003");
    api.put(&path(&two, &theirs), json!({})).expect(404);
    api.put(&path(&their_thread, &refund), json!({})).expect(404);
    neighbour.put(&path(&two, &theirs), json!({})).expect(404);
    service.client_as(Role::Viewer).put(&path(&two, &refund), json!({})).expect(403);
    assert_eq!(ids(&neighbour, &format!("conversations?label_id={refund}")), Vec::<String>::new());
}

#[test]
fn assignment_closure_and_reopening_of_a_conversation() {
    let service = Service::start();
    let api = &service.client;
    let id = thread(api, "+447700900001");
    let path = format!("conversations/{id}");
    let (agent, her) = member(&service, "amina", "agent");
    let assigned = agent.put(&format!("{path}/assignment"), json!({ "assignee_id": her })).expect(200);
    assert_eq!(assigned.json["assignee_id"], json!(her));
    assert_eq!(ids(&agent, "conversations?assignee_id=me"), [id.as_str()]);
    assert_eq!(api.get("conversations?assignee_id=me").expect(400).faults(), ["/query/assignee_id"]);
    let stranger = uuid::Uuid::now_v7();
    let refused = api.put(&format!("{path}/assignment"), json!({ "assignee_id": stranger })).expect(422);
    assert_eq!(refused.faults(), ["/assignee_id"]);
    assert_eq!(api.put(&format!("{path}/assignment"), json!({})).expect(422).faults(), ["/assignee_id"]);
    let stale = api.send(api.request("DELETE", &format!("{path}/assignment")).header("If-Match", "\"1\""));
    stale.expect(412);
    let freed = api.delete(&format!("{path}/assignment")).expect(200).json;
    assert_eq!(freed["assignee_id"], Value::Null);
    let history = api.get(&format!("{path}/history")).expect(200);
    assert_eq!(history.rows()[0]["changes"]["assignee_id"], json!({ "old": her, "new": null }));
    service.client_as(Role::Viewer).delete(&format!("{path}/assignment")).expect(403);

    // Closed, and begun anew: both cannot be open.
    let closed = api.put(&format!("{path}/closure"), json!({})).expect(200).json;
    assert_eq!(closed["status"], "closed");
    assert_eq!(api.put(&format!("{path}/closure"), json!({})).expect(200).json["version"], closed["version"]);
    let second = thread(api, "+447700900001");
    for refused in [api.delete(&format!("{path}/closure")), api.patch(&path, json!({ "status": "pending" }))] {
        let refused = refused.expect(409);
        assert_eq!((refused.code(), &refused.json["candidates"][0]["id"]), ("already_exists", &json!(second)));
        assert!(refused.json["detail"].as_str().is_some_and(|detail| detail.contains(&second)));
    }
    api.put(&format!("conversations/{second}/closure"), json!({})).expect(200);
    assert_eq!(api.delete(&format!("{path}/closure")).expect(200).json["status"], "active");
    api.patch(&path, json!({ "status": "pending" })).expect(200);
    assert_eq!(api.delete(&format!("{path}/closure")).expect(200).json["status"], "pending", "it was open");
    let (_, neighbour) = service.neighbour();
    neighbour.put(&format!("{path}/closure"), json!({})).expect(404);
    neighbour.put(&format!("{path}/assignment"), json!({ "assignee_id": her })).expect(404);
}

#[test]
fn snoozed_conversation_comes_back_at_its_time_and_with_a_message() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let (id, awake) = (thread(api, "+447700900001"), thread(api, "+447700900002"));
    let path = format!("conversations/{id}");
    let snooze = |until: &str| api.put(&format!("{path}/snooze"), json!({ "until": until }));
    let after = |seconds: i64| (Utc::now() + chrono::Duration::seconds(seconds)).to_rfc3339();
    for wrong in [after(-1), after(367 * 24 * 3600)] {
        assert_eq!(snooze(&wrong).expect(422).faults(), ["/until"]);
    }
    let shown = |query: &str| ids(api, &format!("conversations?{query}"));
    assert_eq!(shown("snoozed=true"), Vec::<String>::new());
    assert!(snooze(&after(3600)).expect(200).json["snoozed_until"].is_string());
    assert_eq!((shown("snoozed=true"), shown("snoozed=false")), (vec![id.clone()], vec![awake.clone()]));
    // Only the other side wakes it at once.
    let until = || api.get(&path).expect(200).json["snoozed_until"].clone();
    message(api, &id, "outbound", json!({}));
    message(api, &id, "outbound", json!({ "kind": "note" }));
    assert!(until().is_string());
    message(api, &id, "inbound", json!({}));
    assert_eq!((until(), shown("snoozed=true")), (Value::Null, vec![]));
    // By itself, as a change that others see.
    let before = snooze(&after(2)).expect(200).json;
    crate::support::until("it wakes", || until().is_null());
    assert!(api.get(&path).expect(200).json["version"].as_i64() > before["version"].as_i64());
    assert_eq!(shown("snoozed=false").len(), 2);
    let history = api.get(&format!("{path}/history")).expect(200);
    assert_eq!(history.rows()[0]["changes"]["snoozed_until"]["new"], Value::Null);
    // By hand, and by closing.
    snooze(&after(3600)).expect(200);
    assert_eq!(api.delete(&format!("{path}/snooze")).expect(200).json["snoozed_until"], Value::Null);
    snooze(&after(3600)).expect(200);
    let closed = api.put(&format!("{path}/closure"), json!({})).expect(200).json;
    assert_eq!((&closed["status"], &closed["snoozed_until"]), (&json!("closed"), &Value::Null));
    assert_eq!(snooze(&after(3600)).expect(409).code(), "conversation_closed");
}

#[test]
fn canned_responses_are_found_by_shortcut_and_text() {
    let service = Service::start();
    let api = &service.client;
    let hours = api.make("canned-responses", json!({ "shortcut": "hours", "body": "We are open from nine to five." }));
    api.make("canned-responses", json!({ "shortcut": "bye", "body": "See you on our opening hours." }));
    assert_eq!(api.get("canned-responses?q=hour").expect(200).rows().len(), 2);
    assert_eq!(ids(api, "canned-responses?q=NINE"), [hours.as_str()]);
    assert_eq!(ids(api, "canned-responses?shortcut=Hours"), [hours.as_str()]);
    let refused = |body: Value| api.post("canned-responses", body);
    assert_eq!(refused(json!({ "shortcut": "HOURS", "body": "x" })).expect(409).faults(), ["/shortcut"]);
    assert_eq!(refused(json!({ "shortcut": "x", "body": "x".repeat(4_097) })).expect(422).faults(), ["/body"]);
    api.delete(&format!("canned-responses/{hours}")).expect(204);
    api.make("canned-responses", json!({ "shortcut": "Hours", "body": "Another." }));
    api.post(&format!("canned-responses/{hours}/restoration"), json!({})).expect(409);
}
