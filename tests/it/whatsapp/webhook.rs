//! The webhook itself: signatures, whose number it is, what is kept through outages.

use rapport::auth::Role;
use serde_json::{Value, json};

use super::deliver;
use crate::channels::KEY;
use crate::support::proxy::{Mode, Proxy};
use crate::support::whatsapp::{APP_SECRET, AT, VERIFY_TOKEN, body, post, post_signed, signature, text};
use crate::support::{Client, Database, Service, make_business, make_key, until};

pub const NUMBER: &str = "109900000000001";

pub fn connect(api: &Client, number: &str) -> String {
    api.make(
        "channels",
        json!({ "kind": "whatsapp", "name": "Front desk", "phone_number_id": number, "account_id": "220000000000001" }),
    )
}

fn kept(service: &Service) -> String {
    service.database.ask("SELECT count(*)::text FROM inbound_bodies")
}

fn messages(api: &Client) -> Vec<String> {
    let rows = api.get("messages?sort=sent_at").expect(200);
    rows.rows().iter().map(|row| row["external_id"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn challenge_is_answered_to_a_known_token_only() {
    let service = Service::with(&["--sealing-key", KEY]);
    let api = &service.client;
    let stranger = service.stranger();
    let ask = |token: &str, challenge: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("hub.mode", "subscribe"), ("hub.verify_token", token), ("hub.challenge", challenge)])
            .finish();
        stranger.get(&format!("/webhooks/whatsapp?{query}"))
    };
    let answer = ask(VERIFY_TOKEN, "1158201444").expect(200);
    assert_eq!((answer.text.as_str(), answer.header("content-type")), ("1158201444", "text/plain; charset=utf-8"));
    for (token, challenge) in [("wrong", "1"), ("", "1"), (VERIFY_TOKEN, ""), ("the channel's token", "1")] {
        ask(token, challenge).expect(403);
    }
    let channel = connect(api, NUMBER);
    api.post(&format!("channels/{channel}/secrets"), json!({ "kind": "verify_token", "value": "the channel's token" }))
        .expect(201);
    assert_eq!(ask("the channel's token", "7").expect(200).text, "7");
    api.delete(&format!("channels/{channel}")).expect(204);
    ask("the channel's token", "7").expect(403);
}

#[test]
fn body_with_wrong_signature_401_and_nothing_kept() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    let sent = body(NUMBER, &text("wamid.1", "447700900123", AT, "Hi"));
    let right = signature(&sent, APP_SECRET);
    let last = if right.ends_with('0') { "1" } else { "0" };
    for wrong in [
        format!("{}{last}", &right[..right.len() - 1]),
        signature(&sent, "another secret"),
        "sha256=".into(),
        "x".into(),
        right[7..].to_owned(),
    ] {
        let answer = post_signed(&service.stranger(), &sent, &wrong).expect(401);
        assert_eq!(answer.code(), "signature_invalid");
    }
    service.stranger().post("/webhooks/whatsapp", json!({})).expect(401);
    let encoded = api
        .request("POST", "/webhooks/whatsapp")
        .header("X-Hub-Signature-256", &right)
        .header("Content-Encoding", "gzip");
    api.send(encoded.body(sent.clone())).expect(415);
    assert_eq!(kept(&service), "0");
    deliver(&service, &sent);
    assert_eq!((kept(&service).as_str(), messages(api)), ("1", vec!["wamid.1".to_owned()]));
    // Up to 4 MiB, of whatever it is.
    let most = 4 * 1024 * 1024;
    post(&service.stranger(), &vec![b' '; most + 1]).expect(413);
    post(&service.stranger(), &vec![b' '; most]).expect(200);
    until("it is found to be no JSON", || {
        service.database.ask("SELECT count(*)::text FROM inbound_bodies WHERE state = 'failed'") == "1"
    });
}

