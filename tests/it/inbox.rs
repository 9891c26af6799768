//! The shared inbox: what members see of each other's work, and of conversations that several answer.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use chrono::Utc;
use rapport::auth::Role;
use serde_json::{Value, json};

use crate::sign_in::{admit, client, sign_in};
use crate::support::{Client, Service, redis};

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

/// Each member has a position of their own, and no answer of the cache is that of another.
#[test]
fn read_positions_are_each_members_own() {
    let service = Service::start();
    let api = &service.client;
    let (amina, her) = member(&service, "amina", "agent");
    let (bo, _) = member(&service, "bo", "viewer");
    let at = |minute: u32| (Utc::now() + chrono::Duration::minutes(i64::from(minute))).to_rfc3339();
    let id = thread(api, "+447700900001");
    let quiet = thread(api, "+447700900002");
    message(api, &quiet, "outbound", json!({}));
    let said = [1, 2, 3].map(|minute| message(api, &id, "inbound", json!({ "sent_at": at(minute) })));
    // Twice: the second answer is cached.
    let unread = |api: &Client| {
        let lists = [(); 2].map(|()| ids(api, "conversations?unread_by=me"));
        assert_eq!(lists[0], lists[1]);
        lists[0].clone()
    };
    assert_eq!((unread(&amina), unread(&bo)), (vec![id.clone()], vec![id.clone()]));
    assert_eq!(ids(api, &format!("conversations?unread_by={her}")), [id.as_str()]);
    let path = format!("conversations/{id}/read-position");
    let position = amina.put(&path, json!({ "message_id": said[1] })).expect(200).json;
    assert_eq!((&position["user_id"], &position["conversation_id"]), (&json!(her), &json!(id)));
    assert_eq!(unread(&amina), [id.as_str()], "the third message is later");
    amina.put(&path, json!({})).expect(200);
    assert_eq!((unread(&amina), unread(&bo)), (vec![], vec![id.clone()]));
    let later = amina.put(&path, json!({ "message_id": said[0] })).expect(200).json;
    assert_eq!(unread(&amina), Vec::<String>::new(), "never backwards");
    assert_ne!(later["read_until"], position["read_until"]);
    amina.put(&path, json!({ "message_id": said[0], "may_go_back": true })).expect(200);
    assert_eq!(unread(&amina), [id.as_str()]);
    // A viewer, too; the shared count is another thing.
    bo.put(&path, json!({})).expect(200);
    assert_eq!(unread(&bo), Vec::<String>::new());
    assert_eq!(api.get(&format!("conversations/{id}")).expect(200).json["unread_count"], 3);
    message(api, &id, "inbound", json!({ "sent_at": at(4) }));
    assert_eq!(unread(&bo), [id.as_str()]);
    bo.put(&path, json!({})).expect(200);
    bo.delete(&path).expect(204);
    assert_eq!(unread(&bo), [id.as_str()]);
    // For those who draw a list of all: how far members have read, in one query.
    let shown = api.get("conversations?include=read_positions&sort=created_at").expect(200);
    assert_eq!(shown.rows()[0]["read_positions"][0]["user_id"], json!(her));
    assert_eq!((shown.queries(), shown.rows()[1]["read_positions"].as_array().map(Vec::len)), (2, Some(0)));
    assert_eq!(amina.get("read-positions?user_id=me").expect(200).rows().len(), 1);
    assert_eq!(bo.get("read-positions?user_id=me").expect(200).rows().len(), 0);
    // Who joins later need not read what was written before.
    let (late, _) = member(&service, "late", "agent");
    service.database.run("UPDATE memberships SET created_at = now() + interval '1 day' WHERE user_id = (SELECT id FROM users WHERE email = 'late@example.com')");
    assert_eq!(unread(&late), Vec::<String>::new());

    let refused = |api: &Client, body: Value| api.put(&path, body).expect(422).faults().join(" ");
    assert_eq!(refused(&amina, json!({ "message_id": message(api, &quiet, "inbound", json!({})) })), "/message_id");
    assert_eq!(refused(&bo, json!({ "user_id": her })), "/user_id");
    assert_eq!(refused(api, json!({})), "/user_id");
    assert_eq!(refused(api, json!({ "user_id": uuid::Uuid::now_v7() })), "/user_id");
    api.put(&path, json!({ "user_id": her })).expect(200);
    assert_eq!(unread(&amina), [quiet.as_str()]);
    api.delete(&path).expect(403);
    let (_, neighbour) = service.neighbour();
    neighbour.put(&path, json!({ "user_id": her })).expect(404);
    // Nor what is not theirs to see.
    let business = format!("businesses/{}", service.business);
    api.patch(&business, json!({ "agent_visibility": "assigned" })).expect(200);
    amina.put(&path, json!({})).expect(404);
    assert_eq!((unread(&amina), amina.get("read-positions").expect(200).rows().len()), (vec![], 0));
}

