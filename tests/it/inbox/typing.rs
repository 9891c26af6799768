//! Who is writing, on the streams of those who see the conversation.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rapport::auth::Role;
use serde_json::{Value, json};

use super::{member, message, thread};
use crate::support::{Client, Service, redis};

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
