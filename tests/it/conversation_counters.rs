//! Tests that derived columns equal a recount after any operations in any order: here those that a conversation derives
//! from its messages.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value as Json, json};

use crate::support::{Client, Service};

/// Random operations, each followed by a recount.
const ROUNDS: usize = 120;
const SEED: u64 = 0x5eed;

/// A small random generator (Knuth's MMIX), so that a failure can be reproduced.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

/// The expected state of a message.
struct Said {
    id: String,
    thread: usize,
    inbound: bool,
    read: bool,
    sent_at: DateTime<Utc>,
    deleted: bool,
}

struct Thread {
    id: String,
    whatsapp: bool,
    started_at: DateTime<Utc>,
    /// The number of messages when it was last marked as read, and the unread count set then.
    marked: (usize, usize),
}

struct World<'s> {
    api: &'s Client,
    random: Random,
    threads: Vec<Thread>,
    /// In order of arrival.
    messages: Vec<Said>,
}

fn time(value: &Json) -> DateTime<Utc> {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no time"))
}

impl World<'_> {
    fn new_message(&mut self) -> (Said, Json) {
        let thread = self.random.below(self.threads.len());
        let inbound = !self.random.one_in(3);
        let read = inbound && self.random.one_in(5);
        let minutes = self.random.below(1200) as i64 - 800;
        let sent_at = Utc::now() + TimeDelta::minutes(minutes);
        let sent_at: DateTime<Utc> = sent_at.to_rfc3339_opts(SecondsFormat::Millis, true).parse().expect("a time");
        let direction = if inbound { "inbound" } else { "outbound" };
        let mut body = json!({
            "conversation_id": self.threads[thread].id, "direction": direction, "body": "Hi", "sent_at": sent_at
        });
        if read {
            body["status"] = json!("read");
        }
        match self.random.below(8) {
            0 if !inbound => body["kind"] = json!("note"),
            1 | 2 if !inbound => body["status"] = json!("draft"),
            _ => {}
        }
        (Said { id: String::new(), thread, inbound, read, sent_at, deleted: false }, body)
    }

    /// Up to `most` messages that are deleted, or not.
    fn pick(&mut self, most: usize, deleted: bool) -> Vec<usize> {
        let mut picked: Vec<usize> = Vec::new();
        for _ in 0..most {
            let place = self.random.below(self.messages.len().max(1));
            if self.messages.get(place).is_some_and(|said| said.deleted == deleted) && !picked.contains(&place) {
                picked.push(place);
            }
        }
        picked
    }

    fn ids(&self, places: &[usize]) -> Vec<&str> {
        places.iter().map(|place| self.messages[*place].id.as_str()).collect()
    }

    fn unread(&self, thread: usize) -> usize {
        let (from, base) = self.threads[thread].marked;
        let since = self.messages.iter().skip(from);
        base + since.filter(|said| said.thread == thread && said.inbound && !said.read && !said.deleted).count()
    }

    /// Performs a random operation, and returns its name.
    fn act(&mut self) -> &'static str {
        match self.random.below(11) {
            10 => {
                let drafts = self.api.get("messages?status=draft&limit=2").expect(200);
                for draft in drafts.rows() {
                    let path = format!("messages/{}", draft["id"].as_str().expect("an id"));
                    self.api.patch(&path, json!({ "status": "queued" })).expect(200);
                }
                "drafts sent"
            }
            0..=2 => {
                let (mut said, body) = self.new_message();
                said.id = self.api.make("messages", body);
                self.messages.push(said);
                "create"
            }
            3 => {
                let made: Vec<(Said, Json)> = (0..5).map(|_| self.new_message()).collect();
                let items: Vec<&Json> = made.iter().map(|(_, body)| body).collect();
                let answer = self.api.post("messages/batch/create", json!({ "items": items })).expect(200).json;
                for ((mut said, _), result) in made.into_iter().zip(answer["results"].as_array().expect("results")) {
                    said.id = result["id"].as_str().expect("an id").to_owned();
                    self.messages.push(said);
                }
                "batch create"
            }
            4 => {
                for place in self.pick(1, false) {
                    self.api.delete(&format!("messages/{}", self.messages[place].id)).expect(204);
                    self.messages[place].deleted = true;
                }
                "delete"
            }
            5 => {
                let picked = self.pick(6, false);
                if !picked.is_empty() {
                    self.api.post("messages/batch/delete", json!({ "ids": self.ids(&picked) })).expect(200);
                    picked.into_iter().for_each(|place| self.messages[place].deleted = true);
                }
                "batch delete"
            }
            6 => {
                for place in self.pick(3, true) {
                    let path = format!("messages/{}/restoration", self.messages[place].id);
                    self.api.post(&path, json!({})).expect(200);
                    self.messages[place].deleted = false;
                }
                "restore"
            }
            7 => {
                let mut picked = self.pick(4, false);
                picked.retain(|place| self.messages[*place].inbound);
                let (read, batch) = (!self.random.one_in(3), self.random.one_in(2));
                let status = json!({ "status": if read { "read" } else { "received" } });
                if batch && !picked.is_empty() {
                    let item = |id: &str| json!({ "id": id, "status": status["status"] });
                    let items: Vec<Json> = self.ids(&picked).into_iter().map(item).collect();
                    self.api.post("messages/batch/update", json!({ "items": items })).expect(200);
                } else {
                    for id in self.ids(&picked) {
                        self.api.patch(&format!("messages/{id}"), status.clone()).expect(200);
                    }
                }
                picked.into_iter().for_each(|place| self.messages[place].read = read);
                "messages read"
            }
            8 => {
                let thread = self.random.below(self.threads.len());
                // Setting the current value changes nothing.
                if self.unread(thread) != 0 {
                    self.api.patch(&format!("conversations/{}", self.threads[thread].id), json!({ "unread_count": 0 }));
                    self.threads[thread].marked = (self.messages.len(), 0);
                }
                "marked read"
            }
            _ => {
                let (thread, number) = (self.random.below(self.threads.len()), 1 + self.random.below(3));
                if self.unread(thread) != number {
                    let body = json!({ "unread_count": number });
                    self.api.patch(&format!("conversations/{}", self.threads[thread].id), body).expect(200);
                    self.threads[thread].marked = (self.messages.len(), number);
                }
                "marked unread"
            }
        }
    }

    /// Compares each conversation with a recount from the API's list of its messages, and with the expected state.
    fn recount(&self, after: &str) {
        for (place, thread) in self.threads.iter().enumerate() {
            let shown = self.api.get(&format!("conversations/{}", thread.id)).expect(200).json;
            let said = self.api.all(&format!("messages?conversation_id={}&limit=500", thread.id));
            let alive = self.messages.iter().filter(|said| said.thread == place && !said.deleted);
            let mut sent: Vec<DateTime<Utc>> = alive.map(|said| said.sent_at).collect();
            sent.sort_unstable_by(|a, b| b.cmp(a));
            let listed: Vec<DateTime<Utc>> = said.iter().map(|said| time(&said["sent_at"])).collect();
            assert_eq!(listed, sent, "the messages themselves, after {after}");
            let counts = |said: &&Json| said["kind"] != "note" && said["status"] != "draft";
            let last = said.iter().filter(counts).map(|said| time(&said["sent_at"])).max();
            assert_eq!(
                time(&shown["last_message_at"]),
                last.unwrap_or(thread.started_at),
                "last message after {after}"
            );
            let inbound =
                |at: &str| said.iter().filter(|said| said["direction"] == "inbound").map(|said| time(&said[at])).max();
            let heard = (!shown["last_inbound_at"].is_null()).then(|| time(&shown["last_inbound_at"]));
            assert_eq!(heard, inbound("created_at"), "last inbound message after {after}");
            let came = inbound("sent_at");
            let window = came.filter(|_| thread.whatsapp).map(|came| came + TimeDelta::hours(24));
            let shows = (!shown["window_expires_at"].is_null()).then(|| time(&shown["window_expires_at"]));
            assert_eq!(shows, window, "window after {after}");
            assert_eq!(shown["unread_count"], self.unread(place), "unread after {after}");
        }
    }
}

