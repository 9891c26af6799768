//! Sending: what is queued is handed to the channel once, in its order, and what became of it is known.

use serde_json::{Value, json};

use crate::channels::KEY;
use crate::support::graph::Graph;
use crate::support::whatsapp::{body, post, text};
use crate::support::{Client, Service, until};

mod attempts;
mod drafts;
mod groups;
mod loopback;
mod map_and_cards;
mod opt_outs;
mod outcomes;
mod receipts;
mod refusals;
mod typing;

const NUMBER: &str = "109900000000001";

/// Runs tests in a process of their own for each deliberate bug, which they must find.
#[cfg(feature = "mutants")]
#[test]
fn each_mutant_of_sending_is_detected() {
    let finds = [
        ("answer-lost-resent", "sending::outcomes::lost_answer"),
        ("attempt-claim-unchecked", "sending::attempts::outcome_of_a_lost_claim"),
        ("order-forgotten", "sending::attempts::messages_of_a_conversation"),
        ("file-claim-unchecked", "media::fetching::fetch_that_lost_its_claim"),
    ];
    for (name, _) in rapport::base::mutants::SENDING_MUTANTS {
        let (_, test) = finds.into_iter().find(|(known, _)| *known == name).expect("a test that finds it");
        let mut command = std::process::Command::new(std::env::current_exe().expect("the tests"));
        let output = command.arg(test).env("RAPPORT_MUTANT", name).output().expect("the tests");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("1 failed"), "{name} is not found: {said}");
        println!("{name}: found");
    }
}

/// A service that sends to `graph`, and its channel.
fn start(graph: &Graph) -> (Service, String) {
    let url = graph.url();
    let service = Service::with(&[
        "--background-tasks",
        "on",
        "--sealing-key",
        KEY,
        "--whatsapp-api-url",
        &url,
        "--db-connections",
        "4",
    ]);
    let channel = connect(&service.client);
    (service, channel)
}

/// A channel with an access token.
fn connect(api: &Client) -> String {
    let channel = api.make(
        "channels",
        json!({ "kind": "whatsapp", "name": "Front desk", "phone_number_id": NUMBER, "account_id": "220000000000001" }),
    );
    let token = json!({ "kind": "access_token", "value": "EAAG-test-token" });
    api.post(&format!("channels/{channel}/secrets"), token).expect(201);
    channel
}

/// A conversation that a customer has begun just now: its window is open.
fn begun_by(service: &Service, from: &str) -> String {
    let at = chrono::Utc::now().timestamp();
    post(&service.stranger(), &body(NUMBER, &text(&format!("wamid.in.{from}"), from, at, "Hi"))).expect(200);
    let path = format!("conversations?address=%2B{from}");
    until("the conversation is there", || !service.client.get(&path).expect(200).rows().is_empty());
    service.client.get(&path).expect(200).rows()[0]["id"].as_str().expect("an id").to_owned()
}

fn say(api: &Client, conversation: &str, text: &str) -> Value {
    api.post(&format!("conversations/{conversation}/messages"), json!({ "body": text })).expect(201).json
}

fn message(api: &Client, id: &Value) -> Value {
    api.get(&format!("messages/{}", id.as_str().expect("an id"))).expect(200).json
}

/// Waits until a message has a status, and returns it.
fn until_status(api: &Client, id: &Value, status: &str) -> Value {
    until(&format!("the message is {status}"), || message(api, id)["status"] == status);
    message(api, id)
}

/// The attempts of a message, the first one first.
fn attempts_of(api: &Client, id: &Value) -> Vec<Value> {
    let path = format!("message-attempts?sort=created_at&message_id={}", id.as_str().expect("an id"));
    api.get(&path).expect(200).rows().to_vec()
}

/// A customer says something more, just now.
fn hear(service: &Service, id: &str, from: &str) {
    let at = chrono::Utc::now().timestamp();
    post(&service.stranger(), &body(NUMBER, &text(id, from, at, "And more"))).expect(200);
    until("it is there", || !service.client.get(&format!("messages?external_id={id}")).expect(200).rows().is_empty());
}

/// Has the channel tell of a message.
fn tell(service: &Service, status: Value) {
    post(&service.stranger(), &body(NUMBER, &json!({ "statuses": [status] }))).expect(200);
}
