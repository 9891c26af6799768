//! Files that do not come, and files that go.

use serde_json::{Value, json};

use super::uploads::clean_up;
use super::{Files, again, bytes, count, file, media_path, send_in, start, until_media};
use crate::support::until;
use crate::support::whatsapp::{AT, body, post};

#[test]
fn file_that_the_channel_does_not_have_is_gone() {
    let files = Files::of("image/jpeg", bytes(10));
    *files.known.lock() = json!({ "code": 100 });
    let graph = files.graph();
    let (service, _) = start(&graph, &[]);
    let came = send_in(&service, "wamid.1", "image", json!({}));
    until("it was tried again", || {
        service.database.run("UPDATE media_fetches SET due_at = now() WHERE error IS NOT NULL");
        service.database.ask("SELECT (max(tries) >= 3)::text FROM media_fetches") == "true"
    });
    assert_eq!(again(&service.client, &came)["media_state"], "pending", "the token may lack a permission");
    // A day later.
    service.database.run("UPDATE media_fetches SET tries = 27");
    let gone = until_media(&service, &came, "gone");
    assert!(gone["media"]["reason"].as_str().is_some_and(|reason| reason.contains("#100")), "{gone}");
    assert!(graph.all_calls().iter().filter(|call| call.path.contains("phone_number_id")).count() >= 4);
    assert_eq!(service.client.get(&media_path(&came)).expect(404).code(), "not_found");
    assert_eq!(count(&service, "media_fetches"), "0");
}

#[test]
fn file_not_fetched_within_seven_days_is_gone() {
    let files = Files::of("image/jpeg", bytes(10));
    // The token is over: nobody knows whether the file is there.
    *files.known.lock() = json!({ "code": 190 });
    let graph = files.graph();
    let (service, _) = start(&graph, &[]);
    let came = send_in(&service, "wamid.1", "image", json!({}));
    until("it was tried", || {
        service.database.ask("SELECT (max(tries) >= 2)::text FROM media_fetches WHERE error LIKE '%190%'") == "true"
    });
    assert_eq!(again(&service.client, &came)["media_state"], "pending");
    let kept = service.database.ask(
        "SELECT (gives_up_at = sent_at + interval '7 days')::text FROM media_fetches f JOIN messages m ON m.id = f.message_id",
    );
    assert_eq!(kept, "true");
    service.database.run("UPDATE channels SET state = 'paused'");
    until("nobody has it", || {
        service
            .database
            .ask("SELECT (error IS NOT NULL AND due_at < now() + interval '4 minutes')::text FROM media_fetches")
            == "true"
    });
    service.database.run("UPDATE media_fetches SET due_at = now(), gives_up_at = now() - interval '1 second'");
    clean_up(&service);
    let gone = again(&service.client, &came);
    assert!(gone["media"]["reason"].as_str().is_some_and(|reason| reason.contains("190")), "{gone}");
    assert_eq!((&gone["media_state"], count(&service, "media_fetches").as_str()), (&json!("gone"), "0"));
}

#[test]
fn file_too_large_or_of_a_wrong_type_refused() {
    let large = |kind: &str, mime_type: &str, announced: Value, length: usize| {
        let files = Files::of(mime_type, bytes(length));
        files.known.lock()["file_size"] = announced;
        let graph = files.graph();
        let (service, _) = start(&graph, &[]);
        let came = send_in(&service, "wamid.1", kind, json!({}));
        let refused = until_media(&service, &came, "refused");
        assert_eq!((count(&service, "attachments").as_str(), count(&service, "attachment_parts").as_str()), ("0", "0"));
        service.client.get(&media_path(&came)).expect(404);
        refused["media"]["reason"].as_str().expect("a reason").to_owned()
    };
    assert_eq!(large("image", "image/jpeg", json!(5 * 1024 * 1024 + 1), 10), "It has more than 5242880 bytes.");
    // It says nothing, and does not end.
    assert_eq!(large("sticker", "image/webp", json!(null), 1_200_000), "It has more than 512000 bytes.");
    assert_eq!(
        large("image", "text/html; charset=utf-8", json!(10), 10),
        "It is `text/html`, and was announced as `image`."
    );
}

#[test]
fn file_goes_with_its_message() {
    let files = Files::of("image/jpeg", bytes(1_000));
    let graph = files.graph();
    let (service, _) = start(&graph, &[]);
    let api = &service.client;
    let stored = |id: &str| {
        let came = send_in(&service, id, "image", json!({}));
        until_media(&service, &came, "stored")
    };
    // Its author deletes it.
    let revoked = stored("wamid.1");
    let revoke = json!({ "messages": [{ "id": "wamid.2", "from": "447700900123", "timestamp": (AT + 5).to_string(),
        "type": "revoke", "revoke": { "original_message_id": "wamid.1" } }] });
    post(&service.stranger(), &body(super::NUMBER, &revoke)).expect(200);
    until("it is revoked", || !again(api, &revoked)["revoked_at"].is_null());
    let nothing_left = || {
        assert_eq!(count(&service, "attachments"), "0");
        clean_up(&service);
        assert_eq!(count(&service, "attachment_parts"), "0");
    };
    assert_eq!(file(api, &revoked, &[]).0, 404);
    nothing_left();

    // The person is forgotten, and what they sent.
    let contact = api.get("contacts").expect(200).rows()[0]["id"].as_str().expect("an id").to_owned();
    let kept = stored("wamid.3");
    api.post(&format!("contacts/{contact}/erasure"), json!({ "mode": "anonymise" })).expect(200);
    nothing_left();
    assert_eq!(again(api, &kept)["attachment_id"], Value::Null);
    stored("wamid.4");
    let contact = api.get("contacts?sort=-created_at").expect(200).rows()[0]["id"].as_str().expect("an id").to_owned();
    api.post(&format!("contacts/{contact}/erasure"), json!({ "mode": "delete" })).expect(200);
    nothing_left();
}