/// Whatever the clocks of the channel say, what came in after a member looked is unread, and what came before is not.
#[test]
fn what_comes_after_a_look_is_unread() {
    let service = Service::start();
    let api = &service.client;
    let (amina, _) = member(&service, "amina", "agent");
    let (bo, _) = member(&service, "bo", "agent");
    let id = thread(api, "+447700900001");
    let path = format!("conversations/{id}/read-position");
    let is_unread = || !ids(&amina, "conversations?unread_by=me").is_empty();
    let look = |body: Value| amina.put(&path, body).expect(200).json;
    let at = |seconds: i64| json!({ "sent_at": (Utc::now() + chrono::Duration::seconds(seconds)).to_rfc3339() });
    look(json!({}));
    assert!(!is_unread());
    // A clock that is ten days ahead.
    message(api, &id, "inbound", at(10 * 24 * 3600));
    assert!(is_unread());
    look(json!({}));
    assert!(!is_unread());
    message(api, &id, "inbound", at(0));
    assert!(is_unread());
    look(json!({}));
    assert!(!is_unread());
    // A message that was sent before the last one that she saw, her own, and comes after.
    let own = message(api, &id, "outbound", json!({}));
    let late = message(api, &id, "inbound", at(-5));
    look(json!({ "message_id": own }));
    assert!(is_unread());
    let position = look(json!({ "message_id": late }));
    assert!(!is_unread());

    // A position that does not move is not written.
    assert_eq!(look(json!({})), position);
    assert_eq!(look(json!({ "message_id": late, "may_go_back": true })), position);
    // What one member reads outdates no numbers but their own.
    let unread = |api: &Client| {
        let counts = api.get("conversations/counts").expect(200);
        (counts.json["unread_by_me"].clone(), counts.queries())
    };
    assert_eq!((unread(&amina), unread(&bo)), ((json!(0), 1), (json!(1), 1)));
    bo.put(&path, json!({})).expect(200);
    assert_eq!((unread(&amina), unread(&bo)), ((json!(0), 0), (json!(0), 1)));
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

/// After each of many random changes, each number is that of its list: for members, restricted agents and API keys, and from the cache.
#[test]
fn counts_after_random_changes_equal_the_lists() {
    const ROUNDS: usize = 40;
    let service = Service::start();
    let api = &service.client;
    let (boss, _) = member(&service, "boss", "owner");
    let (amina, her) = member(&service, "amina", "agent");
    api.patch(&format!("businesses/{}", service.business), json!({ "agent_visibility": "assigned" })).expect(200);
    let labels = ["a", "b"].map(|name| api.make("labels", json!({ "name": name })));
    let mut threads = vec![thread(api, "+447700900000")];
    let mut seed = 0x5eed_u64;
    let mut below = |most: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % most
    };
    for round in 0..ROUNDS {
        let id = threads[below(threads.len())].clone();
        let path = format!("conversations/{id}");
        let did = match below(12) {
            0 | 1 => {
                let channel = ["whatsapp", "email", "web"][below(3)];
                let body = json!({ "channel": channel, "address": format!("+44770090{round:04}") });
                threads.push(api.make("conversations", body));
                "begins"
            }
            2 | 3 => {
                message(api, &id, "inbound", json!({}));
                "is written to"
            }
            4 => {
                api.put(&format!("{path}/assignment"), json!({ "assignee_id": her })).expect(200);
                "is assigned"
            }
            5 => {
                let later = (Utc::now() + chrono::Duration::hours(1)).to_rfc3339();
                api.put(&format!("{path}/snooze"), json!({ "until": later }));
                "is snoozed"
            }
            6 => {
                api.put(&format!("{path}/closure"), json!({})).expect(200);
                "is closed"
            }
            7 => {
                api.delete(&format!("{path}/closure")).expect(200);
                "is reopened"
            }
            8 => {
                api.put(&format!("{path}/labels/{}", labels[below(2)]), json!({})).expect(200);
                "is labelled"
            }
            10 => {
                let handler = ["ai", "person"][below(2)];
                api.patch(&path, json!({ "handler": handler })).expect(200);
                "is handed over"
            }
            9 => {
                [&boss, &amina][below(2)].put(&format!("{path}/read-position"), json!({}));
                "is read"
            }
            _ => {
                api.patch(&path, json!({ "status": "pending", "unread_count": below(2) }));
                "is pending"
            }
        };
        for (who, client) in [("a key", api), ("the owner", &boss), ("an agent", &amina)] {
            let counts = [(); 2].map(|()| client.get("conversations/counts").expect(200));
            assert_eq!((counts[0].json.clone(), counts[1].queries()), (counts[1].json.clone(), 0));
            assert!(counts[0].queries() <= 1);
            let counts = &counts[0].json;
            let total = |query: &str| {
                let list = client.get(&format!("conversations?{query}&count=exact&limit=1")).expect(200);
                list.json["page"]["total"].clone()
            };
            let of =
                |name: &str, query: &str| assert_eq!(counts[name], total(query), "{name} for {who}, after {id} {did}");
            const OPEN: &str = "status=active,pending&snoozed=false";
            of("open", OPEN);
            of("active", "status=active&snoozed=false");
            of("pending", "status=pending&snoozed=false");
            of("snoozed", "snoozed=true");
            of("closed", "status=closed");
            of("unassigned", &format!("{OPEN}&assignee_id=none"));
            of("handled_by_ai", &format!("{OPEN}&handler=ai"));
            of("unread", &format!("{OPEN}&unread=true"));
            if who == "a key" {
                assert_eq!((&counts["mine"], &counts["unread_by_me"]), (&Value::Null, &Value::Null));
            } else {
                of("mine", &format!("{OPEN}&assignee_id=me"));
                of("unread_by_me", &format!("{OPEN}&unread_by=me"));
            }
            let sum = |name: &str, key: &str, value: &str| -> i64 {
                let all = counts[name].as_array().expect("counts").iter();
                all.filter(|one| one[key] == *value).map(|one| one["count"].as_i64().expect("a number")).sum()
            };
            for label in &labels {
                assert_eq!(
                    total(&format!("{OPEN}&label_id={label}")),
                    sum("by_label", "label_id", label),
                    "after {did}"
                );
            }
            for channel in ["whatsapp", "email", "web"] {
                assert_eq!(
                    total(&format!("{OPEN}&channel={channel}")),
                    sum("by_channel", "channel", channel),
                    "after {did}"
                );
            }
        }
    }
    assert_eq!(api.get("conversations/counts?status=active").expect(400).code(), "unknown_parameter");
    let (_, neighbour) = service.neighbour();
    assert_eq!(neighbour.get("conversations/counts").expect(200).json["open"], 0);
    service.stranger().get("conversations/counts").expect(401);
}

