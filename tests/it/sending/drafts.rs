//! Drafts: what a model proposes is sent once, when a member approves it.

use serde_json::{Value, json};

use super::{attempts_of, loopback, message, say, until_status};
use crate::inbox::{self, member};
use crate::support::until;

#[test]
fn draft_is_sent_once_when_a_member_approves_it() {
    let (service, thread) = loopback::start();
    let api = &service.client;
    let (amina, _) = member(&service, "amina", "agent");
    let path = format!("conversations/{thread}");
    api.patch(&path, json!({ "handler": "ai" })).expect(200);
    let shown = || api.get(&format!("{path}?include=last_message")).expect(200).json;
    let outbound = || {
        let stats = api.get("stats/messages?from=2026-01-01&to=2027-12-31&interval=month").expect(200);
        stats.json["total"]["outbound"].clone()
    };
    let tasks = |status: &str| api.get(&format!("worker-tasks?status={status}")).expect(200).rows().to_vec();
    let propose = |text: &str| {
        let draft = json!({ "body": text, "author": "ai", "model": "gpt-5-mini", "draft": true });
        api.post(&format!("{path}/messages"), draft).expect(201).json
    };
    let approve = |draft: &Value, last: Option<&str>| {
        let body = last.map_or(json!({}), |last| json!({ "if_last_message_id": last }));
        amina.post(&format!("messages/{}/approval", draft["id"].as_str().expect("an id")), body)
    };

    // It is written, and nothing comes of it.
    let asked = inbox::message(api, &thread, "inbound", json!({}));
    let before = shown();
    let draft = propose("We open at nine.");
    assert_eq!((&draft["status"], &draft["author"]), (&json!("draft"), &json!("ai")));
    assert_eq!((shown(), outbound(), attempts_of(api, &draft["id"])), (before, json!(0), vec![]));
    assert_eq!(tasks("open").len(), 1);

    // A note says nothing to the customer. Its time is that of the approval.
    inbox::message(api, &thread, "outbound", json!({ "kind": "note" }));
    let began = chrono::Utc::now();
    let sent = approve(&draft, Some(&asked)).expect(200).json;
    let sent_at: chrono::DateTime<chrono::Utc> = sent["sent_at"].as_str().expect("a time").parse().expect("a time");
    assert!(sent_at >= began && sent["author"] == "ai", "{sent}");
    assert_eq!((&shown()["last_message"]["id"], outbound()), (&draft["id"], json!(1)));
    let [cancelled] = &tasks("cancelled")[..] else { panic!("{:?}", tasks("cancelled")) };
    assert_eq!((&cancelled["cancel_reason"], tasks("open").len()), (&json!("person_answered"), 0));
    assert_eq!(approve(&draft, None).expect(409).code(), "not_a_draft");
    until_status(api, &draft["id"], "read");
    assert_eq!(attempts_of(api, &draft["id"]).len(), 1);
    let said = format!("messages/{}", draft["id"].as_str().expect("an id"));
    assert_eq!(amina.patch(&said, json!({ "status": "draft" })).expect(422).faults(), ["/status"]);

    // The loopback answers people only: here a person, who writes after the model.
    say(api, &thread, "Until five.");
    let inbound = || {
        let list = api.get(&format!("messages?conversation_id={thread}&direction=inbound&sort=sent_at")).expect(200);
        list.rows().iter().map(|row| row["body"].clone()).collect::<Vec<Value>>()
    };
    until("the customer answers", || inbound().len() > 1);
    assert_eq!(inbound(), ["Hello", "Thank you. I got: “Until five.”"]);

    // The customer writes on before the approval.
    let last = shown()["last_message"]["id"].as_str().expect("an id").to_owned();
    let second = propose("See you then.");
    let more = inbox::message(api, &thread, "inbound", json!({}));
    let moved = approve(&second, Some(&last)).expect(409);
    assert_eq!((moved.code(), &moved.json["last_message_id"]), ("conversation_moved", &json!(more)));
    assert_eq!(message(api, &second["id"])["status"], "draft");
    assert_eq!(attempts_of(api, &second["id"]), Vec::<Value>::new());
}
