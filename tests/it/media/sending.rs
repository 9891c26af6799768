//! Files that members send: uploaded here, handed to the channel, and named by its id.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::uploads::clean_up;
use super::{Files, NUMBER, bytes, count, file, start, upload};
use crate::support::graph::{Graph, Reply};
use crate::support::whatsapp::{body, post, text};
use crate::support::{Answer, Client, Service, until};

/// A conversation whose window is open.
fn conversation(service: &Service, from: &str) -> String {
    let at = chrono::Utc::now().timestamp();
    post(&service.stranger(), &body(NUMBER, &text(&format!("wamid.in.{from}"), from, at, "Hi"))).expect(200);
    let path = format!("conversations?address=%2B{from}");
    until("the conversation is there", || !service.client.get(&path).expect(200).rows().is_empty());
    service.client.get(&path).expect(200).rows()[0]["id"].as_str().expect("an id").to_owned()
}

fn send(api: &Client, thread: &str, kind: &str, attachment: &Value, more: Value) -> Answer {
    let mut message = json!({ "kind": kind, "media": { "attachment_id": attachment } });
    message.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    api.post(&format!("conversations/{thread}/messages"), message)
}

fn until_status(api: &Client, id: &Value, status: &str) -> Value {
    let path = format!("messages/{}", id.as_str().expect("an id"));
    until(&format!("the message is {status}"), || api.get(&path).expect(200).json["status"] == status);
    api.get(&path).expect(200).json
}

#[test]
fn uploaded_file_sent_by_its_id() {
    let graph = Files::of("image/jpeg", Vec::new()).graph();
    let (service, _) = start(&graph, &[]);
    let api = &service.client;
    let content = bytes(1_200_000);
    let offer = upload(api, "Offer.pdf", "application/pdf", content.clone()).expect(201).json;
    let thread = conversation(&service, "447700900123");
    let sent = send(api, &thread, "document", &offer["id"], json!({ "body": "See page 2" })).expect(201).json;
    assert_eq!(
        (&sent["media_state"], &sent["attachment_id"], &sent["media"]["file_name"], &sent["media"]["bytes"]),
        (&json!("stored"), &offer["id"], &json!("Offer.pdf"), &json!(1_200_000))
    );
    until("it was sent", || graph.calls().len() == 1);
    let call = &graph.calls()[0];
    assert_eq!(call.body["document"], json!({ "id": "uploaded.1", "caption": "See page 2", "filename": "Offer.pdf" }));
    let uploads: Vec<_> = graph.all_calls().into_iter().filter(|call| call.path.ends_with("/media")).collect();
    let form = &uploads[0].raw;
    let has = |part: &[u8]| form.windows(part.len()).any(|window| window == part);
    assert!(has(&content) && has(b"filename=\"Offer.pdf\"") && has(b"application/pdf") && has(b"whatsapp"));
    assert_eq!((uploads.len(), uploads[0].headers["authorization"].as_str()), (1, "Bearer EAAG-test-token"));
    // Its sender sees it, too, and it is kept as long as the message is.
    assert!(file(api, &sent, &[]).2 == content, "other bytes");
    let kept = api.get(&format!("attachments/{}", offer["id"].as_str().expect("an id"))).expect(200).json;
    assert_eq!(kept["expires_at"], Value::Null);

    // In another conversation, too; it goes with the last message that has it.
    let other = conversation(&service, "447700900124");
    let second = send(
        api,
        &other,
        "document",
        &offer["id"],
        json!({ "media": { "attachment_id": offer["id"], "file_name": "Yours.pdf" } }),
    );
    let second = second.expect(201).json;
    until("it was sent", || graph.calls().len() == 2);
    assert_eq!(graph.calls()[1].body["document"]["filename"], "Yours.pdf");
    let delete = |message: &Value| {
        service.database.run(&format!("DELETE FROM messages WHERE id = '{}'", message["id"].as_str().expect("an id")))
    };
    delete(&sent);
    assert_eq!((count(&service, "attachments").as_str(), file(api, &second, &[]).0), ("1", 200));
    delete(&second);
    clean_up(&service);
    assert_eq!((count(&service, "attachments").as_str(), count(&service, "attachment_parts").as_str()), ("0", "0"));
}