/// Reads the lines of a stream that name and describe events, in a thread.
fn follow(client: &Client, query: &str) -> Receiver<String> {
    let request = client.request("GET", &format!("events/stream{query}"));
    let response = request.timeout(Duration::from_secs(60)).send().expect("a stream");
    assert_eq!(response.status(), 200);
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(response).lines().map_while(Result::ok) {
            if line.starts_with("event: ") || line.starts_with("data: ") {
                drop(send.send(line));
            }
        }
    });
    lines
}

/// The next event of a kind.
fn until(stream: &Receiver<String>, kind: &str) -> Value {
    let next = || stream.recv_timeout(Duration::from_secs(20)).expect("something comes");
    while next() != format!("event: {kind}") {}
    serde_json::from_str(next().strip_prefix("data: ").expect("data")).expect("JSON")
}

/// The lines that come before the event about the row `id`.
fn lines_before(stream: &Receiver<String>, id: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = stream.recv_timeout(Duration::from_secs(20)).expect("something comes");
        if line.starts_with("data: ") && line.contains(id) {
            lines.pop();
            return lines;
        }
        lines.push(line);
    }
}

/// What a member is writing reaches the streams of those who see the conversation, and no log.
#[test]
fn typing_is_on_the_stream_of_who_sees_the_conversation() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let (amina, her) = member(&service, "amina", "agent");
    let (bo, his) = member(&service, "bo", "agent");
    let (_, neighbour) = service.neighbour();
    let bos = thread(api, "+447700900003");
    api.put(&format!("conversations/{bos}/assignment"), json!({ "assignee_id": his })).expect(200);
    let (id, hers) = (thread(api, "+447700900001"), thread(api, "+447700900002"));
    api.put(&format!("conversations/{hers}/assignment"), json!({ "assignee_id": her })).expect(200);
    let business = format!("businesses/{}", service.business);
    api.patch(&business, json!({ "agent_visibility": "assigned" })).expect(200);
    let streams = [
        follow(api, "?type=conversation.*,message.*"),
        follow(&amina, ""),
        follow(&bo, ""),
        follow(&neighbour, ""),
        follow(api, "?type=lead.*"),
    ];
    // An event for each of the streams that are to hear nothing else: what lies between two of these is all that came.
    let others = |round: &str| {
        [
            message(api, &bos, "outbound", json!({ "status": "sent" })),
            neighbour.make("contacts", json!({ "first_name": round })),
            api.make("leads", json!({ "title": round })),
        ]
    };
    let numbers = || service.database.ask("SELECT count(*)::text FROM events");
    // The streams listen once an event has come.
    let said = message(api, &hers, "outbound", json!({ "status": "sent" }));
    for stream in &streams[..2] {
        assert_eq!(until(stream, "message.created")["row_id"], json!(said));
    }
    for (stream, own) in streams[2..].iter().zip(others("Before")) {
        lines_before(stream, &own);
    }
    let before = numbers();
    let path = |thread: &str| format!("conversations/{thread}/typing");
    let typing = amina.post(&path(&hers), json!({})).expect(200).json;
    assert_eq!(
        (&typing["user_id"], &typing["is_typing"], &typing["is_note"]),
        (&json!(her), &json!(true), &json!(false))
    );
    for stream in &streams[..2] {
        assert_eq!(until(stream, "conversation.typing"), typing);
    }
    assert_eq!(numbers(), before);
    // A status that climbs, and a conversation that changes, come as events; and nothing of it to others.
    api.patch(&format!("messages/{said}"), json!({ "status": "read" })).expect(200);
    assert_eq!(until(&streams[0], "message.updated")["changes"]["status"], json!({ "old": "sent", "new": "read" }));
    api.put(&format!("conversations/{hers}/closure"), json!({})).expect(200);
    assert_eq!(until(&streams[0], "conversation.updated")["changed"], json!(["status"]));
    for (stream, own) in streams[2..].iter().zip(others("After")) {
        assert_eq!(lines_before(stream, &own), Vec::<String>::new());
    }
    amina.post(&path(&id), json!({})).expect(404);
    neighbour.post(&path(&id), json!({})).expect(404);
    // A program is no member.
    let typing = api.post(&path(&id), json!({ "is_note": true })).expect(200).json;
    assert_eq!((until(&streams[0], "conversation.typing"), &typing["user_id"]), (typing.clone(), &Value::Null));
    service.client_as(Role::Viewer).post(&path(&id), json!({})).expect(403);
}

#[test]
fn typing_reaches_the_streams_of_other_processes() {
    let Some(url) = redis() else { return };
    let one = Service::with(&["--background-tasks", "on", "--redis-url", &url]);
    let other = Service::on(one.database.clone(), one.business, "", &["--redis-url", &url]);
    let id = thread(&one.client, "+447700900001");
    let (amina, her) = member(&one, "amina", "agent");
    let key = crate::support::make_key(&one.database, one.business, Role::Owner);
    let stream = follow(&Client::new(other.address, &key), "?type=conversation.*");
    // Sent again until both processes listen, as a front end does.
    let (done, stop) = channel::<()>();
    let path = format!("conversations/{id}/typing");
    std::thread::scope(|scope| {
        let (amina, path) = (&amina, &path);
        scope.spawn(move || {
            while stop.recv_timeout(Duration::from_millis(300)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                amina.post(path, json!({ "is_note": true })).expect(200);
            }
        });
        let typing = until(&stream, "conversation.typing");
        drop(done);
        assert_eq!((&typing["user_id"], &typing["is_note"]), (&json!(her), &json!(true)));
    });
}
