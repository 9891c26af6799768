//! Channels: numbers of WhatsApp, whose they are, and which threads run through them.

use rapport::auth::Role;
use serde_json::{Value, json};

use crate::support::{Client, Service, until};

/// Seals secrets in tests: 32 bytes in base64.
pub const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

fn number(api: &Client, id: &str) -> String {
    api.make("channels", json!({ "kind": "whatsapp", "name": format!("Number {id}"), "phone_number_id": id, "account_id": "220000000000001" }))
}

fn thread(api: &Client, body: Value) -> Value {
    let mut all = json!({ "channel": "whatsapp", "address": "+447700900123" });
    all.as_object_mut().expect("an object").extend(body.as_object().expect("an object").clone());
    api.create("conversations", all)
}

#[test]
fn business_with_two_numbers_has_thread_per_number_and_address() {
    let service = Service::start();
    let api = &service.client;
    let unconnected = thread(api, json!({ "address": "+447700900999" }));
    assert_eq!(unconnected["channel_id"], Value::Null);
    let (first, second) = (number(api, "109900000000001"), number(api, "109900000000002"));
    let through_first = thread(api, json!({}));
    assert_eq!(through_first["channel_id"], json!(first), "the oldest number");
    let taken = api.post("conversations", json!({ "channel": "whatsapp", "address": "+447700900123" })).expect(409);
    assert_eq!(taken.faults(), ["/address"]);
    let through_second = thread(api, json!({ "channel_id": second }));
    // A paused number begins no thread by itself.
    api.patch(&format!("channels/{first}"), json!({ "state": "paused" })).expect(200);
    assert_eq!(thread(api, json!({ "address": "+447700900456" }))["channel_id"], json!(second));
    let of_second = api.get(&format!("conversations?channel_id={second}&include=through")).expect(200);
    assert_eq!(of_second.rows().len(), 2);
    assert_eq!(of_second.rows()[0]["through"]["name"], json!("Number 109900000000002"));
    // A thread stays with its number.
    let path = format!("conversations/{}", through_second["id"].as_str().expect("an id"));
    assert_eq!(api.patch(&path, json!({ "channel_id": first })).expect(422).faults(), ["/channel_id"]);
    // Other channels have none.
    let mail = api.create("conversations", json!({ "channel": "email", "address": "isla@example.com" }));
    assert_eq!(mail["channel_id"], Value::Null);
}

#[test]
fn processing_continues_the_thread_used_last() {
    let service = Service::start();
    let api = &service.client;
    let (first, second) = (number(api, "109900000000001"), number(api, "109900000000002"));
    let [one, other] = [&first, &second].map(|channel| thread(api, json!({ "channel_id": channel }))["id"].clone());
    api.create("messages", json!({ "conversation_id": one, "direction": "inbound", "body": "Hi" }));
    let lead = api.make("leads", json!({ "title": "Bicycle" }));
    let process = |conversation: Value| {
        let body = json!({ "conversation": conversation, "decision": { "decision": "qualify" } });
        api.post(&format!("leads/{lead}/processing"), body).expect(201).json["conversation"]["id"].clone()
    };
    assert_eq!(process(json!({ "channel": "whatsapp", "address": "+447700900123" })), one);
    assert_eq!(process(json!({ "channel": "whatsapp", "address": "+447700900123", "channel_id": second })), other);
}

#[test]
fn number_belongs_to_one_business_until_deleted() {
    let service = Service::start();
    let api = &service.client;
    let (_, neighbour) = service.neighbour();
    let first = number(api, "109900000000001");
    let found = |api: &Client, id: &str| {
        let found = api.get(&format!("channels?phone_number_id={id}")).expect(200);
        found.rows().iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(api, "109900000000001"), [first.as_str()]);
    assert_eq!((found(api, "109900000000002"), found(&neighbour, "109900000000001")), (vec![], vec![]));
    let body = json!({ "kind": "whatsapp", "name": "Ours", "phone_number_id": "109900000000001" });
    let taken = neighbour.post("channels", body.clone()).expect(409);
    assert_eq!((taken.code(), taken.faults()), ("already_exists", vec!["/phone_number_id"]));
    api.delete(&format!("channels/{first}")).expect(204);
    neighbour.post("channels", body).expect(201);
    api.post(&format!("channels/{first}/restoration"), json!({})).expect(409);
    // A deleted number begins no thread.
    assert_eq!(thread(api, json!({}))["channel_id"], Value::Null);
}

#[test]
fn channel_needs_valid_ids_and_permission() {
    let service = Service::start();
    let api = &service.client;
    let refused = |body: Value| api.post("channels", body).expect(422).faults().join(" ");
    assert_eq!(refused(json!({ "kind": "whatsapp", "name": "x" })), "/phone_number_id");
    assert_eq!(
        refused(json!({ "kind": "whatsapp", "name": "x", "phone_number_id": "+49 30", "account_id": "WABA" })),
        "/account_id /phone_number_id"
    );
    assert_eq!(refused(json!({ "kind": "loopback", "name": "x", "quality": "green" })), "/quality");
    let looped = api.create("channels", json!({ "kind": "loopback", "name": "Try it" }));
    assert_eq!((&looped["state"], &looped["messages_per_second"]), (&json!("active"), &json!(80)));
    // Without a number of WhatsApp, threads run through the loopback.
    assert_eq!(thread(api, json!({}))["channel_id"], looped["id"]);
    for role in [Role::Agent, Role::Manager] {
        let client = service.client_as(role);
        assert_eq!(client.get("channels").expect(200).rows().len(), 1);
        client.post("channels", json!({ "kind": "loopback", "name": "x" })).expect(403);
    }
}

