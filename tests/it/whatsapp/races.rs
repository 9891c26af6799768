//! What meets by chance: a message and what the channel says of it, two first messages of one person, a process that dies.

use serde_json::{Value, json};

use super::webhook::{NUMBER, connect};
use super::{deliver, until_applied};
use crate::support::whatsapp::{APP_SECRET, AT, VERIFY_TOKEN, body, post, text};
use crate::support::{Client, Database, Program, Service, make_business, make_key, until};

/// How often each race is run: more often with `RAPPORT_TEST_RACES` (`make prove-channels`).
fn races() -> usize {
    std::env::var("RAPPORT_TEST_RACES").ok().and_then(|races| races.parse().ok()).unwrap_or(8)
}

/// A status comes while its message is recorded: whichever is first, the status counts.
#[test]
fn status_beside_its_message_always_counts() {
    let service = Service::with(&["--background-tasks", "on", "--db-connections", "6", "--http-workers", "2"]);
    let api = &service.client;
    connect(api, NUMBER);
    let thread = api.make("conversations", json!({ "channel": "whatsapp", "address": "+447700900123" }));
    for race in 0..races() {
        let id = format!("wamid.{race}");
        let status = json!({ "statuses": [{ "id": id, "status": "read", "timestamp": AT.to_string() }] });
        let message = json!({ "conversation_id": thread, "direction": "outbound", "body": "x", "external_id": id });
        std::thread::scope(|scope| {
            scope.spawn(|| post(&service.stranger(), &body(NUMBER, &status)).expect(200));
            scope.spawn(|| api.make("messages", message));
        });
    }
    until_applied(&service);
    let lost = "SELECT coalesce(string_agg(external_id, ' '), '') FROM messages WHERE status <> 'read'";
    assert_eq!(service.database.ask(lost), "");
    assert_eq!(service.database.ask("SELECT count(*)::text FROM inbound_updates"), "0");
}

/// Several first messages of one person come at once: one contact, one conversation, one lead.
#[test]
fn first_messages_at_once_make_one_contact() {
    let service = Service::with(&["--background-tasks", "on", "--db-connections", "6", "--http-workers", "2"]);
    let api = &service.client;
    connect(api, NUMBER);
    let races = races();
    for race in 0..races {
        let number = format!("4477009{race:05}");
        std::thread::scope(|scope| {
            for part in 0..4 {
                let sent = body(NUMBER, &text(&format!("wamid.{race}.{part}"), &number, AT, "Hi"));
                let stranger = service.stranger();
                scope.spawn(move || post(&stranger, &sent).expect(200));
            }
        });
    }
    until_applied(&service);
    for table in ["contacts", "conversations", "leads"] {
        assert_eq!(service.database.ask(&format!("SELECT count(*)::text FROM {table}")), races.to_string(), "{table}");
    }
    assert_eq!(service.database.ask("SELECT count(*)::text FROM messages"), (4 * races).to_string());
}

/// A failure that comes late does not take back that a message has arrived.
#[test]
fn late_failure_takes_nothing_back() {
    let service = Service::start();
    let api = &service.client;
    connect(api, NUMBER);
    let thread = api.make("conversations", json!({ "channel": "whatsapp", "address": "+447700900123" }));
    let status = |status: &str, at: i64| json!({ "id": "wamid.1", "status": status, "timestamp": at.to_string() });
    deliver(&service, &body(NUMBER, &json!({ "statuses": [status("delivered", AT)] })));
    api.make(
        "messages",
        json!({ "conversation_id": thread, "direction": "outbound", "body": "x", "external_id": "wamid.1" }),
    );
    deliver(&service, &body(NUMBER, &json!({ "statuses": [status("failed", AT + 1)] })));
    assert_eq!(api.get("messages?external_id=wamid.1").expect(200).rows()[0]["status"], json!("delivered"));
}

/// Two processes receive, and one is killed: what it has acknowledged is applied by the other, once.
#[test]
fn killed_process_loses_no_acknowledged_message() {
    let database = Database::create();
    let business = make_business(&database, "acme");
    let key = make_key(&database, business, rapport::auth::Role::Owner);
    let settings = [
        ("DATABASE_URL", database.url.as_str()),
        ("RAPPORT_WHATSAPP_APP_SECRET", APP_SECRET),
        ("RAPPORT_WHATSAPP_VERIFY_TOKEN", VERIFY_TOKEN),
    ];
    let start = || {
        let program = Program::serve(&settings);
        program.until_ready();
        program
    };
    let (left, killed) = (start(), start());
    let api = left.client(&key);
    connect(&api, NUMBER);
    let mut acknowledged = Vec::new();
    let doomed = Client::new(killed.address, "");
    let mut killed = Some(killed);
    for number in 0..60 {
        let id = format!("wamid.{number}");
        let sent = body(NUMBER, &text(&id, &format!("44770090{:04}", number % 7), AT + number, "Hi"));
        if number == 30 {
            // Dropped, it is killed.
            drop(killed.take());
        }
        let to: &Client = if number % 2 == 0 || number >= 30 { &api } else { &doomed };
        let request = to
            .request("POST", "/webhooks/whatsapp")
            .header("X-Hub-Signature-256", crate::support::whatsapp::signature(&sent, APP_SECRET));
        if to.attempt(request.body(sent)).is_some_and(|answer| answer.status == 200) {
            acknowledged.push(id);
        }
    }
    assert!(acknowledged.len() >= 55, "{acknowledged:?}");
    // The leases of the one that died, over.
    database.run("UPDATE inbound_bodies SET due_at = now() WHERE state = 'new'");
    until("all is applied", || database.ask("SELECT count(*)::text FROM inbound_bodies WHERE state = 'new'") == "0");
    let found: Vec<String> =
        database.rows::<1>("SELECT external_id FROM messages").into_iter().map(|[id]| id).collect();
    let missing: Vec<&String> = acknowledged.iter().filter(|id| !found.contains(id)).collect();
    assert_eq!(missing, [""; 0].iter().collect::<Vec<_>>());
    let threads: Value = api.get("conversations?limit=50").expect(200).json["data"].clone();
    assert_eq!(threads.as_array().map(Vec::len), Some(7));
}

/// Runs these tests in a process of their own for each deliberate bug, which they must find.
#[cfg(feature = "mutants")]
#[test]
fn each_mutant_of_channels_is_detected() {
    for (name, _) in rapport::base::mutants::CHANNEL_MUTANTS {
        let test = std::env::current_exe().expect("the tests");
        let mut command = std::process::Command::new(test);
        for part in ["status_beside", "first_messages_at_once", "late_failure"] {
            command.arg(format!("whatsapp::races::{part}"));
        }
        let output = command.env("RAPPORT_MUTANT", name).env("RAPPORT_TEST_RACES", "100").output().expect("the tests");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains("assertion"), "{name} is not found: {said}");
        println!("{name}: found");
    }
}
