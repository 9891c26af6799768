//! Files of messages: what customers send is fetched, what members upload is sent, and who may have which.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::channels::KEY;
use crate::support::graph::{Graph, GraphCall, Reply};
use crate::support::whatsapp::{AT, body, post};
use crate::support::{Answer, Client, Service, until};

mod fetching;
mod losses;
mod sending;
mod uploads;

const NUMBER: &str = "109900000000001";
/// The id of the file that customers send here.
const MEDIA: &str = "1003383421387256";

/// Bytes that repeat at no part's length.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 31 % 251) as u8).collect()
}

/// What Meta says of its files, and gives; a test may change either.
#[derive(Clone)]
struct Files {
    /// The answer to `GET /{id}`; `url` is added where it is an object.
    known: Arc<Mutex<Value>>,
    content: Arc<Mutex<Vec<u8>>>,
    /// Answers to the file's address before the file.
    failures: Arc<Mutex<Vec<u16>>>,
}

impl Files {
    fn of(mime_type: &str, content: Vec<u8>) -> Self {
        let known = json!({
            "id": MEDIA, "mime_type": mime_type, "file_size": content.len(), "sha256": hex::encode(Sha256::digest(&content)),
            "messaging_product": "whatsapp",
        });
        Self { known: Arc::new(Mutex::new(known)), content: Arc::new(Mutex::new(content)), failures: Arc::default() }
    }

    fn graph(&self) -> Graph {
        let files = self.clone();
        Graph::start(move |call, before| files.answer(call, before))
    }

    fn answer(&self, call: &GraphCall, before: usize) -> Reply {
        let host = call.headers.get("host").cloned().unwrap_or_default();
        if call.path.starts_with("/file") {
            let failure = self.failures.lock().pop();
            return match failure {
                Some(status) => Reply::Answer(status, "gone".into()),
                None => Reply::File(self.content.lock().clone()),
            };
        }
        if call.path.contains(&format!("/{MEDIA}")) {
            let mut known = self.known.lock().clone();
            if let Some(code) = known["code"].as_i64() {
                return Reply::error(400, code);
            }
            known["url"] = json!(format!("http://{host}/file?mid={MEDIA}"));
            return Reply::Answer(200, known.to_string());
        }
        if call.path.ends_with("/media") {
            return Reply::Answer(200, json!({ "id": "uploaded.1" }).to_string());
        }
        Reply::Accepted(format!("wamid.{before}"))
    }
}

/// A service whose channel has an access token.
fn start(graph: &Graph, settings: &[&str]) -> (Service, String) {
    let url = graph.url();
    let common = ["--background-tasks", "on", "--sealing-key", KEY, "--whatsapp-api-url", &url];
    let service = Service::with(&[&common, settings].concat());
    let api = &service.client;
    let channel = api.make("channels", json!({ "kind": "whatsapp", "name": "Front desk", "phone_number_id": NUMBER }));
    let token = json!({ "kind": "access_token", "value": "EAAG-test-token" });
    api.post(&format!("channels/{channel}/secrets"), token).expect(201);
    (service, channel)
}

/// A customer sends a file of a kind; returns the message as it is at once.
fn send_in(service: &Service, id: &str, kind: &str, mut media: Value) -> Value {
    media["id"] = json!(MEDIA);
    let mut message = json!({ "id": id, "from": "447700900123", "timestamp": AT.to_string(), "type": kind });
    message[kind] = media;
    let contact = json!({ "profile": { "name": "Isla Reed" }, "wa_id": "447700900123" });
    post(&service.stranger(), &body(NUMBER, &json!({ "contacts": [contact], "messages": [message] }))).expect(200);
    let path = format!("messages?external_id={id}");
    until("the message is there", || !service.client.get(&path).expect(200).rows().is_empty());
    service.client.get(&path).expect(200).rows()[0].clone()
}

fn again(api: &Client, message: &Value) -> Value {
    api.get(&format!("messages/{}", message["id"].as_str().expect("an id"))).expect(200).json
}

/// Waits until the file of a message has a state; files that wait for their turn get it at once.
fn until_media(service: &Service, message: &Value, state: &str) -> Value {
    until(&format!("the file is {state}"), || {
        service.database.run("UPDATE media_fetches SET due_at = now() WHERE due_at > now() AND error IS NOT NULL");
        again(&service.client, message)["media_state"] == state
    });
    again(&service.client, message)
}

fn media_path(message: &Value) -> String {
    format!("messages/{}/media", message["id"].as_str().expect("an id"))
}

/// The file of a message, its bytes and the answer's head.
fn file(api: &Client, message: &Value, headers: &[(&str, &str)]) -> (u16, reqwest::header::HeaderMap, Vec<u8>) {
    let mut request = api.request("GET", &media_path(message));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().expect("an answer");
    (answer.status().as_u16(), answer.headers().clone(), answer.bytes().expect("a body").to_vec())
}

/// How many rows a table has.
fn count(service: &Service, table: &str) -> String {
    service.database.ask(&format!("SELECT count(*)::text FROM {table}"))
}

fn upload(api: &Client, name: &str, kind: &str, content: Vec<u8>) -> Answer {
    api.upload(&format!("attachments?file_name={name}"), kind, content)
}
