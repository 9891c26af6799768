//! Places on the map and contact cards: as the channel takes them, and kept as those of customers are.

use serde_json::{Value, json};

use super::{begun_by, loopback, message, start};
use crate::support::graph::Graph;
use crate::support::whatsapp::{body, post};
use crate::support::{Service, until};

fn send(service: &Service, thread: &str, body: Value) -> Value {
    service.client.post(&format!("conversations/{thread}/messages"), body).expect(201).json
}

#[test]
fn location_and_contacts_are_sent_as_meta_documents_them_and_kept_as_they_come_in() {
    let graph = Graph::accepting();
    let (service, _) = start(&graph);
    let api = &service.client;
    let thread = begun_by(&service, "447700900123");
    let place =
        json!({ "latitude": 53.7997, "longitude": -1.5492, "name": "Reed Plumbing", "address": "1 Mill Lane, Leeds" });
    let bare = json!({ "latitude": 53, "longitude": -1.5 });
    let cards = json!([
        {
            "name": { "formatted_name": "Amina Reed", "first_name": "Amina", "last_name": "Reed" },
            "phones": [{ "phone": "+44 7700 900124", "type": "WORK", "wa_id": "447700900124" }, { "phone": "0113 496 0123" }],
            "emails": [{ "email": "amina@reed.example", "type": "WORK" }],
        },
        { "name": { "formatted_name": "Front desk" } },
    ]);
    // WhatsApp wants a part of a name, too.
    let mut sent_cards = cards.clone();
    sent_cards[1]["name"]["first_name"] = json!("Front desk");
    let hi = api.get("messages?external_id=wamid.in.447700900123").expect(200).rows()[0]["id"].clone();
    let sent = [
        send(&service, &thread, json!({ "kind": "location", "location": place, "reply_to_id": hi })),
        send(&service, &thread, json!({ "location": bare })),
        send(&service, &thread, json!({ "contacts": cards })),
    ];
    until("all are accepted", || sent.iter().all(|sent| message(api, &sent["id"])["external_id"].is_string()));
    let calls = graph.calls();
    for (call, (kind, expected)) in
        calls.iter().zip([("location", &place), ("location", &bare), ("contacts", &sent_cards)])
    {
        assert_eq!((&call.body["type"], &call.body[kind]), (&json!(kind), expected));
        assert_eq!((&call.body["to"], &call.body["text"]), (&json!("447700900123"), &Value::Null));
    }
    assert_eq!(calls[0].body["context"]["message_id"], "wamid.in.447700900123");
    // A customer sends the same: it is kept in the same way.
    let at = chrono::Utc::now().timestamp().to_string();
    let heard = |id: &str, kind: &str, content: &Value| {
        let mut said = json!({ "id": id, "from": "447700900123", "timestamp": at, "type": kind });
        said[kind] = content.clone();
        said
    };
    let said = [
        heard("wamid.a", "location", &place),
        heard("wamid.b", "location", &bare),
        heard("wamid.c", "contacts", &sent_cards),
    ];
    post(&service.stranger(), &body(super::NUMBER, &json!({ "messages": said }))).expect(200);
    let texts = ["Reed Plumbing, 1 Mill Lane, Leeds", "53, -1.5", "Amina Reed, Front desk"];
    for ((sent, id), text) in sent.iter().zip(["wamid.a", "wamid.b", "wamid.c"]).zip(texts) {
        let path = format!("messages?external_id={id}");
        until("it is there", || !api.get(&path).expect(200).rows().is_empty());
        let heard = api.get(&path).expect(200).rows()[0].clone();
        for member in ["kind", "body", "payload", "media"] {
            assert_eq!(sent[member], heard[member], "{member} of {id}");
        }
        assert_eq!(sent["body"], json!(text));
    }
}

#[test]
fn loopback_answers_a_place_and_a_card_also_one_that_was_a_draft() {
    let (service, thread) = loopback::start();
    let api = &service.client;
    let inbound = format!("messages?conversation_id={thread}&direction=inbound&sort=sent_at");
    let answers = |count: usize| until("the customer answers", || api.get(&inbound).expect(200).rows().len() == count);
    send(&service, &thread, json!({ "location": { "latitude": 53.8, "longitude": -1.5 } }));
    answers(1);
    let card = json!({ "contacts": [{ "name": { "formatted_name": "Amina" } }], "draft": true });
    let draft = send(&service, &thread, card);
    assert_eq!((&draft["status"], &draft["body"]), (&json!("draft"), &json!("Amina")));
    api.post(&format!("messages/{}/approval", draft["id"].as_str().expect("an id")), json!({})).expect(200);
    answers(2);
    assert_eq!(api.get(&inbound).expect(200).rows()[1]["body"], "Thank you, I got it.");
}
