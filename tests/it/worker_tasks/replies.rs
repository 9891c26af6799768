//! Tasks to answer customers: made by their messages, cancelled by people.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{NUMBER, ask, claim, claim_one, conversation, end, end_leases, id, make_due, open_tasks, task};
use crate::support::whatsapp::{AT, body, post, text};
use crate::support::{Service, until};

/// chatwoot#15133: a bot that answers each message of a burst.
#[test]
fn burst_of_messages_makes_one_task_chatwoot_15133() {
    let service = Service::start();
    let api = &service.client;
    let talk = conversation(api);
    for _ in 0..4 {
        ask(api, &talk);
    }
    let last = ask(api, &talk);
    let tasks = api.get("worker-tasks").expect(200).rows().to_vec();
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    let payload = json!({ "conversation_id": talk, "last_message_id": last });
    assert_eq!((&tasks[0]["kind"], &tasks[0]["payload"]), (&json!("reply"), &payload));
    assert_eq!((&tasks[0]["dedupe_key"], &tasks[0]["conversation_id"]), (&json!(talk), &json!(talk)));
    let seconds = "SELECT round(extract(epoch FROM run_at - updated_at))::text FROM worker_tasks";
    assert_eq!(service.database.ask(seconds), "3", "three seconds after the last message");
    assert!(claim(api, json!({ "kinds": ["reply"] })).is_empty(), "the customer may write on");
    // A customer who writes on is answered all the same.
    service.database.run("UPDATE worker_tasks SET opened_at = now() - interval '29 seconds'");
    ask(api, &talk);
    let ahead = "SELECT (run_at - updated_at < interval '2 seconds')::text FROM worker_tasks";
    assert_eq!(service.database.ask(ahead), "true");
    service.database.run("UPDATE worker_tasks SET opened_at = now() - interval '1 hour'");
    ask(api, &talk);
    assert_eq!(claim_one(api, "reply")["payload"]["conversation_id"], json!(talk));
    // Another conversation has its own.
    ask(api, &conversation(api));
    assert_eq!(open_tasks(api).len(), 1);
}

/// chatwoot#13673: two answers, because a message came while the first was being written.
#[test]
fn message_while_a_task_is_claimed_makes_a_new_one_chatwoot_13673() {
    let service = Service::start();
    let api = &service.client;
    let talk = conversation(api);
    ask(api, &talk);
    make_due(&service);
    let claimed = claim_one(api, "reply");
    let last = ask(api, &talk);
    ask(api, &talk);
    let tasks = open_tasks(api);
    assert_eq!(tasks.len(), 1, "one for both");
    assert_ne!(tasks[0]["payload"]["last_message_id"], json!(last));
    assert_ne!(id(&tasks[0]), id(&claimed));
    // The worker of the first dies: what it had is in the second.
    end_leases(&service);
    make_due(&service);
    let again = claim(api, json!({ "kinds": ["reply"], "limit": 10 }));
    assert_eq!(again.iter().map(id).collect::<Vec<_>>(), [id(&tasks[0])]);
    assert_eq!(end(api, &again[0], "completion", json!({})).expect(200).json["status"], json!("completed"));
}

