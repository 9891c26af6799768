//! The loopback: a conversation happens without an account anywhere.

use serde_json::{Value, json};

use super::{attempts_of, say, until_status};
use crate::support::{Service, until};

/// A service with a loopback, and a conversation on it.
pub fn start() -> (Service, String) {
    let service = Service::with(&["--background-tasks", "on"]);
    service.client.make("channels", json!({ "kind": "loopback", "name": "Trying out" }));
    let thread = service.client.create("conversations", json!({ "channel": "whatsapp", "address": "+447700900123" }));
    assert_eq!((&thread["can_reply"], &thread["window_expires_at"]), (&json!(true), &Value::Null));
    let id = thread["id"].as_str().expect("an id").to_owned();
    (service, id)
}

#[test]
fn loopback_answers_like_a_customer() {
    let (service, thread) = start();
    let api = &service.client;
    let asked = say(api, &thread, "Shall we say ten?");
    assert_eq!(
        (&asked["status"], &asked["author"], &asked["direction"]),
        (&json!("queued"), &json!("user"), &json!("outbound"))
    );
    let read = until_status(api, &asked["id"], "read");
    assert!(read["external_id"].as_str().is_some_and(|id| id.starts_with("loopback.")), "{read}");
    assert!(read["delivered_at"].is_string() && read["cost"].is_null(), "{read}");
    let inbound = format!("messages?conversation_id={thread}&direction=inbound");
    until("the customer answers", || !api.get(&inbound).expect(200).rows().is_empty());
    let answer = api.get(&inbound).expect(200).rows()[0].clone();
    assert_eq!((&answer["body"], &answer["origin"]), (&json!("Yes, that works for me."), &json!("channel")));
    let after = api.get(&format!("conversations/{thread}")).expect(200).json;
    assert_eq!((&after["unread_count"], &after["can_reply"]), (&json!(1), &json!(true)));
    // Its window is no matter.
    service.database.run("UPDATE conversations SET window_expires_at = now() - interval '1 hour'");
    let attempts = attempts_of(api, &asked["id"]);
    assert_eq!((attempts.len(), &attempts[0]["state"], &attempts[0]["number"]), (1, &json!("accepted"), &json!(1)));
    // The first of what is offered is chosen.
    let offer = json!({
        "body": "When?",
        "interactive": { "type": "list", "button": "Times", "sections": [{ "rows": [{ "id": "slot:1", "title": "Mon 09:00" }] }] },
    });
    let offered = api.post(&format!("conversations/{thread}/messages"), offer).expect(201).json;
    assert_eq!(offered["kind"], json!("interactive"));
    let chosen = format!("{inbound}&kind=interactive");
    until("the customer chooses", || !api.get(&chosen).expect(200).rows().is_empty());
    assert_eq!(api.get(&chosen).expect(200).rows()[0]["payload"]["id"], json!("slot:1"));
    // A text asks for a failure, and it is sent again.
    let failing = say(api, &thread, "/fail 131000");
    let failed = until_status(api, &failing["id"], "failed");
    assert_eq!((&failed["error"]["code"], &failed["error"]["retry"]), (&json!(131_000), &json!("later")));
    let again =
        api.post(&format!("messages/{}/retry", failing["id"].as_str().expect("an id")), json!({})).expect(201).json;
    assert_eq!((&again["number"], &again["state"]), (&json!(2), &json!("queued")));
    until_status(api, &failing["id"], "failed");
}

#[test]
fn reaction_is_put_on_the_message() {
    let (service, thread) = start();
    let api = &service.client;
    let asked = say(api, &thread, "Here?");
    until_status(api, &asked["id"], "read");
    let path = format!("conversations/{thread}/messages");
    let react = |emoji: Value| {
        let reaction = json!({ "reaction": { "message_id": asked["id"], "emoji": emoji } });
        let answer = api.post(&path, reaction).expect(201).json;
        assert_eq!(answer["id"], asked["id"]);
        let of_message = format!("messages/{}?include=reactions", asked["id"].as_str().expect("an id"));
        api.get(&of_message).expect(200).json["reactions"].clone()
    };
    assert_eq!(react(json!("👍"))[0]["emoji"], json!("👍"));
    assert_eq!(react(Value::Null), json!([]));
    until("both are sent", || {
        let attempts = attempts_of(api, &asked["id"]);
        attempts.iter().filter(|attempt| attempt["purpose"] == "reaction" && attempt["state"] == "accepted").count()
            == 2
    });
    // Its statuses are not those of the message.
    assert_eq!(
        until_status(api, &asked["id"], "read")["external_id"],
        attempts_of(api, &asked["id"])[0]["external_id"]
    );
}
