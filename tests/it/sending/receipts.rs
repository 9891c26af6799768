//! Read receipts: a customer sees that their newest message was read, once, whichever member reads it.

use serde_json::{Value, json};

use super::{NUMBER, begun_by, connect, hear, loopback, say, start};
use crate::channels::KEY;
use crate::inbox::{self, member};
use crate::support::graph::{Graph, Reply};
use crate::support::whatsapp::{body, post, text};
use crate::support::{Client, Program, Service, until};

const FROM: &str = "447700900123";

/// The messages that were marked as read, in the order of the calls.
pub fn marked(graph: &Graph) -> Vec<String> {
    let calls = graph.calls();
    let marks = calls.iter().filter(|call| call.body["status"] == "read");
    marks.map(|call| call.body["message_id"].as_str().expect("an id").to_owned()).collect()
}

fn success() -> Reply {
    Reply::Answer(200, json!({ "success": true }).to_string())
}

fn read(member: &Client, thread: &str) {
    member.put(&format!("conversations/{thread}/read-position"), json!({})).expect(200);
}

/// Waits until no receipt is due: what was to be sent was sent.
fn until_over(service: &Service) {
    until("no receipt is due", || due(service) == "0");
}

fn due(service: &Service) -> String {
    service.database.ask("SELECT count(*)::text FROM read_receipts WHERE due_at IS NOT NULL")
}

#[test]
fn newest_message_is_marked_once_whichever_member_reads() {
    let graph = Graph::start(|_, _| success());
    let (service, _) = start(&graph);
    let api = &service.client;
    let (amina, _) = member(&service, "amina", "agent");
    let (bo, his) = member(&service, "bo", "viewer");
    let thread = begun_by(&service, FROM);
    hear(&service, "wamid.2", FROM);
    hear(&service, "wamid.3", FROM);
    // What the team says, and what the customer said elsewhere, is none of the channel's.
    inbox::message(api, &thread, "outbound", json!({ "kind": "note" }));
    inbox::message(api, &thread, "inbound", json!({ "external_id": "a letter" }));
    let before = api.get(&format!("conversations/{thread}")).expect(200).json;
    read(&amina, &thread);
    until("it is marked", || marked(&graph) == ["wamid.3"]);
    until_over(&service);
    let call = &graph.calls()[0];
    assert_eq!(
        (call.path.as_str(), &call.headers["authorization"]),
        ("/v24.0/109900000000001/messages", &"Bearer EAAG-test-token".to_owned())
    );
    assert_eq!(call.body, json!({ "messaging_product": "whatsapp", "status": "read", "message_id": "wamid.3" }));
    assert_eq!(api.get(&format!("conversations/{thread}")).expect(200).json, before, "the conversation is not touched");
    // Another member, and a program for them; again; and from an earlier message on.
    read(&bo, &thread);
    let path = format!("conversations/{thread}/read-position");
    api.put(&path, json!({ "user_id": his })).expect(200);
    let first = api.get("messages?external_id=wamid.2").expect(200).rows()[0]["id"].clone();
    amina.put(&path, json!({ "message_id": first, "may_go_back": true })).expect(200);
    read(&amina, &thread);
    assert_eq!(due(&service), "0", "it is marked once");
    // What the business wrote on its phone, and the past.
    let at = chrono::Utc::now().timestamp().to_string();
    let metadata = json!({ "display_phone_number": "493023125010", "phone_number_id": NUMBER });
    let echo = json!({ "id": "wamid.echo", "from": "493023125010", "to": FROM, "timestamp": at, "type": "text", "text": { "body": "Hello" } });
    let old = json!({ "id": "wamid.old", "from": FROM, "timestamp": at, "type": "text", "text": { "body": "Hi" } });
    for (field, member, value) in [
        ("smb_message_echoes", "message_echoes", json!([echo])),
        ("history", "history", json!([{ "threads": [{ "id": FROM, "messages": [old] }] }])),
    ] {
        let mut told = json!({ "messaging_product": "whatsapp", "metadata": metadata });
        told[member] = value;
        let entry = json!([{ "id": "220000000000001", "changes": [{ "field": field, "value": told }] }]);
        let told = json!({ "object": "whatsapp_business_account", "entry": entry }).to_string();
        post(&service.stranger(), told.as_bytes()).expect(200);
    }
    until("all is there", || {
        let known = |id: &str| !api.get(&format!("messages?external_id={id}")).expect(200).rows().is_empty();
        known("wamid.echo") && known("wamid.old")
    });
    read(&bo, &thread);
    assert_eq!(due(&service), "0", "neither is marked");
    // A newer one has its turn.
    hear(&service, "wamid.4", FROM);
    read(&bo, &thread);
    until("it is marked", || marked(&graph).len() > 1);
    until_over(&service);
    assert_eq!(marked(&graph), ["wamid.3", "wamid.4"]);
}

