//! Tests of webhooks: deliveries arrive signed and in order, whatever the receiver does; and internal addresses are
//! never requested.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rapport::auth::Role;
use rapport::background::Slots;
use rapport::base::egress::{EgressClient, EgressPolicy, Lookup};
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::query_plans::{literal, sql_type};
use crate::support::receiver::{self, Received, Receiver};
use crate::support::{Client, Program, Service};

/// Fast retries, and permission to deliver to this machine.
const HERE: [&str; 8] = [
    "--background-tasks",
    "on",
    "--webhook-allowed-networks",
    "127.0.0.0/8,::1/128",
    "--webhook-retry-schedule",
    "0,0,0,1",
    "--webhook-timeout-seconds",
    "2",
];

fn here(settings: &[&str]) -> Service {
    let given: Vec<&str> = settings.iter().step_by(2).copied().collect();
    let usual = HERE.chunks(2).filter(|pair| !given.contains(&pair[0])).flatten().copied();
    Service::with(&usual.chain(settings.iter().copied()).collect::<Vec<_>>())
}

fn hook(api: &Client, url: &str, types: &[&str]) -> (String, String) {
    let made = api.create("webhooks", json!({ "url": url, "types": types }));
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    (text("id"), text("secret"))
}

fn verifies(secret: &str, received: &Received) -> bool {
    let (id, timestamp) = (received.id(), received.headers["webhook-timestamp"].parse().expect("a time"));
    let expected =
        Webhook::new(secret).expect("a secret").sign(id, timestamp, received.body.as_bytes()).expect("signed");
    received.headers["webhook-signature"].split(' ').any(|signature| signature == expected)
}

fn deliveries(api: &Client, hook: &str, query: &str) -> Vec<Value> {
    api.all(&format!("webhooks/{hook}/deliveries?sort=created_at&limit=500{query}"))
}

/// Waits until at least `count` deliveries to `hook` have the status, and returns these.
fn until(api: &Client, hook: &str, status: &str, count: usize) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let found = deliveries(api, hook, &format!("&status={status}"));
        if found.len() >= count {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(40), "{:#?}", deliveries(api, hook, ""));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `holds` is true.
fn wait(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(40), "no {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn deliver_subscribed_events_signed_and_in_row_order() {
    let service = here(&[]);
    let api = &service.client;
    let receiver = Receiver::content();
    let (id, secret) = hook(api, &receiver.url(), &["lead.*", "*.deleted"]);
    let lead = api.make("leads", json!({ "title": "Desks" }));
    for score in 1..=5 {
        api.patch(&format!("leads/{lead}"), json!({ "score": score })).expect(200);
    }
    let company = api.make("companies", json!({ "name": "Roof Ltd" }));
    api.delete(&format!("companies/{company}")).expect(204);
    let got = receiver.until(7);
    assert!(got.iter().all(|one| verifies(&secret, one) && one.path == "/hook"));
    assert!(!verifies("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", &got[0]));
    let of_lead: Vec<Value> =
        got.iter().map(Received::json).filter(|one| one["data"]["row_id"] == json!(lead)).collect();
    assert_eq!(of_lead[0]["type"], "lead.created");
    let scores: Vec<&Value> = of_lead[1..].iter().map(|one| &one["data"]["changes"]["score"]["new"]).collect();
    assert_eq!(scores, [1, 2, 3, 4, 5]);
    let deleted: Vec<Value> = got.iter().map(Received::json).filter(|one| one["type"] == "company.deleted").collect();
    assert_eq!(deleted.len(), 1, "of the company nothing else");
    // The payload is the event from the event log.
    let events = api.get("events?resource=leads").expect(200);
    assert_eq!(of_lead[0]["data"], events.rows()[0]);
    assert_eq!(
        (&of_lead[0]["timestamp"], got[0].headers["content-type"].as_str()),
        (&events.rows()[0]["created_at"], "application/json")
    );
    let done = until(api, &id, "delivered", 7);
    assert!(
        done.iter()
            .all(|one| one["attempts"] == 1 && one["log"]["1"]["status"] == 204 && one["delivered_at"].is_string())
    );
    assert_eq!(deliveries(api, &id, &format!("&row_id={lead}&event_type=lead.updated")).len(), 5);
    // The neighbour's webhook gets none of these deliveries.
    let (_, neighbour) = service.neighbour();
    neighbour.get(&format!("webhooks/{id}/deliveries")).expect(404);
    neighbour.post(&format!("webhooks/{id}/pings"), json!({})).expect(404);
    let theirs = Receiver::content();
    // The event of the business's creation is sequenced before the webhook exists.
    while service.database.ask("SELECT rapport_is_sequencer_behind()::text") != "false" {
        std::thread::sleep(Duration::from_millis(10));
    }
    hook(&neighbour, &theirs.url(), &["*"]);
    api.make("leads", json!({ "title": "More" }));
    receiver.until(8);
    neighbour.make("campaigns", json!({ "name": "Spring" }));
    let theirs: Vec<Value> = theirs.until(1).iter().map(|one| one.json()["type"].clone()).collect();
    assert_eq!(theirs, ["campaign.created"]);
}