/// While a secret is rotated both count; that of another business signs nothing of this one's.
#[test]
fn secret_of_a_channel_signs_for_its_business_only() {
    let service = Service::with(&["--sealing-key", KEY]);
    let api = &service.client;
    let (_, neighbour) = service.neighbour();
    let (ours, theirs) = (connect(api, NUMBER), connect(&neighbour, "109900000000002"));
    let add = |api: &Client, channel: &str, value: &str| {
        let made = api
            .post(&format!("channels/{channel}/secrets"), json!({ "kind": "app_secret", "value": value }))
            .expect(201);
        made.json["id"].as_str().expect("an id").to_owned()
    };
    let old = add(api, &ours, "our old secret");
    add(&neighbour, &theirs, "their secret");
    let send = |id: &str, secret: &str| {
        let sent = body(NUMBER, &text(id, "447700900123", AT, "Hi"));
        post_signed(&service.stranger(), &sent, &signature(&sent, secret)).status
    };
    assert_eq!(send("wamid.1", "our old secret"), 200);
    // A secret that is added or deleted counts, or not, at once.
    add(api, &ours, "our new secret");
    assert_eq!((send("wamid.2", "our new secret"), send("wamid.3", "our old secret")), (200, 200));
    super::until_applied(&service);
    api.delete(&format!("channels/{ours}/secrets/{old}")).expect(204);
    assert_eq!((send("wamid.4", "our old secret"), send("wamid.5", "their secret")), (401, 401));
    assert_eq!(messages(api), ["wamid.1", "wamid.2", "wamid.3"]);
    // A body that names both numbers: of it, only what is the signer's.
    let both = body_of_both("wamid.6", "wamid.7");
    assert_eq!(post_signed(&service.stranger(), &both, &signature(&both, "their secret")).status, 200);
    super::until_applied(&service);
    assert_eq!((messages(api).len(), messages(&neighbour)), (3, vec!["wamid.7".to_owned()]));
}

/// Two businesses of one Meta app have its secret each: of a body that names both numbers each gets its own, also by a replay.
#[test]
fn secret_that_businesses_share_signs_for_each() {
    let service = Service::with(&["--sealing-key", KEY, "--background-tasks", "on"]);
    let (_, neighbour) = service.neighbour();
    let connected = [(&service.client, NUMBER), (&neighbour, "109900000000002")].map(|(api, number)| {
        let channel = connect(api, number);
        let secret = json!({ "kind": "app_secret", "value": "the secret of one app" });
        api.post(&format!("channels/{channel}/secrets"), secret).expect(201);
        channel
    });
    let both = body_of_both("wamid.1", "wamid.2");
    assert_eq!(post_signed(&service.stranger(), &both, &signature(&both, "the secret of one app")).status, 200);
    until("both are applied", || messages(&service.client) == ["wamid.1"] && messages(&neighbour) == ["wamid.2"]);
    for (api, channel) in [&service.client, &neighbour].into_iter().zip(connected) {
        service.database.run("DELETE FROM messages");
        api.post(&format!("channels/{channel}/inbound-replays"), json!({ "after": "2020-01-01T00:00:00Z" }))
            .expect(202);
        until("it is applied again", || messages(api).len() == 1);
    }
}

/// A text to each of two numbers in one body.
fn body_of_both(first: &str, second: &str) -> Vec<u8> {
    let of = |number: &str, id: &str| -> Value {
        serde_json::from_slice(&body(number, &text(id, "447700900123", AT, "Hi"))).expect("JSON")
    };
    let mut both = of(NUMBER, first);
    both["entry"].as_array_mut().expect("a list").push(of("109900000000002", second)["entry"][0].clone());
    both.to_string().into_bytes()
}