/// A secret is sealed, bound to its channel, shown nowhere, and deleted with its row.
#[test]
fn channel_secret_is_in_no_answer_event_or_row() {
    let service = Service::with(&["--sealing-key", KEY, "--background-tasks", "on"]);
    let api = &service.client;
    let channel = number(api, "109900000000001");
    let path = format!("channels/{channel}/secrets");
    let secret = "canary3f8a1d2b5c71939d5e6f3a7b2";
    let sent = |kind: &str| {
        api.send(
            api.request("POST", &path).json(&json!({ "kind": kind, "value": secret })).header("Idempotency-Key", kind),
        )
        .expect(201)
    };
    let made = sent("app_secret");
    assert_eq!((&made.json["kind"], &made.json["file"]), (&json!("app_secret"), &Value::Null));
    sent("verify_token");
    sent("access_token");
    // Again with the same key: the same secret.
    assert_eq!(sent("app_secret").json["id"], made.json["id"]);
    let listed = api.get(&path).expect(200);
    let kinds: Vec<&str> = listed.rows().iter().filter_map(|row| row["kind"].as_str()).collect();
    assert_eq!(kinds, ["access_token", "app_secret", "verify_token"]);
    let id = made.json["id"].as_str().expect("an id");
    api.delete(&format!("{path}/{id}")).expect(204);
    api.delete(&format!("{path}/{id}")).expect(404);
    until("the changes are sequenced", || {
        service
            .database
            .ask("SELECT count(*)::text FROM audit_log WHERE resource = 'channel-secrets' AND action = 'deleted'")
            == "1"
    });
    let dump = service.database.ask(
        "SELECT string_agg(t, ' ') FROM (SELECT concat(s, encode(s.sealed, 'escape')) AS t FROM channel_secrets s UNION ALL SELECT concat(a) FROM audit_log a
         UNION ALL SELECT concat(e) FROM events e UNION ALL SELECT concat(l) FROM change_log l UNION ALL SELECT concat(k, convert_from(k.body, 'UTF8')) FROM idempotency_keys k) all_rows",
    );
    assert!(!dump.contains(secret) && !dump.contains(&hex::encode(secret)), "{dump}");
    for answer in [
        listed.text,
        made.text,
        api.get("audit-log").text,
        api.get("events").text,
        api.get(&format!("channels/{channel}")).text,
    ] {
        assert!(!answer.contains(secret), "{answer}");
    }
}

#[test]
fn channel_secret_that_cannot_be_kept_is_refused() {
    let service = Service::start();
    let api = &service.client;
    let path = format!("channels/{}/secrets", number(api, "109900000000001"));
    let refused = |body: Value| {
        let answer = api.post(&path, body);
        (answer.status, answer.json["errors"][0]["pointer"].as_str().unwrap_or(answer.code()).to_owned())
    };
    let with = |code: u16, why: &str| (code, why.to_owned());
    // The tests' database is configured, and no key.
    assert_eq!(refused(json!({ "kind": "app_secret", "value": "12345678" })), with(409, "sealing_not_configured"));
    assert_eq!(
        refused(json!({ "kind": "app_secret", "file": "desk.secret" })),
        with(409, "secrets_dir_not_configured")
    );
    assert_eq!(refused(json!({ "kind": "app_secret" })), with(422, "/value"));
    assert_eq!(refused(json!({ "kind": "app_secret", "value": "12345678", "file": "x" })), with(422, "/value"));
    assert_eq!(refused(json!({ "kind": "app_secret", "value": "short" })), with(422, "/value"));
    assert_eq!(refused(json!({ "kind": "password", "value": "12345678" })), with(422, "/kind"));
    assert_eq!(refused(json!({ "kind": "verify_token", "file": "x" })), with(422, "/file"));
    for name in ["../other/secret", "/etc/passwd", "..", ".hidden", "a..b", "a/b", "a\\b", "a b"] {
        assert_eq!(refused(json!({ "kind": "app_secret", "file": name })), with(422, "/file"), "{name}");
    }
    api.post(
        &format!("channels/{}/secrets", uuid::Uuid::now_v7()),
        json!({ "kind": "app_secret", "value": "12345678" }),
    )
    .expect(404);
    service.client_as(Role::Manager).post(&path, json!({ "kind": "app_secret", "value": "12345678" })).expect(403);
    let (_, neighbour) = service.neighbour();
    neighbour.get(&path).expect(404);

    let sealing = Service::with(&["--sealing-key", KEY]);
    let path = format!("channels/{}/secrets", number(&sealing.client, "109900000000001"));
    let add = |number: usize| {
        sealing.client.post(&path, json!({ "kind": "app_secret", "value": format!("secret {number}") }))
    };
    (0..4).for_each(|number| drop(add(number).expect(201)));
    assert_eq!(add(4).expect(409).code(), "too_many_secrets");
    sealing
        .client
        .post(
            &format!("channels/{}/secrets", uuid::Uuid::now_v7()),
            json!({ "kind": "app_secret", "value": "12345678" }),
        )
        .expect(404);
}