#[test]
fn webhook_secret_shown_once_rotated_signs_for_a_day() {
    let service = here(&[]);
    let api = &service.client;
    let receiver = Receiver::content();
    let (id, first) = hook(api, &receiver.url(), &["*"]);
    assert!(first.starts_with("whsec_"));
    let rotated = api.post(&format!("webhooks/{id}/secret-rotation"), json!({})).expect(200);
    assert_eq!(rotated.header("cache-control"), "no-store");
    let second = rotated.json["secret"].as_str().expect("a secret").to_owned();
    let ping = api.post(&format!("webhooks/{id}/pings"), json!({})).expect(201).json;
    let got = receiver.until_all("a ping", |got| got.iter().any(|one| one.body.contains("webhook.test")));
    let got = got.iter().find(|one| one.json()["type"] == "webhook.test").expect("a ping");
    assert!(verifies(&first, got) && verifies(&second, got));
    assert_eq!(
        (got.json()["data"]["webhook_id"].as_str(), ping["event_id"].as_str()),
        (Some(id.as_str()), Some(got.id()))
    );
    service.database.run("UPDATE webhooks SET previous_until = now()");
    let lead = api.make("leads", json!({ "title": "Desks" }));
    let got = receiver.until_all("an event", |got| got.iter().any(|one| one.body.contains(&lead)));
    let got = got.iter().find(|one| one.body.contains(&lead)).expect("an event");
    assert!(!verifies(&first, got) && verifies(&second, got));
    // The secret is returned nowhere else.
    let told = [
        api.get(&format!("webhooks/{id}")),
        api.get("webhooks"),
        api.patch(&format!("webhooks/{id}"), json!({ "description": "ERP" })),
        api.get("audit-log?limit=500"),
        api.get(&format!("webhooks/{id}/history")),
        api.get("events?limit=500"),
        api.get(&format!("webhooks/{id}/deliveries")),
    ];
    api.delete(&format!("webhooks/{id}")).expect(204);
    let log = api.get("audit-log?limit=500").expect(200);
    for text in told.iter().map(|answer| &answer.text).chain([&log.text]) {
        assert!(!text.contains(&first) && !text.contains(&second) && !text.contains("whsec_"), "{text}");
    }
    assert!(told.iter().all(|answer| answer.status == 200));
    // Callers who may not see API keys may not see webhooks' URLs.
    for role in [Role::Viewer, Role::Agent, Role::Manager] {
        service.client_as(role).get("webhooks").expect(403);
    }
    // Nor can they subscribe to events that they may not read.
    let narrow = |permissions: &[&str]| {
        let key = api.create("api-keys", json!({ "name": "N", "role": "admin", "permissions": permissions }));
        Client::new(service.address, key["key"].as_str().expect("a key"))
    };
    let narrow = narrow(&["webhooks:read", "webhooks:write", "business:read"]);
    let url = receiver.url();
    assert_eq!(narrow.post("webhooks", json!({ "url": url, "types": ["*"] })).expect(403).code(), "forbidden");
    narrow.post("webhooks", json!({ "url": url, "types": ["campaign.*"] })).expect(201);
    let (all, _) = hook(api, &url, &["*"]);
    narrow.patch(&format!("webhooks/{all}"), json!({ "url": format!("{url}/elsewhere") })).expect(403);
    narrow.patch(&format!("webhooks/{all}"), json!({ "types": ["campaign.*"] })).expect(403);
    narrow.post(&format!("webhooks/{all}/secret-rotation"), json!({})).expect(403);
    // Event types that are never delivered cannot be subscribed to.
    let refused = api.post("webhooks", json!({ "url": url, "types": ["api_key.created"] })).expect(422);
    assert_eq!(refused.faults(), ["/types"]);
    assert!(
        api.post("webhooks", json!({ "url": url, "types": ["lead.updatet"] }))
            .expect(422)
            .text
            .contains("lead.updated")
    );
    api.post("webhooks", json!({ "url": url, "types": [] })).expect(422);
    // Only one spelling means all types; others would be accepted and never match.
    let refused = api.post("webhooks", json!({ "url": url, "types": ["*.*", "lead.*"] })).expect(422);
    assert_eq!(refused.faults(), ["/types"]);
    assert!(refused.text.contains("All of them are `*`"), "{}", refused.text);
    api.get("events?type=*.*").expect(400);
}

#[test]
fn webhook_retry_holds_back_later_events_of_the_row() {
    let service = here(&[]);
    let api = &service.client;
    let stubborn = Arc::new(AtomicUsize::new(0));
    let counted = stubborn.clone();
    let receiver = Receiver::start(move |received, _| {
        let first = received.body.contains("\"lead.created\"") && received.body.contains("Stubborn");
        // Later events lack the title: they are recognised by their request id.
        if (first || received.body.contains("stubborn-request")) && counted.fetch_add(1, Ordering::AcqRel) < 3 {
            return (500, "content-length: 9\r\n\r\nnot today".into());
        }
        receiver::ok()
    });
    let (id, _) = hook(api, &receiver.url(), &["*"]);
    let request = api.request("POST", "leads").header("X-Request-Id", "stubborn-request");
    let lead =
        api.send(request.json(&json!({ "title": "Desks" }))).expect(201).json["id"].as_str().expect("an id").to_owned();
    api.patch(&format!("leads/{lead}"), json!({ "score": 1 })).expect(200);
    let other = api.make("leads", json!({ "title": "Other" }));
    let received = |got: &[Received], row: &str| got.iter().filter(|one| one.body.contains(row)).count();
    let got =
        receiver.until_all("deliveries of both rows", |got| received(got, &lead) >= 5 && received(got, &other) > 0);
    let of = |row: &str| got.iter().filter(|one| one.body.contains(row)).collect::<Vec<_>>();
    let stubborn = of(&lead);
    assert_eq!(stubborn.iter().map(|one| one.status).collect::<Vec<_>>(), [500, 500, 500, 204, 204]);
    let ids: Vec<&str> = stubborn.iter().map(|one| one.id()).collect();
    assert!(ids[..4].iter().all(|id| *id == ids[0]) && ids[4] != ids[0], "the same until it arrived: {ids:?}");
    assert_eq!(stubborn[4].json()["type"], "lead.updated", "which waited");
    assert_eq!(of(&other).len(), 1);
    let done = until(api, &id, "delivered", 3);
    // Both may have been written in one transaction: then their times are the same.
    let first = done.iter().find(|one| one["row_id"] == json!(lead) && one["event_type"] == "lead.created");
    let first = first.expect("a delivery");
    assert_eq!(first["attempts"], 4);
    assert_eq!((&first["log"]["1"]["status"], &first["log"]["1"]["answer"]), (&json!(500), &json!("not today")));
    assert_eq!(first["log"]["4"]["status"], 204);
    assert_eq!(api.get(&format!("webhooks/{id}")).expect(200).json["failing_since"], Value::Null);
}