/// What is nobody's yet is kept, also where something else of its body fails and is tried again.
#[test]
fn update_for_unknown_number_survives_a_failing_neighbour() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let (_, neighbour) = service.neighbour();
    connect(&neighbour, "109900000000002");
    service.database.run(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN IF nextval('tries') = 1 THEN RAISE EXCEPTION 'once'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER fail_once BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION fail_once()",
    );
    post(&service.stranger(), &body_of_both("wamid.1", "wamid.2")).expect(200);
    until("the neighbour is applied", || messages(&neighbour) == ["wamid.2"]);
    until("the rest is unclaimed", || {
        service.database.ask("SELECT string_agg(state, '') FROM inbound_bodies") == "unclaimed"
    });
    connect(api, NUMBER);
    until("it is applied", || messages(api) == ["wamid.1"]);
}

/// What came for a number that nobody has connected is applied when a business does.
#[test]
fn body_for_unknown_number_waits_until_it_is_connected() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    post(&service.stranger(), &body(NUMBER, &text("wamid.1", "447700900123", AT, "Hi"))).expect(200);
    until("it is unclaimed", || {
        service.database.ask("SELECT string_agg(state, '') FROM inbound_bodies") == "unclaimed"
    });
    connect(api, NUMBER);
    until("it is applied", || messages(api) == ["wamid.1"]);
}

/// A body is acknowledged once it is stored; where applying it breaks off, another look finds it.
#[test]
fn stored_body_is_applied_after_its_process_died() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    connect(api, NUMBER);
    let sent = body(NUMBER, &text("wamid.1", "447700900123", AT, "Hi"));
    // As a process leaves it that dies after the acknowledgement: claimed, and its lease over.
    service.database.run(&format!(
        "INSERT INTO inbound_bodies (body, attempts, due_at) VALUES ('\\x{}', 1, now() - interval '1 second')",
        hex::encode(&sent)
    ));
    until("it is applied", || messages(api) == ["wamid.1"]);
    // One that ends every process which tries it is given up, and keeps no other waiting.
    service.database.run(&format!(
        "INSERT INTO inbound_bodies (body, attempts, due_at) VALUES ('\\x{}', 6, now() - interval '1 second')",
        hex::encode(body(NUMBER, &text("wamid.2", "447700900123", AT, "Hi")))
    ));
    until("it is given up", || {
        service.database.ask("SELECT count(*)::text FROM inbound_bodies WHERE state = 'failed'") == "1"
    });
    deliver(&service, &body(NUMBER, &text("wamid.3", "447700900123", AT + 1, "Hi")));
    assert_eq!(messages(api), ["wamid.1", "wamid.3"]);
}

