//! The typing indicator: a customer sees that an answer is being written.

use serde_json::json;

use super::receipts::marked;
use super::{begun_by, hear, start};
use crate::inbox::member;
use crate::support::graph::{Graph, Reply};
use crate::support::until;
use crate::support::whatsapp::{body, post, text};

#[test]
fn customer_is_shown_that_a_member_or_a_program_writes() {
    let graph = Graph::start(|_, before| match before {
        0 => Reply::error(400, 100),
        _ => Reply::Answer(200, json!({ "success": true }).to_string()),
    });
    let (service, channel) = start(&graph);
    let api = &service.client;
    let (amina, her) = member(&service, "amina", "agent");
    let threads = ["447700900001", "447700900002", "447700900003", "447700900004"].map(|from| begun_by(&service, from));
    hear(&service, "wamid.newest", "447700900002");
    let path = |place: usize| format!("conversations/{}/typing", threads[place]);
    // Not for who has stopped, and not for a note.
    for body in [json!({ "is_typing": false }), json!({ "is_note": true })] {
        amina.post(&path(0), body).expect(200);
    }
    // That it fails is no matter of the member's.
    let typing = amina.post(&path(0), json!({})).expect(200).json;
    assert_eq!(typing["user_id"], json!(her));
    until("it was tried", || graph.calls().len() == 1);
    // A program; once, however often it says so.
    for _ in 0..3 {
        assert!(api.post(&path(1), json!({})).expect(200).json["user_id"].is_null());
    }
    until("it is shown", || graph.calls().len() == 2);
    let call = &graph.calls()[1];
    assert_eq!(call.path, "/v24.0/109900000000001/messages");
    let expected = json!({
        "messaging_product": "whatsapp", "status": "read", "message_id": "wamid.newest", "typing_indicator": { "type": "text" },
    });
    assert_eq!(call.body, expected);
    // Not after the window has closed, and not where the channel shows nothing of what is read.
    service.database.run(&format!(
        "UPDATE conversations SET window_expires_at = now() - interval '1 second' WHERE id = '{}'",
        threads[2]
    ));
    amina.post(&path(2), json!({})).expect(200);
    amina.post(&path(0), json!({})).expect(200);
    api.patch(&format!("channels/{channel}"), json!({ "sends_read_receipts": false })).expect(200);
    amina.post(&path(3), json!({})).expect(200);
    // Another channel does.
    let other = json!({ "kind": "whatsapp", "name": "Another", "phone_number_id": "109900000000002" });
    let secrets = format!("channels/{}/secrets", api.make("channels", other));
    api.post(&secrets, json!({ "kind": "access_token", "value": "EAAG-another" })).expect(201);
    let said = text("wamid.other", "447700900005", chrono::Utc::now().timestamp(), "Hi");
    post(&service.stranger(), &body("109900000000002", &said)).expect(200);
    let found = "conversations?address=%2B447700900005";
    until("the conversation is there", || !api.get(found).expect(200).rows().is_empty());
    let last = api.get(found).expect(200).rows()[0]["id"].as_str().expect("an id").to_owned();
    amina.post(&format!("conversations/{last}/typing"), json!({})).expect(200);
    until("it is shown", || graph.calls().len() > 2);
    assert_eq!(marked(&graph), ["wamid.in.447700900001", "wamid.newest", "wamid.other"]);
    // Nothing is kept of it.
    assert_eq!(service.database.ask("SELECT count(*)::text FROM read_receipts"), "0");
}