#[test]
fn exhausted_delivery_dead_then_redelivered_and_replayed() {
    let service = here(&["--webhook-retry-schedule", "0,0"]);
    let api = &service.client;
    let broken = Arc::new(AtomicBool::new(true));
    let breaks = broken.clone();
    let receiver = Receiver::start(
        move |_, _| if breaks.load(Ordering::Acquire) { receiver::status(500) } else { receiver::ok() },
    );
    let (id, _) = hook(api, &receiver.url(), &["lead.*"]);
    let lead = api.make("leads", json!({ "title": "Desks" }));
    api.patch(&format!("leads/{lead}"), json!({ "score": 1 })).expect(200);
    let dead = until(api, &id, "dead", 2);
    assert!(dead.iter().all(|one| one["attempts"] == 3), "{dead:#?}");
    assert_eq!(receiver.got().len(), 6, "the second goes on when the first is given up");
    let row = api.get(&format!("webhooks/{id}")).expect(200).json;
    assert!(row["failing_since"].is_string() && row["status"] == "active");
    let told = api.get(&format!("webhooks/{id}/history")).expect(200);
    assert_eq!(told.rows().len(), 1, "that it fails is no change that anybody made: {}", told.text);
    broken.store(false, Ordering::Release);
    let again = format!("webhooks/{id}/deliveries/{}/redelivery", dead[0]["id"].as_str().expect("an id"));
    assert_eq!(api.post(&again, json!({})).expect(200).json["attempts"], 0);
    let done = until(api, &id, "delivered", 1);
    assert_eq!(done[0]["event_id"], dead[0]["event_id"]);
    // All events, in order.
    api.patch(&format!("leads/{lead}"), json!({ "score": 2 })).expect(200);
    until(api, &id, "delivered", 2);
    let before = receiver.got().len();
    let replayed = api.post(&format!("webhooks/{id}/replays"), json!({ "after": 0 })).expect(200).json;
    assert_eq!(replayed, json!({ "deliveries": 3, "next": null }));
    let got = receiver.until(before + 3);
    let numbers: Vec<i64> =
        got[before..].iter().map(|one| one.json()["data"]["sequence"].as_i64().expect("a number")).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    until(api, &id, "delivered", 3);
    let since = json!({ "since": "2020-01-01T00:00:00Z" });
    assert_eq!(api.post(&format!("webhooks/{id}/replays"), since).expect(200).json["deliveries"], 3);
    until(api, &id, "delivered", 3);
    let newest = api.get("events?resource=leads").expect(200).rows().last().expect("an event")["created_at"].clone();
    let replayed = api.post(&format!("webhooks/{id}/replays"), json!({ "since": newest })).expect(200);
    assert_eq!(replayed.json["deliveries"], 1, "{}", replayed.text);
    until(api, &id, "delivered", 3);
    let later = api.post(&format!("webhooks/{id}/replays"), json!({ "since": "2100-01-01T00:00:00Z" })).expect(200);
    assert_eq!(later.json["deliveries"], 0);
    api.post(&format!("webhooks/{id}/replays"), json!({})).expect(422);
    api.post(&format!("webhooks/{id}/replays"), json!({ "after": 1, "since": "2100-01-01T00:00:00Z" })).expect(422);
    // A replay can include events older than the webhook.
    let late = Receiver::content();
    let (second, _) = hook(api, &late.url(), &["lead.updated"]);
    assert_eq!(
        api.post(&format!("webhooks/{second}/replays"), json!({ "after": 0 })).expect(200).json["deliveries"],
        2
    );
    assert_eq!(late.until(2).len(), 2);
    // Deliveries of a deleted webhook are purged.
    api.delete(&format!("webhooks/{id}")).expect(204);
    while service.database.ask("SELECT rapport_purge_deliveries(now() - interval '1 day', 2)::text") != "0" {}
    assert_eq!(service.database.ask("SELECT count(*)::text FROM webhook_deliveries"), "2");
}