/// An update that cannot be applied is parked with its error; its neighbours are applied.
#[test]
fn poisoned_update_is_parked_and_keeps_no_neighbour_waiting() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    connect(api, NUMBER);
    service.database.run(
        "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poisoned'; END $$;
         CREATE TRIGGER poison AFTER INSERT ON messages FOR EACH ROW WHEN (NEW.body = 'poison') EXECUTE FUNCTION poison()",
    );
    let mut value = text("wamid.1", "447700900123", AT, "first");
    for (id, said) in [("wamid.2", "poison"), ("wamid.3", "last")] {
        let more = text(id, "447700900123", AT + 1, said)["messages"][0].clone();
        value["messages"].as_array_mut().expect("a list").push(more);
    }
    post(&service.stranger(), &body(NUMBER, &value)).expect(200);
    until("its neighbours are applied", || messages(api) == ["wamid.1", "wamid.3"]);
    // It is tried three times, then it is parked.
    until("it is parked", || api.get("inbound-updates").expect(200).rows().len() == 1);
    let parked = api.get("inbound-updates").expect(200);
    let [row] = parked.rows() else { panic!("{}", parked.text) };
    assert_eq!((&row["kind"], &row["state"], &row["attempts"]), (&json!("message"), &json!("failed"), &json!(1)));
    assert!(row["error"].as_str().expect("an error").contains("poisoned"), "{row}");
    // Delivered again: it fails again, and is parked once.
    post(&service.stranger(), &body(NUMBER, &value)).expect(200);
    until("it failed again", || api.get("inbound-updates").expect(200).rows()[0]["attempts"] == json!(2));
    service.client_as(Role::Viewer).get("inbound-updates").expect(200);
    // It is applied again when its cause is mended.
    let path = format!("inbound-updates/{}/application", row["id"].as_str().expect("an id"));
    assert_eq!(api.post(&path, json!({})).expect(409).code(), "still_failing");
    service.client_as(Role::Agent).post(&path, json!({})).expect(403);
    service.database.run("DROP TRIGGER poison ON messages");
    api.post(&path, json!({})).expect(204);
    api.post(&path, json!({})).expect(404);
    assert_eq!((messages(api).len(), api.get("inbound-updates").expect(200).rows().len()), (3, 0));
    let thread = api.get("conversations").expect(200).rows()[0].clone();
    assert_eq!(
        (&thread["unread_count"], &thread["last_message_at"]),
        (&json!(3), &json!("2026-11-28T10:00:01.000000Z"))
    );
    // One that waits for its message waits on.
    let status = json!({ "statuses": [{ "id": "wamid.unknown", "status": "read", "timestamp": AT.to_string() }] });
    deliver(&service, &body(NUMBER, &status));
    let waiting =
        api.get("inbound-updates?state=waiting").expect(200).rows()[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        api.post(&format!("inbound-updates/{waiting}/application"), json!({})).expect(409).code(),
        "still_waiting"
    );
    let (_, neighbour) = service.neighbour();
    assert_eq!(neighbour.get("inbound-updates").expect(200).rows().len(), 0);
}

/// Bodies are kept as they came, and can be applied again: what was lost here comes back, and what was applied before changes nothing.
#[test]
fn bodies_of_a_channel_are_applied_again() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let channel = connect(api, NUMBER);
    for (id, said) in [("wamid.1", "first"), ("wamid.2", "second")] {
        deliver(&service, &body(NUMBER, &text(id, "447700900123", AT, said)));
    }
    assert_eq!(messages(api).len(), 2);
    service.database.run("DELETE FROM messages WHERE external_id = 'wamid.1'");
    let path = format!("channels/{channel}/inbound-replays");
    let (_, neighbour) = service.neighbour();
    neighbour.post(&path, json!({ "after": "2020-01-01T00:00:00Z" })).expect(404);
    assert_eq!(
        api.post(&path, json!({ "after": "2020-01-01T00:00:00Z", "before": "2020-01-02T00:00:00Z" })).expect(202).json
            ["bodies"],
        json!(0)
    );
    assert_eq!(api.post(&path, json!({})).expect(422).faults(), ["/after"]);
    assert_eq!(api.post(&path, json!({ "after": "2020-01-01T00:00:00Z" })).expect(202).json["bodies"], json!(2));
    until("it is back", || messages(api).len() == 2);
    until("all is applied", || {
        service.database.ask("SELECT count(*)::text FROM inbound_bodies WHERE state <> 'applied'") == "0"
    });
    assert_eq!(api.get("contacts").expect(200).rows().len(), 1);
}

/// While the database is away nothing is acknowledged.
#[test]
fn webhook_without_database_503() {
    let direct = Database::create();
    let business = make_business(&direct, "acme");
    let key = make_key(&direct, business, Role::Owner);
    let proxy = Proxy::to_postgres(&direct.url);
    let service = Service::on(Database::at(proxy.url(&direct.url)), business, &key, &[]);
    connect(&service.client, NUMBER);
    let sent = body(NUMBER, &text("wamid.1", "447700900123", AT, "Hi"));
    proxy.set(Mode::Cut);
    let refused = post(&service.stranger(), &sent).expect(503);
    assert!(!refused.header("retry-after").is_empty());
    proxy.set(Mode::Pass);
    until("it is acknowledged", || post(&service.stranger(), &sent).status == 200);
    until("it is applied", || messages(&service.client) == ["wamid.1"]);
}
