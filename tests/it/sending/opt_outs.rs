//! Customers who have stopped marketing messages: what the channel tells of it, and what is refused then.

use serde_json::{Value, json};

use super::{NUMBER, begun_by, start, tell, until_status};
use crate::support::graph::{Graph, Reply};
use crate::support::whatsapp::{AT, post, text};
use crate::support::{Answer, Client, Service, until};

/// Two templates, one of them marketing.
fn with_templates(service: &Service, channel: &str) {
    for (name, category) in [("offer", "marketing"), ("reminder", "utility")] {
        service.database.run(&format!(
            "INSERT INTO templates (business_id, channel_id, name, language, category, status, components)
             VALUES ('{}', '{channel}', '{name}', 'en_US', '{category}', 'approved', '{{\"body\": {{\"text\": \"Hi\"}}, \"buttons\": []}}')",
            service.business
        ));
    }
}

fn send(api: &Client, thread: &str, template: &str, more: Value) -> Answer {
    let mut body = json!({ "template": { "name": template, "language": "en_US" } });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    api.post(&format!("conversations/{thread}/messages"), body)
}

/// What a person wants, as WhatsApp delivers it.
fn prefer(service: &Service, wa_id: &str, value: &str, at: i64) {
    let preference = json!({ "wa_id": wa_id, "detail": "As the test says", "category": "marketing_messages", "value": value, "timestamp": at });
    prefer_as(service, preference);
}

fn prefer_as(service: &Service, preference: Value) {
    let value = json!({
        "messaging_product": "whatsapp", "metadata": { "display_phone_number": "493023125010", "phone_number_id": NUMBER },
        "contacts": [{ "wa_id": preference["wa_id"], "profile": { "name": "Isla Reed" } }], "user_preferences": [preference],
    });
    let entry = json!([{ "id": "220000000000001", "changes": [{ "field": "user_preferences", "value": value }] }]);
    post(&service.stranger(), json!({ "object": "whatsapp_business_account", "entry": entry }).to_string().as_bytes())
        .expect(200);
    until("it is applied", || {
        service.database.ask("SELECT count(*)::text FROM inbound_bodies WHERE state = 'new'") == "0"
    });
}

/// When the person with a number, or an id, has stopped marketing.
fn opted_out_at(api: &Client, value: &str) -> Value {
    api.get(&format!("contact-identities?value={value}")).expect(200).rows()[0]["marketing_opted_out_at"].clone()
}

#[test]
fn marketing_is_refused_to_a_customer_who_has_stopped_it() {
    let graph = Graph::start(|call, before| match call.body["template"]["name"].as_str() {
        Some("offer") if before == 0 => Reply::error(400, 131_050),
        _ => Reply::Accepted(format!("wamid.{before}")),
    });
    let (service, channel) = start(&graph);
    let api = &service.client;
    with_templates(&service, &channel);
    let thread = begun_by(&service, "447700900123");
    assert!(opted_out_at(api, "447700900123").is_null());
    let first = send(api, &thread, "offer", json!({})).expect(201).json;
    assert_eq!(until_status(api, &first["id"], "failed")["error"]["retry"], "opted_out");
    let since = opted_out_at(api, "447700900123");
    assert!(since.is_string());
    let refused = send(api, &thread, "offer", json!({})).expect(409);
    assert_eq!((refused.code(), &refused.json["marketing_opted_out_at"]), ("opted_out", &since));
    assert!(refused.json["detail"].as_str().is_some_and(|detail| detail.contains("utility")), "{}", refused.text);
    // A draft waits; it is refused when it is to be sent.
    let draft = send(api, &thread, "offer", json!({ "draft": true })).expect(201).json;
    let approval = format!("messages/{}/approval", draft["id"].as_str().expect("an id"));
    assert_eq!(api.post(&approval, json!({})).expect(409).code(), "opted_out");
    assert_eq!(graph.calls().len(), 1);
    // What is no marketing goes through, and marketing to others does.
    let reminder = send(api, &thread, "reminder", json!({})).expect(201).json;
    until_status(api, &super::say(api, &thread, "Hello")["id"], "queued");
    let other = begun_by(&service, "447700900124");
    let offer = send(api, &other, "offer", json!({})).expect(201).json;
    until("both are sent", || {
        [&reminder, &offer].iter().all(|sent| super::message(api, &sent["id"])["external_id"].is_string())
    });
    // Until the customer resumes it.
    let later = chrono::Utc::now().timestamp() + 60;
    prefer(&service, "447700900123", "resume", later);
    assert!(opted_out_at(api, "447700900123").is_null());
    api.post(&approval, json!({})).expect(200);
    send(api, &thread, "offer", json!({})).expect(201);
}

