//! Messages to groups: what becomes of one as a whole, and of one participant.

use serde_json::{Value, json};

use super::{NUMBER, attempts_of, message, say, start, tell, until_status};
use crate::support::graph::Graph;
use crate::support::until;
use crate::support::whatsapp::{body, post, text};

const GROUP: &str = "Y2FwaV9ncm91cDoxMjM0NQ";

#[test]
fn group_message_is_sent_and_fails_as_a_whole() {
    let graph = Graph::accepting();
    let (service, _) = start(&graph);
    let api = &service.client;
    let mut said = text("wamid.in", "447700900555", chrono::Utc::now().timestamp(), "Who takes Friday?");
    said["messages"][0]["group_id"] = json!(GROUP);
    post(&service.stranger(), &body(NUMBER, &said)).expect(200);
    let path = format!("conversations?address={GROUP}");
    until("the conversation is there", || !api.get(&path).expect(200).rows().is_empty());
    let thread = api.get(&path).expect(200).rows()[0]["id"].as_str().expect("an id").to_owned();
    let status = |id: &str, status: &str, more: Value| {
        let at = chrono::Utc::now().timestamp().to_string();
        let mut told =
            json!({ "id": id, "status": status, "timestamp": at, "recipient_id": GROUP, "recipient_type": "group" });
        told.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        tell(&service, told);
    };
    let sent = say(api, &thread, "I do");
    until("it is accepted", || message(api, &sent["id"])["external_id"] == "wamid.0");
    assert_eq!(graph.calls()[0].body["recipient_type"], json!("group"));
    status("wamid.0", "sent", json!({}));
    until_status(api, &sent["id"], "sent");
    // One has read it, and one has not got it: neither says anything of the others.
    let error = json!([{ "code": 131026, "title": "Message undeliverable" }]);
    status("wamid.0", "read", json!({ "recipient_participant_id": "447700900123" }));
    status("wamid.0", "failed", json!({ "recipient_participant_id": "447700900124", "errors": error }));
    let other = say(api, &thread, "Nobody?");
    until("it is accepted", || message(api, &other["id"])["external_id"] == "wamid.1");
    status("wamid.1", "failed", json!({ "errors": error }));
    let failed = until_status(api, &other["id"], "failed");
    assert_eq!(
        (&failed["error"]["code"], &attempts_of(api, &other["id"])[0]["state"]),
        (&json!(131_026), &json!("failed"))
    );
    let first = message(api, &sent["id"]);
    assert_eq!((&first["status"], &first["error"], &first["read_at"]), (&json!("sent"), &Value::Null, &Value::Null));
    assert_eq!(attempts_of(api, &sent["id"])[0]["state"], json!("accepted"));
}