#[test]
fn misbehaving_receivers_fail_without_affecting_others() {
    let service = here(&["--webhook-retry-schedule", "0", "--webhook-timeout-seconds", "1"]);
    let api = &service.client;
    let inside = Receiver::content();
    let leads_to = inside.url();
    let elsewhere = Receiver::start(move |received, _| match received.path.as_str() {
        "/moved" => (302, format!("location: {leads_to}\r\ncontent-length: 0\r\n\r\n")),
        "/silent" => {
            std::thread::sleep(Duration::from_secs(3));
            receiver::ok()
        }
        "/endless" => (500, format!("content-length: 100000000\r\n\r\n{}", "x".repeat(1_000_000))),
        "/nonsense" => (500, "content-length: 12\r\n\r\na\u{0}b\u{1b}[31mc\u{7f}d".into()),
        "/busy" => (503, "retry-after: 3600\r\ncontent-length: 0\r\n\r\n".into()),
        _ => receiver::ok(),
    });
    let base = format!("http://{}", elsewhere.address);
    let hooks: Vec<(String, String)> = ["moved", "silent", "endless", "nonsense", "busy"]
        .into_iter()
        .map(|name| (name.to_owned(), hook(api, &format!("{base}/{name}"), &["lead.created"]).0))
        .collect();
    // And one without a listener.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("a port");
    let (nobody, _) = hook(api, &format!("http://{nobody}/"), &["lead.created"]);
    api.make("leads", json!({ "title": "Desks" }));
    let log = |id: &str, status: &str| until(api, id, status, 1)[0].clone();
    for (name, id) in &hooks {
        let last = |status: &str| log(id, status)["log"]["2"].clone();
        match name.as_str() {
            "moved" => {
                let told = last("dead");
                assert_eq!(told["status"], 302);
                assert!(told["error"].as_str().expect("an error").contains("not followed"), "{told}");
            }
            "silent" => assert!(last("dead")["error"].as_str().expect("an error").contains("did not answer")),
            "endless" => assert_eq!(last("dead")["answer"].as_str().expect("a part").len(), 300),
            "nonsense" => assert_eq!(last("dead")["answer"], "ab[31mcd"),
            _ => {
                let began = Instant::now();
                let waits = loop {
                    let waits = log(id, "pending");
                    if waits["attempts"] == 1 || began.elapsed() > Duration::from_secs(20) {
                        break waits;
                    }
                };
                let next: chrono::DateTime<chrono::Utc> =
                    waits["next_attempt_at"].as_str().expect("a time").parse().expect("a time");
                assert!(next > chrono::Utc::now() + chrono::Duration::minutes(50), "it asked for an hour: {waits}");
            }
        }
    }
    assert!(log(&nobody, "dead")["log"]["1"]["error"].as_str().expect("an error").contains("could not be reached"));
    assert!(inside.got().is_empty(), "a redirect is not followed");
    // Slow receivers have not delayed the others.
    assert!(elsewhere.got().iter().filter(|one| one.path == "/moved").count() == 2);
}

#[test]
fn webhook_410_or_long_failure_pauses_queue_until_resumed() {
    let service = here(&["--webhook-disable-after-hours", "5"]);
    let api = &service.client;
    let answer = Arc::new(AtomicUsize::new(410));
    let answers = answer.clone();
    let receiver = Receiver::start(move |_, _| match answers.load(Ordering::Acquire) {
        204 => receiver::ok(),
        status => receiver::status(status as u16),
    });
    let (id, _) = hook(api, &receiver.url(), &["lead.*"]);
    let row = || api.get(&format!("webhooks/{id}")).expect(200).json;
    let paused = || {
        let began = Instant::now();
        while row()["status"] != "paused" {
            assert!(began.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(20));
        }
        row()["paused_because"].as_str().expect("a reason").to_owned()
    };
    api.make("leads", json!({ "title": "One" }));
    assert!(paused().contains("410"));
    answer.store(204, Ordering::Release);
    let (before, lead) = (receiver.got().len(), api.make("leads", json!({ "title": "Two" })));
    assert_eq!(until(api, &id, "pending", 1)[0]["row_id"], json!(lead));
    // A ping is possible meanwhile.
    api.post(&format!("webhooks/{id}/pings"), json!({})).expect(201);
    assert_eq!(receiver.until(before + 1)[before].json()["type"], "webhook.test");
    let active = api.patch(&format!("webhooks/{id}"), json!({ "status": "active" })).expect(200).json;
    assert_eq!((&active["paused_because"], &active["failing_since"]), (&Value::Null, &Value::Null));
    assert_eq!(receiver.until(before + 2)[before + 1].json()["data"]["row_id"], json!(lead));
    // A webhook that fails for too long is paused as well.
    answer.store(500, Ordering::Release);
    api.make("leads", json!({ "title": "Three" }));
    until(api, &id, "dead", 2);
    service.database.run("UPDATE webhooks SET failing_since = now() - interval '6 hours'");
    api.make("leads", json!({ "title": "Four" }));
    assert_eq!(paused(), "Nothing has arrived for 5 hours.");
    let told = api.get(&format!("webhooks/{id}/history")).expect(200);
    assert_eq!(told.rows()[0]["changes"]["status"], json!({ "old": "active", "new": "paused" }));
    assert_eq!(told.rows()[0]["actor_kind"], "system");
}

#[test]
fn erased_contact_data_not_delivered() {
    let service = here(&[]);
    let api = &service.client;
    let receiver = Receiver::start(|received, _| {
        let echo = received.body.clone();
        (500, format!("content-length: {}\r\n\r\n{echo}", echo.len()))
    });
    let (id, _) = hook(api, &receiver.url(), &["contact.*"]);
    let contact = api.make("contacts", json!({ "first_name": "Anna" }));
    api.patch(&format!("webhooks/{id}"), json!({ "status": "paused" })).expect(200);
    api.patch(&format!("contacts/{contact}"), json!({ "first_name": "Annabella" })).expect(200);
    api.post(&format!("contacts/{contact}/erasure"), json!({})).expect(200);
    api.patch(&format!("webhooks/{id}"), json!({ "status": "active" })).expect(200);
    receiver.until_all("erasure", |got| got.iter().any(|one| one.body.contains("contact.erased")));
    for received in receiver.got() {
        assert!(!received.body.contains("Annabella"), "{}", received.body);
    }
}