#[test]
fn conversation_counters_after_random_changes_equal_recount() {
    let service = Service::start();
    let api = &service.client;
    let threads = ["whatsapp", "sms", "email"].map(|channel| {
        let made = api.create("conversations", json!({ "channel": channel, "address": "+4915112345678" }));
        let id = made["id"].as_str().expect("an id").to_owned();
        Thread { id, whatsapp: channel == "whatsapp", started_at: time(&made["started_at"]), marked: (0, 0) }
    });
    let mut world = World { api, random: Random(SEED), threads: threads.into(), messages: Vec::new() };
    for round in 0..ROUNDS {
        let did = world.act();
        world.recount(&format!("round {round}, {did} (seed {SEED:#x})"));
    }
    assert!(world.messages.iter().any(|said| said.deleted) && world.messages.len() > 40);
}

#[test]
fn conversation_counters_after_concurrent_writes_equal_recount() {
    let service = Service::with(&["--db-connections", "6"]);
    let api = &service.client;
    let thread = api.make("conversations", json!({ "channel": "whatsapp", "address": "+4915112345678" }));
    let path = format!("conversations/{thread}");
    let say = |client: &Client| {
        client.make("messages", json!({ "conversation_id": thread, "direction": "inbound", "body": "Hi" }))
    };
    std::thread::scope(|scope| {
        for worker in 0..5 {
            let (client, path) = (api.clone(), path.clone());
            scope.spawn(move || {
                for round in 0..12 {
                    let id = say(&client);
                    match (worker + round) % 3 {
                        0 => {
                            client.delete(&format!("messages/{id}")).expect(204);
                            client.post(&format!("messages/{id}/restoration"), json!({})).expect(200);
                        }
                        1 => drop(client.delete(&format!("messages/{id}")).expect(204)),
                        _ if worker == 0 => drop(client.patch(&path, json!({ "unread_count": 0 })).expect(200)),
                        _ => {}
                    }
                }
            });
        }
    });
    let shown = api.get(&path).expect(200).json;
    // A change that recounts: the incrementally kept values must be the same.
    let id = say(api);
    api.delete(&format!("messages/{id}")).expect(204);
    let recounted = api.get(&path).expect(200).json;
    for field in ["unread_count", "last_message_at", "last_inbound_at", "window_expires_at"] {
        assert_eq!(shown[field], recounted[field], "{field}");
    }
    let last = api.get(&format!("messages?conversation_id={thread}&limit=1")).expect(200).rows()[0]["sent_at"].clone();
    assert_eq!(shown["last_message_at"], last);
}
