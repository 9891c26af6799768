//! Files that customers send: the message first, its file in a moment, and once.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Files, MEDIA, bytes, count, file, media_path, send_in, start, until_media};
use crate::support::graph::Graph;
use crate::support::until;
use crate::support::whatsapp::{AT, body, post};

/// Nothing is sent through a paused channel; what customers send through it is kept all the same.
#[test]
fn file_of_a_paused_channel_is_fetched() {
    let files = Files::of("image/jpeg", bytes(10));
    let graph = files.graph();
    let (service, channel) = start(&graph, &[]);
    service.client.patch(&format!("channels/{channel}"), json!({ "state": "paused" })).expect(200);
    let came = send_in(&service, "wamid.1", "image", json!({ "mime_type": "image/jpeg" }));
    until_media(&service, &came, "stored");
}

#[test]
fn inbound_file_fetched_stored_and_given() {
    // Of three parts, the last one short.
    let content = bytes(2 * 1024 * 1024 + 17);
    let files = Files::of("image/jpeg", content.clone());
    let graph = files.graph();
    let (service, _) = start(&graph, &[]);
    let api = &service.client;
    let came = send_in(&service, "wamid.1", "image", json!({ "mime_type": "image/jpeg", "caption": "The roof" }));
    assert_eq!((&came["body"], &came["media"]["id"]), (&json!("The roof"), &json!(MEDIA)));
    let stored = until_media(&service, &came, "stored");
    assert_eq!(
        (&stored["media"]["bytes"], &stored["media"]["mime_type"]),
        (&json!(content.len()), &json!("image/jpeg"))
    );
    let (status, head, given) = file(api, &stored, &[]);
    assert_eq!((status, head["content-type"].as_bytes(), given.len()), (200, &b"image/jpeg"[..], content.len()));
    assert!(given == content, "other bytes");
    assert_eq!(head["content-disposition"], "inline");
    assert_eq!(head["x-content-type-options"], "nosniff");
    assert_eq!(head["accept-ranges"], "bytes");
    let etag = head["etag"].to_str().expect("a tag").to_owned();
    assert_eq!(etag, format!("\"{}\"", hex::encode(Sha256::digest(&content))));

    // A client that has it gets nothing; one that seeks gets a part, across the border of two.
    assert_eq!(file(api, &stored, &[("If-None-Match", &etag)]).0, 304);
    let (status, head, part) = file(api, &stored, &[("Range", "bytes=1048570-1048585")]);
    assert_eq!((status, &part[..]), (206, &content[1_048_570..1_048_586]));
    assert_eq!(head["content-range"], format!("bytes 1048570-1048585/{}", content.len()));
    let (status, _, tail) = file(api, &stored, &[("Range", "bytes=-5")]);
    assert_eq!((status, &tail[..]), (206, &content[content.len() - 5..]));
    for whole in [[("Range", "bytes=0-1,4-5"), ("If-Range", &etag)], [("Range", "bytes=0-1"), ("If-Range", "\"x\"")]] {
        assert_eq!(file(api, &stored, &whole).2.len(), content.len(), "{whole:?}");
    }
    let head = api.send(api.request("HEAD", &media_path(&stored))).expect(200);
    assert_eq!((head.header("content-length"), head.text.len()), (content.len().to_string().as_str(), 0));
    api.get(&format!("{}?x=1", media_path(&stored))).expect(400);

    // One attachment, of nobody; and nothing that waits.
    let attachment = api.get(&format!("attachments/{}", stored["attachment_id"].as_str().expect("an id"))).expect(200);
    assert_eq!((&attachment.json["uploaded_by"], &attachment.json["expires_at"]), (&json!(null), &json!(null)));
    let both = api.get(&format!("messages/{}?include=attachment", stored["id"].as_str().expect("an id"))).expect(200);
    assert_eq!(both.json["attachment"], attachment.json);
    assert_eq!((count(&service, "attachment_parts").as_str(), count(&service, "media_fetches").as_str()), ("3", "0"));
    assert_eq!(
        service.database.ask("SELECT count(*)::text FROM attachment_parts WHERE pending_since IS NOT NULL"),
        "0"
    );
    // Both questions had the token, and the first one the number.
    let asked: Vec<_> = graph
        .all_calls()
        .into_iter()
        .filter(|call| call.path.contains(MEDIA) || call.path.starts_with("/file"))
        .collect();
    assert!(asked.iter().all(|call| call.headers["authorization"] == "Bearer EAAG-test-token"));
    assert!(asked[0].path.ends_with(&format!("/{MEDIA}?phone_number_id=109900000000001")), "{}", asked[0].path);
}

