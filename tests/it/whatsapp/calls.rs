//! What a channel tells beside messages and their statuses: calls, and that it does not work.

use serde_json::{Value, json};

use super::deliver;
use super::webhook::{NUMBER, connect};
use crate::support::Service;
use crate::support::whatsapp::{AT, body};

const FROM: &str = "447700900123";

fn value_of(field: &str, value: Value) -> Vec<u8> {
    let mut sent: Value = serde_json::from_slice(&body(NUMBER, &value)).expect("JSON");
    sent["entry"][0]["changes"][0]["field"] = json!(field);
    sent.to_string().into_bytes()
}

/// A customer who calls may be written to for a day; the call is one message, whichever of its events comes first.
#[test]
fn call_opens_the_window_and_is_one_message() {
    for events in [["connect", "terminate"], ["terminate", "connect"]] {
        let service = Service::start();
        let api = &service.client;
        connect(api, NUMBER);
        for event in events {
            let mut call = json!({ "id": "wacid.1", "from": FROM, "to": "493023125010", "event": event, "timestamp": AT.to_string(),
                "start_time": AT.to_string(), "direction": "USER_INITIATED", "session": { "sdp": "v=0", "sdp_type": "offer" } });
            if event == "terminate" {
                call["timestamp"] = json!((AT + 100).to_string());
                call["duration"] = json!(95);
                call["status"] = json!("COMPLETED");
            }
            let contact = json!({ "profile": { "name": "Isla Reed" }, "wa_id": FROM });
            let sent = value_of("calls", json!({ "contacts": [contact], "calls": [call] }));
            deliver(&service, &sent);
            deliver(&service, &sent);
        }
        let messages = api.get("messages?include=conversation").expect(200);
        let [call] = messages.rows() else { panic!("{}", messages.text) };
        assert_eq!(
            (&call["kind"], &call["direction"], &call["body"]),
            (&json!("system"), &json!("inbound"), &json!("Call"))
        );
        let told = json!({ "type": "call", "event": "terminate", "direction": "USER_INITIATED", "status": "COMPLETED",
            "start_time": AT.to_string(), "duration": 95 });
        assert_eq!(call["payload"], told, "{events:?}");
        let thread = &call["conversation"];
        assert_eq!(
            (&thread["window_expires_at"], &thread["unread_count"], &thread["address"]),
            (&json!("2026-11-29T10:00:00.000000Z"), &json!(0), &json!(format!("+{FROM}")))
        );
        // A call of the business opens none.
        let own = json!({ "id": "wacid.2", "from": "493023125010", "to": FROM, "event": "terminate", "direction": "BUSINESS_INITIATED",
            "timestamp": (AT + 7_200).to_string() });
        deliver(&service, &value_of("calls", json!({ "calls": [own] })));
        let thread = api.get("conversations").expect(200).rows()[0].clone();
        assert_eq!(thread["window_expires_at"], json!("2026-11-29T10:00:00.000000Z"));
        assert_eq!(api.get("messages?direction=outbound").expect(200).rows().len(), 1);
    }
}

/// An error that no message has pauses the channel, where nothing goes through it any more, and gives an owner the task.
#[test]
fn reported_error_pauses_the_channel_if_it_lasts() {
    let service = Service::start();
    let api = &service.client;
    let channel = connect(api, NUMBER);
    let now = chrono::Utc::now().timestamp();
    let report = |code: i64| {
        let error = json!({ "code": code, "title": "Business account locked", "error_data": { "details": "See the account." } });
        let mut sent: Value = serde_json::from_slice(&body(NUMBER, &json!({ "errors": [error] }))).expect("JSON");
        sent["entry"][0]["time"] = json!(now + 1);
        deliver(&service, sent.to_string().as_bytes());
        api.get(&format!("channels/{channel}")).expect(200).json
    };
    assert_eq!(report(130_429)["state"], json!("active"));
    for code in [131_031, 368, 0] {
        let paused = report(code);
        assert_eq!(paused["state"], json!("paused"), "{code}");
        let reason = paused["state_reason"].as_str().expect("a reason");
        assert!(reason.contains("See the account.") && reason.contains(&code.to_string()), "{reason}");
        // As it was before.
        service.database.run("UPDATE channels SET state = 'active', updated_at = now() - interval '1 minute'");
    }
    assert_eq!(api.get("tasks").expect(200).rows().len(), 3);
}
