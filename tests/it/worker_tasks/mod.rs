//! Tests of tasks for workers: claims, leases, and the tasks that messages of customers make.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Answer, Client, Service};

const NUMBER: &str = "109900000000001";

mod claims;
mod example;
mod replies;
mod rules;

fn claim(api: &Client, body: Value) -> Vec<Value> {
    api.post("task-claims", body).expect(200).json["data"].as_array().expect("a list").clone()
}

fn claim_one(api: &Client, kind: &str) -> Value {
    let claimed = claim(api, json!({ "kinds": [kind] }));
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    claimed[0].clone()
}

/// Ends or renews the claimed `task`: `act` is the last part of the path.
fn end(api: &Client, task: &Value, act: &str, more: Value) -> Answer {
    let mut body = json!({ "token": task["token"] });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    api.post(&format!("worker-tasks/{}/{act}", id(task)), body)
}

fn id(row: &Value) -> &str {
    row["id"].as_str().expect("an id")
}

fn task(api: &Client, id: &str) -> Value {
    api.get(&format!("worker-tasks/{id}")).expect(200).json
}

fn open_tasks(api: &Client) -> Vec<Value> {
    api.get("worker-tasks?status=open").expect(200).rows().to_vec()
}

/// A conversation that `ai` handles.
fn conversation(api: &Client) -> String {
    let address = format!("visitor {}", Uuid::now_v7());
    api.make("conversations", json!({ "channel": "web", "address": address, "handler": "ai" }))
}

fn ask(api: &Client, conversation: &str) -> String {
    api.make("messages", json!({ "conversation_id": conversation, "direction": "inbound", "body": "Are you open?" }))
}

/// Makes every open task due.
fn make_due(service: &Service) {
    service.database.run("UPDATE worker_tasks SET run_at = now() WHERE status = 'open'");
}

/// Has every lease end.
fn end_leases(service: &Service) {
    service.database.run("UPDATE worker_tasks SET lease_until = now() - interval '1 second' WHERE status = 'claimed'");
}