#[test]
fn upload_to_the_channel_repeated_until_it_succeeds_message_sent_once() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let graph = Graph::start(move |call, before| match call.path.ends_with("/media") {
        true => match counted.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::Drop,
            1 => Reply::error(500, 131_000),
            _ => Reply::Answer(200, json!({ "id": "uploaded.3" }).to_string()),
        },
        false => Reply::Accepted(format!("wamid.{before}")),
    });
    let (service, _) = start(&graph, &[]);
    let api = &service.client;
    let photo = upload(api, "a.jpg", "image/jpeg", bytes(70)).expect(201).json;
    let thread = conversation(&service, "447700900123");
    let sent = send(api, &thread, "image", &photo["id"], json!({})).expect(201).json;
    until("it was sent", || {
        service.database.run("UPDATE message_attempts SET due_at = now() WHERE state = 'queued'");
        graph.calls().len() == 1
    });
    assert_eq!(
        (graph.calls()[0].body["image"].clone(), tries.load(Ordering::Relaxed)),
        (json!({ "id": "uploaded.3" }), 3)
    );
    let path = format!("messages/{}", sent["id"].as_str().expect("an id"));
    until("it has its id", || api.get(&path).expect(200).json["external_id"] == "wamid.0");
}

#[test]
fn file_that_its_kind_does_not_take_refused() {
    let graph = Files::of("image/jpeg", Vec::new()).graph();
    let (service, _) = start(&graph, &[]);
    let api = &service.client;
    let thread = conversation(&service, "447700900123");
    let gif = upload(api, "a.gif", "image/gif", bytes(10)).expect(201).json;
    let refused = send(api, &thread, "image", &gif["id"], json!({})).expect(422);
    assert_eq!(refused.faults(), ["/media/attachment_id"]);
    assert!(refused.text.contains("image/jpeg, image/png"), "{}", refused.text);
    send(api, &thread, "document", &gif["id"], json!({})).expect(422);
    let gif = upload(api, "a.png", "image/png", bytes(10)).expect(201).json;
    send(api, &thread, "document", &gif["id"], json!({})).expect(201);
    let large = upload(api, "a.webp", "image/webp", bytes(600_000)).expect(201).json;
    send(api, &thread, "sticker", &large["id"], json!({})).expect(422);
    for wrong in [json!(uuid::Uuid::now_v7()), json!("x"), json!(7)] {
        assert_eq!(send(api, &thread, "document", &wrong, json!({})).expect(422).faults()[0], "/media/attachment_id");
    }
    let both = json!({ "media": { "attachment_id": gif["id"], "url": "https://files.example/1.gif" } });
    send(api, &thread, "document", &gif["id"], both).expect(422);
    send(api, &thread, "text", &gif["id"], json!({ "body": "Hi" })).expect(422);
    // A neighbour's file is none.
    let (_, neighbour) = service.neighbour();
    let theirs = upload(&neighbour, "b.pdf", "application/pdf", bytes(10)).expect(201).json;
    send(api, &thread, "document", &theirs["id"], json!({})).expect(422);
    // A draft keeps its file, and is sent with it.
    let draft = send(api, &thread, "document", &gif["id"], json!({ "draft": true, "author": "ai" })).expect(201).json;
    let sent = graph.calls().len();
    // What is approved is what is seen: the file cannot be replaced, and what is sent back as it was read is no change.
    let path = format!("messages/{}", draft["id"].as_str().expect("an id"));
    for media in [json!(null), json!({ "url": "https://files.example/1.png" }), json!({ "mime_type": "image/jpeg" })] {
        assert_eq!(api.patch(&path, json!({ "media": media })).expect(422).faults(), ["/media"]);
    }
    assert_eq!(
        api.patch(&path, json!({ "media": { "attachment_id": gif["id"] } })).expect(422).faults()[0],
        "/media/attachment_id"
    );
    api.patch(&path, json!({ "media": draft["media"], "body": "See here" })).expect(200);
    let row = json!({ "conversation_id": thread, "direction": "outbound", "status": "draft", "kind": "document", "media": { "attachment_id": gif["id"] } });
    api.post("messages", row).expect(422);
    api.post(&format!("messages/{}/approval", draft["id"].as_str().expect("an id")), json!({})).expect(200);
    until("the draft was sent", || graph.calls().len() > sent);
}

#[test]
fn loopback_takes_files_and_sends_a_picture() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let channel = api.make("channels", json!({ "kind": "loopback", "name": "Trial" }));
    let talk = json!({ "channel": "whatsapp", "channel_id": channel, "address": "+4915112345678" });
    let thread = api.make("conversations", talk);
    let photo = upload(api, "a.jpg", "image/jpeg", bytes(70)).expect(201).json;
    let sent = send(api, &thread, "image", &photo["id"], json!({ "body": "Ours" })).expect(201).json;
    until_status(api, &sent["id"], "read");
    api.post(&format!("conversations/{thread}/messages"), json!({ "body": "/photo" })).expect(201);
    let path = format!("messages?conversation_id={thread}&direction=inbound&kind=image");
    let stored = || api.get(&path).expect(200).rows().first().filter(|row| row["media_state"] == "stored").cloned();
    until("the picture is there", || stored().is_some());
    let (status, head, picture) = file(api, &stored().expect("a message"), &[]);
    assert_eq!(
        (status, &head["content-type"], &picture[1..4]),
        (200, &"image/png".parse().expect("a value"), &b"PNG"[..])
    );
}