#[test]
fn receiver_response_about_erased_contact_not_stored() {
    let service = here(&["--webhook-timeout-seconds", "30"]);
    let api = &service.client;
    let (came, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (comes, goes) = (came.clone(), go.clone());
    let receiver = Receiver::start(move |received, _| {
        comes.fetch_add(1, Ordering::AcqRel);
        wait("the end of it", || goes.load(Ordering::Acquire));
        (500, format!("content-length: {}\r\n\r\n{}", received.body.len(), received.body))
    });
    let (id, _) = hook(api, &receiver.url(), &["contact.created"]);
    let contact = api.make("contacts", json!({ "first_name": "Anna" }));
    wait("a delivery", || came.load(Ordering::Acquire) == 1);
    api.post(&format!("contacts/{contact}/erasure"), json!({})).expect(200);
    go.store(true, Ordering::Release);
    let one = until(api, &id, "dead", 1)[0].clone();
    assert_eq!(one["log"]["1"]["status"], 500);
    assert!((1..=5).all(|attempt| one["log"][attempt.to_string()].get("answer").is_none()), "{one}");
}

#[test]
fn slow_receivers_of_one_tenant_do_not_delay_others() {
    let service =
        here(&["--webhook-concurrency", "4", "--webhook-concurrency-each", "2", "--webhook-timeout-seconds", "50"]);
    let api = &service.client;
    let (came, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (comes, goes) = (came.clone(), go.clone());
    let slow = Receiver::start(move |_, _| {
        comes.fetch_add(1, Ordering::AcqRel);
        wait("the end of it", || goes.load(Ordering::Acquire));
        receiver::ok()
    });
    let slow_ones: Vec<String> = (0..3).map(|_| hook(api, &slow.url(), &["lead.*"]).0).collect();
    (0..5).for_each(|n| drop(api.make("leads", json!({ "title": format!("Lead {n}") }))));
    wait("deliveries", || came.load(Ordering::Acquire) == 2);
    let (_, neighbour) = service.neighbour();
    let quick = Receiver::content();
    hook(&neighbour, &quick.url(), &["lead.*"]);
    (0..5).for_each(|n| drop(neighbour.make("leads", json!({ "title": format!("Theirs {n}") }))));
    quick.until(5);
    assert_eq!(came.load(Ordering::Acquire), 2, "half of the delivery slots, however many webhooks it has");
    go.store(true, Ordering::Release);
    slow_ones.iter().for_each(|id| drop(until(api, id, "delivered", 5)));
}

#[test]
fn tenant_webhook_lock_taken_first_and_blocks_no_other() {
    let service = here(&[]);
    let api = &service.client;
    let (receiver, quick) = (Receiver::content(), Receiver::content());
    let (id, _) = hook(api, &receiver.url(), &["lead.*"]);
    let business = service.database.ask("SELECT business_id::text FROM webhooks");
    let (_, neighbour) = service.neighbour();
    hook(&neighbour, &quick.url(), &["lead.*"]);
    let mut conn = service.database.connect();
    let mut run = |sql: &str| crate::support::statement(sql).run(&mut conn).expect("done");
    run("BEGIN");
    run(&format!("SELECT pg_advisory_xact_lock(rapport_webhook_lock('{business}'))"));
    api.make("leads", json!({ "title": "Kept waiting" }));
    neighbour.make("leads", json!({ "title": "Theirs" }));
    quick.until(1);
    assert!(receiver.got().is_empty());
    std::thread::scope(|scope| {
        let since = json!({ "since": "2020-01-01T00:00:00Z" });
        let replays = scope.spawn(move || api.post(&format!("webhooks/{id}/replays"), since));
        let waits = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'advisory' AND query LIKE                      '%pg_advisory_xact_lock(rapport_webhook_lock(%' AND query NOT LIKE '%rapport_add_deliveries%'";
        wait("a replay that waits", || service.database.ask(waits) != "0");
        // As the holder of the lock does after a failed delivery: it must not wait for the replay.
        run("SET LOCAL lock_timeout = '2s'");
        run("UPDATE webhooks SET failing_since = now()");
        run("COMMIT");
        replays.join().expect("an answer").expect(200);
    });
    receiver.until_all("what was kept", |got| got.iter().any(|one| one.body.contains("lead.created")));
}

#[test]
fn claim_deliveries_paused_backlog_costs_no_more_pages() {
    let service = Service::start();
    let api = &service.client;
    let (id, _) = hook(api, "https://example.com/hook", &["lead.*"]);
    api.patch(&format!("webhooks/{id}"), json!({ "status": "paused" })).expect(200);
    let write = |count: usize, sequence: &str| {
        service.database.run(&format!(
            "INSERT INTO webhook_deliveries (business_id, webhook_id, event_id, sequence, event_type, row_id, status) \
             SELECT business_id, id, gen_random_uuid(), {sequence}, 'lead.updated', gen_random_uuid(), 'pending' \
             FROM webhooks, generate_series(1, {count}) n"
        ));
    };
    write(20_000, "n");
    write(3, "0");
    let claim = || {
        let statement = rapport::integrations::webhooks::claim::claim(64, &Slots::new(64, 8), 30);
        let (text, values) = statement.numbered();
        let types: Vec<&str> = values.iter().map(|value| sql_type(value)).collect();
        let literals: Vec<String> = values.iter().map(|value| literal(value)).collect();
        let mut conn = service.database.connect();
        let prepare = format!("PREPARE claim ({}) AS {text}", types.join(", "));
        crate::support::statement(prepare).run(&mut conn).expect("prepared");
        let explain = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE claim ({})", literals.join(", "));
        let row = crate::support::statement(explain).row(&mut conn).expect("a plan").expect("a plan");
        let plan: Value = serde_json::from_str(row.text(0).expect("text")).expect("JSON");
        let top = &plan[0]["Plan"];
        let pages = ["Shared Hit Blocks", "Shared Read Blocks"].map(|name| top[name].as_i64().expect("a number"));
        (top["Actual Rows"].as_f64().expect("a number") as i64, pages.iter().sum::<i64>())
    };
    let (taken, pages) = claim();
    assert_eq!(taken, 3, "the pings");
    assert!(pages < 300, "{pages} pages");
    let (taken, pages) = claim();
    assert_eq!(taken, 0);
    assert!(pages < 100, "{pages} pages");
    service.database.run("UPDATE webhooks SET status = 'active'");
    let (taken, pages) = claim();
    assert_eq!(taken, 8);
    assert!(pages < 500, "{pages} pages");
}

#[test]
fn create_webhook_over_tenant_limit_409() {
    let service = Service::start();
    let api = &service.client;
    let ids: Vec<String> = (0..50).map(|_| hook(api, "https://example.com/hook", &["lead.*"]).0).collect();
    let one_more = || api.post("webhooks", json!({ "url": "https://example.com/hook", "types": ["*"] }));
    assert_eq!(one_more().expect(409).code(), "too_many_webhooks");
    api.delete(&format!("webhooks/{}", ids[0])).expect(204);
    one_more().expect(201);
}

/// Addresses that must never be requested, in all notations.
const HOSTILE: [&str; 84] = [
    "https://127.0.0.1/",
    "https://127.0.0.1:8443/x",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.0.0.1./",
    "https://127.255.255.254/",
    "https://0.0.0.0/",
    "https://0/",
    "https://0.1.2.3/",
    "https://10.0.0.1/",
    "https://10.255.255.255/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://3232235777/",
    "https://100.64.0.1/",
    "https://100.100.100.200/",
    "https://100.127.255.255/",
    "https://169.254.169.254/latest/meta-data/",
    "https://0xa9fea9fe/",
    "https://169.254.0.1/",
    "https://168.63.129.16/",
    "https://192.0.0.192/",
    "https://192.0.2.1/",
    "https://198.18.0.1/",
    "https://198.19.255.255/",
    "https://198.51.100.7/",
    "https://203.0.113.7/",
    "https://192.88.99.1/",
    "https://224.0.0.1/",
    "https://239.255.255.255/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::]/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::127.0.0.1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:0:127.0.0.1]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[64:ff9b::10.0.0.1]/",
    "https://[64:ff9b:1::1]/",
    "https://[2002:7f00:1::1]/",
    "https://[2002:a00:1::]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2001:0:7f00:1::1]/",
    "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "https://[2001:db8::1]/",
    "https://[3fff::1]/",
    "https://[100::1]/",
    "https://[5f00::1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://api.localhost/",
    "https://metadata.google.internal/",
    "https://printer.local/",
    "https://intranet/",
    "https://router.lan/",
    "https://1.0.0.127.in-addr.arpa/",
    "https://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
    "https://127\u{3002}0\u{3002}0\u{3002}1/",
    "https://\u{2460}27.0.0.1/",
    "https://%31%32%37.0.0.1/",
    "https://%6cocalhost/",
    "https://example.com@127.0.0.1/",
    "https://user:password@example.com/",
    "https://@example.com/",
    "https://example.com\\@127.0.0.1/",
    "http://example.com/",
    "http://93.184.215.14/",
    "https://127.0.0.1:99999/",
];

/// URLs that are invalid anyway.
const NONSENSE: [&str; 12] = [
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "//example.com/",
    "example.com",
    "https://",
    "https:///path",
    "https://example.com/#part",
    "https://exa mple.com/",
    "https://example.com/\u{9}x",
];

#[test]
fn create_webhook_private_or_invalid_url_422() {
    let service = Service::start();
    let api = &service.client;
    for url in HOSTILE.iter().chain(&NONSENSE) {
        let refused = api.post("webhooks", json!({ "url": url, "types": ["*"] }));
        assert_eq!((refused.status, refused.faults()), (422, vec!["/url"]), "{url}: {}", refused.text);
    }
    for url in [
        "https://example.com/hook",
        "https://8.8.8.8:8443/x?y=z",
        "https://[2606:4700::1111]/",
        "https://bücher.example/",
    ] {
        api.post("webhooks", json!({ "url": url, "types": ["*"] })).expect(201);
    }
    let mut long = "https://example.com/".to_owned();
    long.push_str(&"x".repeat(2_000));
    api.post("webhooks", json!({ "url": long, "types": ["*"] })).expect(422);
}

#[test]
fn egress_resolved_address_checked_on_every_request() {
    let receiver = Receiver::content();
    let port = receiver.address.port();
    let lookup = |answers: Vec<Vec<IpAddr>>| -> (Lookup, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let lookup: Lookup = Arc::new(move |_| {
            let turn = count.fetch_add(1, Ordering::AcqRel).min(answers.len() - 1);
            let answer = answers[turn].clone();
            Box::pin(async move { Ok(answer) })
        });
        (lookup, asked)
    };
    let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
    let post = |outbound: &EgressClient, url: &str| {
        let headers = [("webhook-id", "1".to_owned())];
        let posted = outbound.post(url, &headers, bytes::Bytes::from_static(b"{}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(posted)
    };
    let patience = Duration::from_millis(500);
    let open = |networks: &[&str], lookup: Lookup| {
        let networks: Vec<ipnet::IpNet> = networks.iter().map(|network| network.parse().expect("a network")).collect();
        EgressClient::new(EgressPolicy::new(&networks), patience, lookup)
    };
    // Names that resolve to a forbidden address, at any time.
    let hosts: Vec<IpAddr> = HOSTILE
        .iter()
        .filter_map(|url| url::Url::parse(url).ok()?.host().map(|host| host.to_owned()))
        .filter_map(|host| match host {
            url::Host::Ipv4(address) if !url::Host::<String>::Ipv4(address).to_string().starts_with("93.") => {
                Some(address.into())
            }
            url::Host::Ipv6(address) => Some(address.into()),
            _ => None,
        })
        .collect();
    assert!(hosts.len() > 60);
    let answer = Arc::new(Mutex::new(Vec::new()));
    let names: Lookup = {
        let answer = answer.clone();
        Arc::new(move |_| {
            let answer = answer.lock().clone();
            Box::pin(async move { Ok(answer) })
        })
    };
    let outbound = open(&[], names);
    for host in &hosts {
        // One forbidden address among allowed ones rejects them all.
        for found in [vec![*host], vec![address("93.184.215.14"), *host]] {
            *answer.lock() = found;
            let refused = post(&outbound, "https://hooks.example.com/").expect_err("refused");
            assert!(refused.contains("nothing is sent"), "{host}: {refused}");
        }
    }
    // DNS rebinding: a name that first resolved to a public address resolves to a private one when it is used.
    let (names, asked) = lookup(vec![vec![address("93.184.215.14")], vec![address("127.0.0.1")]]);
    let outbound = open(&[], names);
    let url = format!("https://rebinding.example.com:{port}/");
    assert!(outbound.policy.read(&url).is_ok());
    let first = post(&outbound, &url).expect_err("nobody is there");
    assert!(!first.contains("nothing is sent"), "{first}");
    let second = post(&outbound, &url).expect_err("refused");
    assert!(second.contains("nothing is sent"), "{second}");
    assert_eq!(asked.load(Ordering::Acquire), 2, "asked each time, and once each time");
    // Plain HTTP only to allowed internal networks, and internal networks only if allowed.
    let (names, _) = lookup(vec![vec![address("93.184.215.14")]]);
    let refused = post(&open(&["127.0.0.0/8"], names), "http://plain.example.com/").expect_err("refused");
    assert!(refused.contains("https"), "{refused}");
    let (names, _) = lookup(vec![vec![address("127.0.0.1")]]);
    let answer =
        post(&open(&["127.0.0.0/8"], names), &format!("http://inside.example.com:{port}/x")).expect("an answer");
    assert_eq!((answer.status, receiver.got().len()), (204, 1));
    let (names, _) = lookup(vec![vec![address("10.0.0.1")]]);
    let refused = post(&open(&["127.0.0.0/8"], names), "https://inside.example.com/").expect_err("refused");
    assert!(refused.contains("private"), "{refused}");
    // A literal IP address is checked as well.
    let (names, asked) = lookup(vec![vec![address("93.184.215.14")]]);
    let outbound = open(&[], names);
    post(&outbound, &format!("http://127.0.0.1:{port}/")).expect_err("refused");
    post(&outbound, "https://[::ffff:10.0.0.1]/").expect_err("refused");
    assert_eq!((asked.load(Ordering::Acquire), receiver.got().len()), (0, 1));
}

/// A Node.js that runs TypeScript directly.
fn node() -> Option<String> {
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/nodejs/bin/node");
    let named = std::env::var("RAPPORT_TEST_NODE").ok();
    let candidates = named.into_iter().chain([fetched.to_owned(), "node".to_owned()]);
    candidates.into_iter().find(|node| {
        let version = Command::new(node).arg("--version").stderr(Stdio::null()).output().ok();
        let version =
            version.map(|output| String::from_utf8_lossy(&output.stdout).trim().trim_start_matches('v').to_owned());
        let mut parts =
            version.iter().flat_map(|version| version.split('.')).filter_map(|part| part.parse::<u32>().ok());
        matches!((parts.next(), parts.next()), (Some(22), Some(18..)) | (Some(23..), Some(_)))
    })
}

#[test]
fn docs_signature_verifier_accepts_only_valid_deliveries() {
    let document = include_str!("../../docs/EVENTS.md");
    let verifier = include_str!("../../docs/examples/verify.ts");
    assert!(document.contains(verifier.trim_end()), "docs/EVENTS.md shows another verifier");
    let Some(node) = node() else {
        eprintln!("SKIPPED: no Node.js 22.18 or newer; scripts/node.sh fetches one, RAPPORT_TEST_NODE names one");
        return;
    };
    let service = here(&[]);
    let api = &service.client;
    let receiver = Receiver::content();
    let (id, first) = hook(api, &receiver.url(), &["lead.*"]);
    api.make("leads", json!({ "title": "Büro, 40 desks \u{1f600}" }));
    receiver.until(1);
    let second = api.post(&format!("webhooks/{id}/secret-rotation"), json!({})).expect(200).json["secret"].clone();
    let lead = api.make("leads", json!({ "title": "Desks" }));
    api.patch(&format!("leads/{lead}"), json!({ "title": "Tische f\u{fc}r B\u{fc}ros \u{1f600}" })).expect(200);
    let got = receiver.until(3);
    let case = |received: &Received| json!({ "headers": received.headers, "body": received.body });
    let changed = |received: &Received, change: &dyn Fn(&mut Value)| {
        let mut case = case(received);
        change(&mut case);
        case
    };
    let (plain, rotated) = (&got[0], &got[2]);
    let now = chrono::Utc::now().timestamp();
    let cases = json!([
        { "name": "valid", "good": true, "secrets": [first], "case": case(plain) },
        { "name": "rotated, old secret", "good": true, "secrets": [first], "case": case(rotated) },
        { "name": "rotated, new secret", "good": true, "secrets": [second], "case": case(rotated) },
        { "name": "both secrets", "good": true, "secrets": [second, first], "case": case(plain) },
        { "name": "a secret of later", "good": false, "secrets": [second], "case": case(plain) },
        { "name": "no secret", "good": false, "secrets": [], "case": case(plain) },
        { "name": "tampered body", "good": false, "secrets": [first], "case": changed(plain, &|c| c["body"] = json!(plain.body.replace("lead", "laed"))) },
        { "name": "another's id", "good": false, "secrets": [first], "case": changed(plain, &|c| c["headers"]["webhook-id"] = json!(rotated.id())) },
        { "name": "another time", "good": false, "secrets": [first], "case": changed(plain, &|c| c["headers"]["webhook-timestamp"] = json!((now + 1).to_string())) },
        { "name": "cut signature", "good": false, "secrets": [first], "case": changed(plain, &|c| c["headers"]["webhook-signature"] = json!("v1,")) },
        { "name": "another version", "good": false, "secrets": [first],
          "case": changed(plain, &|c| c["headers"]["webhook-signature"] = json!(plain.headers["webhook-signature"].replace("v1,", "v2,"))) },
        { "name": "no signature", "good": false, "secrets": [first], "case": changed(plain, &|c| c["headers"]["webhook-signature"] = Value::Null) },
        { "name": "old", "good": false, "secrets": [first], "case": case(plain), "now": now + 3600 },
        { "name": "from the future", "good": false, "secrets": [first], "case": case(plain), "now": now - 3600 },
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("verify.ts"), verifier).expect("a file");
    let program = format!(
        "import {{ verify }} from './verify.ts';
         let wrong = 0;
         for (const {{ name, good, secrets, case: {{ headers, body }}, now }} of {cases}) {{
           let verified = false;
           try {{ verified = verify(secrets, headers, body, now).type.startsWith('lead.'); }} catch (error) {{ console.log(name, String(error)); }}
           if (verified !== good) {{ console.log('WRONG:', name); wrong += 1; }}
         }}
         process.exit(wrong);"
    );
    std::fs::write(folder.path().join("try.mjs"), program).expect("a file");
    let output = Command::new(node).arg(folder.path().join("try.mjs")).output().expect("node");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("Error:").count(), 10, "{said}");
}

#[test]
fn killed_workers_lose_no_delivery_and_keep_row_order() {
    let kills: usize = std::env::var("RAPPORT_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4);
    let service = Service::with(&["--webhook-allowed-networks", "127.0.0.0/8", "--db-connections", "4"]);
    let api = &service.client;
    // Three of ten are rejected, at random.
    let receiver =
        Receiver::start(|_, _| if rand::random_range(0..10) < 3 { receiver::status(500) } else { receiver::ok() });
    let (id, _) = hook(api, &receiver.url(), &["lead.*"]);
    let url = service.database.url.clone();
    let start = || {
        let settings = [
            ("DATABASE_URL", url.as_str()),
            ("RAPPORT_METRICS_BIND", "127.0.0.1:0"),
            ("RAPPORT_WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8"),
            ("RAPPORT_WEBHOOK_TIMEOUT_SECONDS", "1"),
            ("RAPPORT_WEBHOOK_RETRY_SCHEDULE", "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"),
            ("RAPPORT_DB_CONNECTIONS", "3"),
            ("RAPPORT_LOG", "warn"),
        ];
        let mut command = Program::command(&["worker"], &settings);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a worker")
    };
    let mut workers = [start(), start()];
    let rows: Vec<String> = (0..5).map(|n| api.make("leads", json!({ "title": format!("Lead {n}") }))).collect();
    let mut written = rows.len();
    for kill in 0..kills {
        let until = Instant::now() + Duration::from_millis(rand::random_range(200..900));
        while Instant::now() < until {
            let row = &rows[written % rows.len()];
            api.patch(&format!("leads/{row}"), json!({ "metadata": { "turn": written } })).expect(200);
            written += 1;
        }
        let worker = &mut workers[kill % 2];
        worker.kill().expect("killed");
        worker.wait().expect("dead");
        *worker = start();
    }
    let began = Instant::now();
    while until_done(api, &id) < written {
        assert!(began.elapsed() < Duration::from_secs(120), "{} of {written}", until_done(api, &id));
        std::thread::sleep(Duration::from_millis(100));
    }
    for worker in &mut workers {
        worker.kill().expect("killed");
        worker.wait().expect("dead");
    }
    let got = receiver.got();
    let mut first: BTreeMap<i64, &Received> = BTreeMap::new();
    let mut lags = Vec::new();
    let mut arrived: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for one in got.iter().filter(|one| one.status == 204) {
        let event = one.json()["data"].clone();
        let number = event["sequence"].as_i64().expect("a number");
        if let Some(before) = first.get(&number) {
            assert_eq!(before.id(), one.id(), "the id stays");
            continue;
        }
        first.insert(number, one);
        arrived.entry(event["row_id"].as_str().expect("an id").to_owned()).or_default().push(number);
        let made: chrono::DateTime<chrono::Utc> =
            event["created_at"].as_str().expect("a time").parse().expect("a time");
        let at = chrono::Utc::now() - chrono::Duration::from_std(one.at.elapsed()).expect("a while");
        lags.push((at - made).num_milliseconds());
    }
    let events = api.get("events?after=latest").expect(200).json["page"]["last"].as_i64().expect("a number");
    assert_eq!(first.len(), written, "all of {written} arrived, {} requests, {events} events", got.len());
    assert!(arrived.values().all(|numbers| numbers.is_sorted()), "of a row in order, as they arrived first");
    lags.sort_unstable();
    let at = |part: f64| lags[((lags.len() - 1) as f64 * part) as usize];
    println!(
        "{kills} kills, {written} events, {} requests; lag p50 {} ms, p99 {} ms, most {} ms",
        got.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// The number of deliveries of `hook` that have arrived.
fn until_done(api: &Client, hook: &str) -> usize {
    let page = api.get(&format!("webhooks/{hook}/deliveries?status=delivered&count=exact&limit=1")).expect(200);
    page.json["page"]["total"].as_u64().expect("a count") as usize
}