#[test]
fn answer_of_a_person_cancels_open_and_claimed_tasks() {
    let service = Service::start();
    let api = &service.client;
    let (talk, other) = (conversation(api), conversation(api));
    ask(api, &talk);
    ask(api, &other);
    make_due(&service);
    let claimed = claim(api, json!({ "kinds": ["reply"], "limit": 2 }));
    let of = |talk: &str| claimed.iter().find(|task| task["conversation_id"] == json!(talk)).expect("a task").clone();
    ask(api, &talk);
    assert_eq!(open_tasks(api).len(), 1);
    let answer = |author: &str| json!({ "conversation_id": talk, "direction": "outbound", "author": author, "body": "Until six." });
    // What a model or the service writes is no person's.
    for author in ["ai", "system"] {
        api.make("messages", answer(author));
    }
    assert_eq!(open_tasks(api).len(), 1);
    api.make("messages", answer("user"));
    let tasks = api.get(&format!("worker-tasks?conversation_id={talk}")).expect(200).rows().to_vec();
    let ends: BTreeSet<String> =
        tasks.iter().map(|task| format!("{} {}", task["status"], task["cancel_reason"])).collect();
    assert_eq!((tasks.len(), ends), (2, BTreeSet::from([r#""cancelled" "person_answered""#.to_owned()])));
    let late = end(api, &of(&talk), "completion", json!({})).expect(409);
    assert!(late.code() == "lease_lost" && late.text.contains("person_answered"), "{}", late.text);
    end(api, &of(&other), "completion", json!({})).expect(200);
    // The worker goes on with the next message.
    ask(api, &talk);
    assert_eq!(open_tasks(api).len(), 1);
    // In a batch, what comes after a person's answer counts.
    let said = |direction: &str| json!({ "conversation_id": talk, "direction": direction, "body": "x" });
    let batch = |items: Value| api.post("messages/batch/create", json!({ "items": items })).expect(200);
    batch(json!([said("inbound"), said("outbound")]));
    assert!(open_tasks(api).is_empty());
    batch(json!([said("outbound"), said("inbound")]));
    assert_eq!(open_tasks(api).len(), 1);
}

#[test]
fn person_who_takes_over_cancels_the_answer() {
    let service = Service::start();
    let api = &service.client;
    let talk = conversation(api);
    ask(api, &talk);
    api.make("worker-tasks", json!({ "kind": "summary", "conversation_id": talk }));
    let path = format!("conversations/{talk}");
    assert_eq!(api.patch(&path, json!({ "handler": "person" })).expect(200).json["handler"], json!("person"));
    let kinds: Vec<Value> = open_tasks(api).iter().map(|task| task["kind"].clone()).collect();
    assert_eq!(kinds, ["summary"]);
    ask(api, &talk);
    assert_eq!(open_tasks(api).len(), 1, "people answer");
    api.patch(&path, json!({ "handler": "ai" })).expect(200);
    ask(api, &talk);
    assert_eq!(open_tasks(api).len(), 2);
}

/// Messages of a channel: new ones make a task, the channel's past and what the channel itself says do not, and an answer from the
/// app on the business' phone cancels it.
#[test]
fn channel_messages_make_and_cancel_tasks() {
    let service = Service::start();
    let api = &service.client;
    let channel = api.make(
        "channels",
        json!({ "kind": "whatsapp", "name": "Desk", "phone_number_id": NUMBER, "default_handler": "ai", "creates_leads": false }),
    );
    let deliver = |value: &Value| {
        post(&service.stranger(), &body(NUMBER, value)).expect(200);
        until("it is applied", || {
            service.database.ask("SELECT count(*)::text FROM inbound_bodies WHERE state = 'new'") == "0"
        });
    };
    let old = json!({ "from": "447700900123", "id": "wamid.old", "timestamp": (AT - 9_000_000).to_string(), "type": "text",
        "text": { "body": "old" }, "history_context": { "status": "READ" } });
    let thread = json!({ "id": "447700900123", "context": { "wa_id": "447700900123" }, "messages": [old] });
    deliver(&json!({ "history": [{ "metadata": { "phase": 1 }, "threads": [thread] }] }));
    let system = json!({ "from": "447700900123", "id": "wamid.system", "timestamp": AT.to_string(), "type": "system",
        "system": { "type": "customer_identity_changed", "body": "changed" } });
    deliver(&json!({ "messages": [system] }));
    let talk = api.get("conversations").expect(200).rows()[0].clone();
    assert_eq!((&talk["handler"], &talk["channel_id"]), (&json!("ai"), &json!(channel)));
    assert!(open_tasks(api).is_empty());
    let message = text("wamid.1", "447700900123", AT + 1, "Are you open?");
    deliver(&message);
    let first = open_tasks(api);
    assert_eq!(first.len(), 1);
    deliver(&message);
    assert_eq!(open_tasks(api), first, "a redelivery is nothing new");
    let echo = json!({ "from": "493023125010", "to": "447700900123", "id": "wamid.echo", "timestamp": (AT + 2).to_string(),
        "type": "text", "text": { "body": "Until six." } });
    deliver(&json!({ "message_echoes": [echo] }));
    assert!(open_tasks(api).is_empty());
    assert_eq!(task(api, id(&first[0]))["cancel_reason"], json!("person_answered"));
    // What came as the past and then as new is new.
    let again = text("wamid.old", "447700900123", AT - 9_000_000, "old");
    deliver(&again);
    assert_eq!(open_tasks(api).len(), 1);
}

#[test]
fn answer_of_a_person_and_completion_at_once_never_both_succeed() {
    let service = Service::with(&["--db-connections", "4"]);
    let api = &service.client;
    for _ in 0..12 {
        let talk = conversation(api);
        ask(api, &talk);
        make_due(&service);
        let claimed = claim_one(api, "reply");
        let ended = std::thread::scope(|scope| {
            let answer = json!({ "conversation_id": talk, "direction": "outbound", "body": "Until six." });
            scope.spawn(|| api.make("messages", answer));
            scope.spawn(|| end(api, &claimed, "completion", json!({}))).join().expect("an answer").status
        });
        let status = task(api, id(&claimed))["status"].clone();
        assert_eq!(status, json!(if ended == 200 { "completed" } else { "cancelled" }), "{ended}");
    }
}