#[test]
fn what_fails_for_a_while_is_tried_again_and_what_lasts_is_left() {
    let graph = Graph::start(|call, before| match (call.body["message_id"].as_str(), before) {
        (_, 0) => Reply::Answer(503, "<html>busy</html>".into()),
        (Some("wamid.lasting"), _) => Reply::error(400, 100),
        (Some("wamid.away"), _) => Reply::Drop,
        _ => success(),
    });
    let (service, channel) = start(&graph);
    let api = &service.client;
    let (amina, _) = member(&service, "amina", "agent");
    let thread = begun_by(&service, FROM);
    let row =
        |column: &str| service.database.ask(&format!("SELECT coalesce(({column})::text, 'none') FROM read_receipts"));
    read(&amina, &thread);
    until("it is to be tried again", || row("due_at > now() AND due_at < now() + interval '10 seconds'") == "true");
    service.database.run("UPDATE read_receipts SET due_at = now()");
    until("it is marked", || row("due_at") == "none");
    let first = format!("wamid.in.{FROM}");
    assert_eq!(marked(&graph), [first.clone(), first.clone()]);
    hear(&service, "wamid.lasting", FROM);
    read(&amina, &thread);
    until("it was tried", || marked(&graph).len() == 3);
    until_over(&service);
    assert_eq!(row("tries"), "1");
    // Not without end.
    hear(&service, "wamid.away", FROM);
    let before = api.get(&format!("conversations/{thread}")).expect(200).json;
    read(&amina, &thread);
    until("it is given up", || {
        service.database.run("UPDATE read_receipts SET due_at = now() WHERE due_at IS NOT NULL");
        row("due_at") == "none"
    });
    assert_eq!(marked(&graph).len(), 7);
    assert_eq!(api.get(&format!("conversations/{thread}")).expect(200).json, before);
    assert_eq!(api.get(&format!("channels/{channel}")).expect(200).json["state"], "active");
}

/// What was read while nobody sends is sent by the next process, unless that is too late, or the channel sends none any more.
#[test]
fn receipts_are_sent_by_another_process_while_they_are_wanted() {
    let graph = Graph::start(|_, _| success());
    let url = graph.url();
    let service = Service::with(&["--sealing-key", KEY, "--whatsapp-api-url", &url]);
    let api = &service.client;
    let (amina, _) = member(&service, "amina", "agent");
    let mut channels = vec![connect(api)];
    assert_eq!(api.get(&format!("channels/{}", channels[0])).expect(200).json["sends_read_receipts"], true);
    for number in 2..=5 {
        let channel = api.make(
            "channels",
            json!({ "kind": "whatsapp", "name": "Another", "phone_number_id": format!("10990000000000{number}") }),
        );
        api.post(&format!("channels/{channel}/secrets"), json!({ "kind": "access_token", "value": "EAAG-another" }))
            .expect(201);
        channels.push(channel);
    }
    let set = |channel: &str, change: Value| api.patch(&format!("channels/{channel}"), change).expect(200);
    set(&channels[4], json!({ "sends_read_receipts": false }));
    for (number, id) in
        [(1, "fresh"), (1, "late"), (1, "claimed"), (2, "paused"), (3, "off"), (4, "deleted"), (5, "never")]
    {
        let from = format!("4477009001{:02}", id.len() * 10 + number);
        let at = chrono::Utc::now().timestamp();
        let said = text(&format!("wamid.{id}"), &from, at, "Hi");
        post(&service.stranger(), &body(&format!("10990000000000{number}"), &said)).expect(200);
        let path = format!("conversations?address=%2B{from}");
        until("the conversation is there", || !api.get(&path).expect(200).rows().is_empty());
        read(&amina, api.get(&path).expect(200).rows()[0]["id"].as_str().expect("an id"));
    }
    assert_eq!(due(&service), "6");
    assert_eq!(marked(&graph), Vec::<String>::new());
    set(&channels[1], json!({ "state": "paused" }));
    set(&channels[2], json!({ "sends_read_receipts": false }));
    api.delete(&format!("channels/{}", channels[3])).expect(204);
    let of = |id: &str| format!("message_id = (SELECT id FROM messages WHERE external_id = 'wamid.{id}')");
    service
        .database
        .run(&format!("UPDATE read_receipts SET queued_at = now() - interval '25 hours' WHERE {}", of("late")));
    // A process has claimed it, and died: its lease has not ended yet.
    service.database.run(&format!(
        "UPDATE read_receipts SET claim = 1, tries = 1, due_at = now() + interval '3 seconds' WHERE {}",
        of("claimed")
    ));
    let settings = [
        ("DATABASE_URL", service.database.url.as_str()),
        ("RAPPORT_WHATSAPP_API_URL", &url),
        ("RAPPORT_SEALING_KEY", KEY),
    ];
    let _worker = Program::work(&settings);
    until_over(&service);
    assert_eq!(marked(&graph), ["wamid.fresh", "wamid.claimed"]);
}

#[test]
fn loopback_takes_receipts() {
    let (service, thread) = loopback::start();
    let (amina, _) = member(&service, "amina", "agent");
    say(&service.client, &thread, "Shall we say ten?");
    let inbound = format!("messages?conversation_id={thread}&direction=inbound");
    until("the customer answers", || !service.client.get(&inbound).expect(200).rows().is_empty());
    read(&amina, &thread);
    until_over(&service);
    assert_eq!(service.database.ask("SELECT tries::text FROM read_receipts"), "1");
}