/// Where the customer has never written, the number of the contact tells who it is.
#[test]
fn status_that_says_so_is_noted_of_the_contact_with_the_number() {
    let graph = Graph::accepting();
    let (service, channel) = start(&graph);
    let api = &service.client;
    with_templates(&service, &channel);
    let begin = |address: &str| api.make("conversations", json!({ "channel": "whatsapp", "address": address }));
    let contact = api.make("contacts", json!({ "first_name": "Ana", "phone": "+5511987654321" }));
    for (address, expected) in [("+551187654321", 409), ("+447700900555", 201)] {
        let thread = begin(address);
        let sent = send(api, &thread, "offer", json!({})).expect(201).json;
        until("it is accepted", || super::message(api, &sent["id"])["external_id"].is_string());
        let id = super::message(api, &sent["id"])["external_id"].clone();
        let at = chrono::Utc::now().timestamp().to_string();
        let error = json!([{ "code": 131_050, "title": "User has stopped marketing messages" }]);
        tell(
            &service,
            json!({ "id": id, "status": "failed", "timestamp": at, "recipient_id": &address[1..], "errors": error }),
        );
        until_status(api, &sent["id"], "failed");
        send(api, &thread, "offer", json!({})).expect(expected);
    }
    let identities = api.get("contact-identities").expect(200);
    let [known] = identities.rows() else { panic!("{}", identities.text) };
    assert_eq!((&known["contact_id"], &known["value"]), (&json!(contact), &json!("551187654321")));
    assert_eq!(api.get("contacts").expect(200).rows().len(), 1, "nobody is made known by it");
}

#[test]
fn preferences_end_the_same_in_whatever_order_they_come() {
    let service = Service::with(&["--sealing-key", crate::channels::KEY]);
    let api = &service.client;
    super::connect(api);
    let tells = [("stop", 1), ("resume", 2), ("stop", 3), ("resume", 3)];
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1], [1, 3, 0, 2]];
    for (place, order) in orders.iter().enumerate() {
        let from = format!("44770090020{place}");
        super::hear(&service, &format!("wamid.{place}"), &from);
        for told in order.iter().chain(order) {
            prefer(&service, &from, tells[*told].0, AT + tells[*told].1);
        }
        assert_eq!(opted_out_at(api, &from), json!("2026-11-28T10:00:03.000000Z"), "{order:?}");
        prefer(&service, &from, "resume", AT + 4);
        let version = || api.get(&format!("contact-identities?value={from}")).expect(200).rows()[0]["version"].clone();
        let before = version();
        prefer(&service, &from, "stop", AT + 2);
        prefer(&service, &from, "resume", AT + 4);
        assert_eq!((opted_out_at(api, &from), version()), (Value::Null, before), "{order:?}");
    }
    // By another national spelling; and of a person without a number.
    super::hear(&service, "wamid.mx", "5215512345678");
    prefer(&service, "525512345678", "stop", AT);
    assert!(opted_out_at(api, "5215512345678").is_string());
    let mut said = text("wamid.bsuid", "", AT, "Hi");
    said["contacts"][0] = json!({ "profile": { "name": "Kim" }, "user_id": "GB.1349" });
    said["messages"][0]["from_user_id"] = json!("GB.1349");
    post(&service.stranger(), &crate::support::whatsapp::body(NUMBER, &said)).expect(200);
    until("it is there", || !api.get("messages?external_id=wamid.bsuid").expect(200).rows().is_empty());
    prefer_as(
        &service,
        json!({ "user_id": "GB.1349", "category": "marketing_messages", "value": "stop", "timestamp": AT }),
    );
    assert!(opted_out_at(api, "GB.1349").is_string());
    // Of other things, and of people who are not known, nothing is kept.
    let people = || api.get("contact-identities?limit=100").expect(200).rows().len();
    let before = people();
    prefer(&service, "447700900999", "stop", AT);
    prefer_as(&service, json!({ "wa_id": "447700900201", "category": "calls", "value": "stop", "timestamp": AT + 9 }));
    prefer(&service, "447700900201", "maybe", AT + 9);
    assert_eq!((people(), opted_out_at(api, "447700900201")), (before, Value::Null));
    assert_eq!(api.get("inbound-updates").expect(200).rows().len(), 0);
}