#[test]
fn failed_fetch_tried_again_message_neither_lost_nor_doubled() {
    let content = bytes(5_000);
    let files = Files::of("application/pdf", content.clone());
    // The address of minutes is over, twice; then half of the file comes.
    *files.failures.lock() = vec![404, 500];
    *files.content.lock() = content[..2_500].to_vec();
    let graph = files.graph();
    let (service, _) = start(&graph, &[]);
    let api = &service.client;
    let document = json!({ "mime_type": "application/pdf", "filename": "../Büro plan.pdf", "caption": "Our plan" });
    let came = send_in(&service, "wamid.1", "document", document.clone());
    assert_eq!((&came["media_state"], &came["body"]), (&json!("pending"), &json!("Our plan")));
    api.get(&media_path(&came)).expect(404);
    let fetched = || graph.all_calls().iter().filter(|call| call.path.starts_with("/file")).count();
    until("half of it came twice", || {
        service.database.run("UPDATE media_fetches SET due_at = now() WHERE error IS NOT NULL");
        fetched() >= 4
    });
    assert_eq!(count(&service, "attachments"), "0", "half a file is none");
    // Delivered again meanwhile.
    send_in(&service, "wamid.1", "document", document);
    *files.content.lock() = content.clone();
    let stored = until_media(&service, &came, "stored");
    assert!(file(api, &stored, &[]).2 == content, "other bytes");
    let disposition = file(api, &stored, &[]).1["content-disposition"].to_str().expect("text").to_owned();
    assert_eq!(disposition, "attachment; filename*=UTF-8''B%C3%BCro%20plan.pdf");
    assert_eq!(api.get("messages").expect(200).rows().len(), 1);
    let rows = ["attachments", "attachment_parts", "media_fetches"].map(|table| count(&service, table));
    assert_eq!(rows, ["1", "1", "0"], "what broke off left nothing");
}

#[test]
fn fetch_that_lost_its_claim_stores_nothing() {
    let files = Files::of("image/png", bytes(10));
    let graph = {
        let files = files.clone();
        Graph::start(move |call, before| {
            if call.path.starts_with("/file") {
                std::thread::sleep(std::time::Duration::from_millis(1_500));
            }
            files.answer(call, before)
        })
    };
    let (service, _) = start(&graph, &[]);
    let came = send_in(&service, "wamid.1", "image", json!({}));
    let fetched = || graph.all_calls().iter().filter(|call| call.path.starts_with("/file")).count();
    until("it is being fetched", || fetched() == 1);
    // Another process has it now, and takes its time.
    service.database.run("UPDATE media_fetches SET claim = claim + 1, due_at = now() + interval '1 hour'");
    until("its parts came and went", || {
        service.database.ask("SELECT (n_tup_ins > 0)::text FROM pg_stat_user_tables WHERE relname = 'attachment_parts'")
            == "true"
            && count(&service, "attachment_parts") == "0"
    });
    assert_eq!(super::again(&service.client, &came)["media_state"], "pending");
    service.database.run("UPDATE media_fetches SET due_at = now()");
    until_media(&service, &came, "stored");
    assert_eq!((count(&service, "attachments").as_str(), fetched()), ("1", 2));
}

#[test]
fn past_of_a_phone_gets_its_files_when_they_are_named() {
    let files = Files::of("image/jpeg", bytes(100));
    let graph = files.graph();
    let (service, _) = start(&graph, &[]);
    let past = |messages: serde_json::Value| {
        let history = json!([{ "metadata": { "phase": 0, "chunk_order": 1, "progress": 100 },
            "threads": [{ "id": "447700900123", "messages": messages }] }]);
        let mut value = json!({ "history": history, "messaging_product": "whatsapp" });
        value["metadata"] = json!({ "display_phone_number": "493023125010", "phone_number_id": super::NUMBER });
        let entry = json!([{ "id": "220000000000001", "changes": [{ "field": "history", "value": value }] }]);
        json!({ "object": "whatsapp_business_account", "entry": entry }).to_string().into_bytes()
    };
    let placeholder = json!([{ "id": "wamid.old", "from": "447700900123", "timestamp": (AT - 86_400).to_string(),
        "type": "media_placeholder", "history_context": { "status": "READ" } }]);
    post(&service.stranger(), &past(placeholder)).expect(200);
    let find = || service.client.get("messages?external_id=wamid.old").expect(200).rows().first().cloned();
    until("the message is there", || find().is_some());
    let came = find().expect("a message");
    assert_eq!((&came["kind"], &came["media_state"]), (&json!("unknown"), &json!("pending")));
    assert_eq!(count(&service, "media_fetches"), "0", "nothing names its file yet");
    let named = json!({ "messages": [{ "id": "wamid.old", "from": "447700900123", "timestamp": (AT - 86_400).to_string(),
        "type": "image", "image": { "id": MEDIA, "mime_type": "image/jpeg", "caption": "Then" } }] });
    let named = String::from_utf8(body(super::NUMBER, &named)).expect("text");
    post(&service.stranger(), named.replace("\"field\":\"messages\"", "\"field\":\"history\"").as_bytes()).expect(200);
    let stored = until_media(&service, &came, "stored");
    assert_eq!((&stored["kind"], &stored["body"]), (&json!("image"), &json!("Then")));
}
