//! `GET /conversations/{id}/context`: what belongs to a conversation, in one request, exact however it is cached.

use serde_json::{Value, json};

use crate::sign_in::{admit, client, sign_in};
use crate::support::Service;

fn ids(rows: &Value) -> Vec<&str> {
    rows.as_array().expect("rows").iter().map(|row| row["id"].as_str().expect("an id")).collect()
}

#[test]
fn context_shows_what_is_open_and_follows_every_change() {
    let service = Service::start();
    let api = &service.client;
    let company = api.make("companies", json!({ "name": "Reed Plumbing" }));
    let contact = api.make("contacts", json!({ "first_name": "Isla", "company_id": company }));
    let stranger = api.make("contacts", json!({ "first_name": "Bo" }));
    let thread =
        api.make("conversations", json!({ "channel": "sms", "address": "+447700900123", "contact_id": contact }));
    let path = format!("conversations/{thread}/context");
    let read = || {
        let answer = api.get(&path).expect(200);
        // A second read is answered by the cache, and the same.
        let again = api.get(&path).expect(200);
        assert_eq!((again.header("etag"), &again.json), (answer.header("etag"), &answer.json));
        answer
    };
    let empty = read();
    assert_eq!(empty.json["conversation"]["contact"]["first_name"], json!("Isla"));
    assert_eq!(empty.json["company"], json!({ "id": company, "name": "Reed Plumbing" }));
    assert_eq!(
        (&empty.json["messages"], &empty.json["open_leads"], &empty.json["next_booking"]),
        (&json!([]), &json!([]), &Value::Null)
    );
    assert!(empty.queries() <= 5, "{} queries", empty.queries());
    let unchanged = api.send(api.request("GET", &path).header("If-None-Match", empty.header("etag")));
    assert_eq!(unchanged.status, 304);
    // Each of these changes it.
    for number in 0..12 {
        let sent_at = format!("2026-11-20T09:{number:02}:00Z");
        api.make("messages", json!({ "conversation_id": thread, "direction": "inbound", "body": number.to_string(), "sent_at": sent_at }));
    }
    let said = read().json;
    let texts: Vec<&str> =
        said["messages"].as_array().expect("rows").iter().map(|row| row["body"].as_str().expect("text")).collect();
    assert_eq!(texts, ["11", "10", "9", "8", "7", "6", "5", "4", "3", "2"]);
    let lead = api.make("leads", json!({ "title": "Roof", "contact_id": contact }));
    api.make("leads", json!({ "title": "Won", "contact_id": contact, "status": "won" }));
    api.make("leads", json!({ "title": "Another's", "contact_id": stranger }));
    assert_eq!(ids(&read().json["open_leads"]), [lead.as_str()]);
    api.patch(&format!("leads/{lead}"), json!({ "status": "lost" })).expect(200);
    assert_eq!(read().json["open_leads"], json!([]));
    let late = api.make("tasks", json!({ "title": "Call", "contact_id": contact, "due_at": "2026-12-24T09:00:00Z" }));
    let soon = api.make("tasks", json!({ "title": "Write", "contact_id": contact, "due_at": "2026-12-20T09:00:00Z" }));
    assert_eq!(ids(&read().json["open_tasks"]), [soon.as_str(), late.as_str()]);
    api.patch(&format!("tasks/{soon}"), json!({ "status": "done" })).expect(200);
    assert_eq!(ids(&read().json["open_tasks"]), [late.as_str()]);
    api.patch(&format!("companies/{company}"), json!({ "name": "Reed & Sons" })).expect(200);
    assert_eq!(read().json["company"]["name"], json!("Reed & Sons"));
    api.patch(&format!("contacts/{contact}"), json!({ "company_id": null })).expect(200);
    assert_eq!(read().json["company"], Value::Null);
    let staff = api.make("staff", json!({ "name": "Amina" }));
    let book = |days: i64| {
        let starts = chrono::Utc::now() + chrono::TimeDelta::days(days);
        let ends = starts + chrono::TimeDelta::minutes(30);
        api.make("bookings", json!({ "contact_id": contact, "customer_name": "Isla Reed", "staff_id": staff, "starts_at": starts.to_rfc3339(), "ends_at": ends.to_rfc3339() }))
    };
    book(5);
    let next = book(2);
    assert_eq!(read().json["next_booking"]["id"], json!(next));
    api.patch(&format!("bookings/{next}"), json!({ "status": "cancelled" })).expect(200);
    assert_ne!(read().json["next_booking"]["id"], json!(next));
    // A note is shown in the thread; the conversation itself may change, too.
    api.patch(&format!("conversations/{thread}"), json!({ "contact_id": stranger })).expect(200);
    let moved = read().json;
    assert_eq!((&moved["conversation"]["contact"]["first_name"], &moved["open_tasks"]), (&json!("Bo"), &json!([])));
    let (_, neighbour) = service.neighbour();
    neighbour.get(&path).expect(404);
    assert_eq!(api.get(&format!("{path}?limit=1")).expect(400).code(), "unknown_parameter");
}

/// An agent who sees only what is assigned to them sees so much of the context, too.
#[test]
fn context_leaves_out_what_the_caller_does_not_see() {
    let service = Service::start();
    let api = &service.client;
    admit(&service, "acme", "amina@example.com", "agent");
    let session = sign_in(&service, "amina@example.com").expect(201).json;
    let (agent, user) = (client(&service, &session), session["user"]["id"].clone());
    api.patch(&format!("businesses/{}", service.business), json!({ "agent_visibility": "assigned" })).expect(200);
    let contact = api.make("contacts", json!({ "first_name": "Isla" }));
    let thread = api.make(
        "conversations",
        json!({ "channel": "sms", "address": "+447700900123", "contact_id": contact, "assignee_id": user }),
    );
    let own = api.make("leads", json!({ "title": "Mine", "contact_id": contact, "assignee_id": user }));
    api.make("leads", json!({ "title": "Another's", "contact_id": contact }));
    let path = format!("conversations/{thread}/context");
    assert_eq!(ids(&agent.get(&path).expect(200).json["open_leads"]), [own.as_str()]);
    assert_eq!(ids(&api.get(&path).expect(200).json["open_leads"]).len(), 2);
    api.patch(&format!("conversations/{thread}"), json!({ "assignee_id": null })).expect(200);
    agent.get(&path).expect(404);
}
