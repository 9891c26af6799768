//! Attempts: in their order, as fast as the channel takes them, and once, whichever process dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{NUMBER, attempts_of, begun_by, connect, message, say, start, until_status};
use crate::channels::KEY;
use crate::support::Program;
use crate::support::graph::{Graph, Reply};
use crate::support::whatsapp::{APP_SECRET, VERIFY_TOKEN, body, post};
use crate::support::{Client, Database, make_business, make_key, until};

/// Two processes that send for one business.
struct Pair {
    database: Database,
    processes: Vec<Program>,
    key: String,
}

impl Pair {
    fn start(graph_url: &str) -> Self {
        let database = Database::create();
        let business = make_business(&database, "acme");
        let key = make_key(&database, business, rapport::auth::Role::Owner);
        let settings = [
            ("DATABASE_URL", database.url.as_str()),
            ("RAPPORT_WHATSAPP_APP_SECRET", APP_SECRET),
            ("RAPPORT_WHATSAPP_VERIFY_TOKEN", VERIFY_TOKEN),
            ("RAPPORT_WHATSAPP_API_URL", graph_url),
            ("RAPPORT_SEALING_KEY", KEY),
        ];
        let processes: Vec<Program> = (0..2).map(|_| Program::serve(&settings)).collect();
        processes.iter().for_each(Program::until_ready);
        Self { database, processes, key }
    }

    fn client(&self, place: usize) -> Client {
        self.processes[place].client(&self.key)
    }

    /// Conversations whose windows are open.
    fn threads(&self, count: usize) -> Vec<String> {
        let api = self.client(0);
        connect(&api);
        let make = |place: usize| {
            let address = format!("+44770090{place:04}");
            api.make("conversations", json!({ "channel": "whatsapp", "address": address }))
        };
        let threads = (0..count).map(make).collect();
        self.database.run("UPDATE conversations SET window_expires_at = now() + interval '1 hour'");
        threads
    }
}

#[test]
fn messages_of_a_conversation_are_sent_in_their_order_whoever_sends() {
    let graph = Graph::start(|call, before| {
        // Some take longer than others.
        std::thread::sleep(Duration::from_millis(call.text().len() as u64 % 3 * 15));
        Reply::Accepted(format!("wamid.{before}"))
    });
    let pair = Pair::start(&graph.url());
    let threads = pair.threads(3);
    std::thread::scope(|scope| {
        for sender in 0..8 {
            let (api, threads) = (pair.client(sender % 2), &threads);
            scope.spawn(move || {
                for number in 0..5 {
                    let text = format!("{sender} {number} {}", "x".repeat(number));
                    say(&api, &threads[(sender + number) % 3], &text);
                }
            });
        }
    });
    until("all are sent", || {
        pair.database.ask("SELECT count(*)::text FROM message_attempts WHERE state = 'accepted'") == "40"
    });
    assert_eq!(graph.calls().len(), 40);
    for (place, thread) in threads.iter().enumerate() {
        let queued = pair.database.rows::<1>(&format!(
            "SELECT m.body FROM message_attempts a JOIN messages m ON m.id = a.message_id WHERE a.conversation_id = '{thread}' ORDER BY a.place"
        ));
        let to = format!("44770090{place:04}");
        let sent: Vec<String> = graph
            .calls()
            .iter()
            .filter(|call| call.body["to"] == json!(to))
            .map(|call| call.text().to_owned())
            .collect();
        assert_eq!(sent, queued.into_iter().map(|[text]| text).collect::<Vec<_>>());
    }
}

/// A process dies after the channel has the message and before that is written down.
#[test]
fn message_of_a_killed_process_is_sent_once() {
    let graph = Graph::start(|call, before| {
        if call.text() == "First" {
            std::thread::sleep(Duration::from_secs(20));
        }
        Reply::Accepted(format!("wamid.{before}"))
    });
    let mut pair = Pair::start(&graph.url());
    let threads = pair.threads(1);
    let api = pair.client(0);
    let first = say(&api, &threads[0], "First");
    until("it is handed over", || graph.calls().len() == 1);
    let second = say(&api, &threads[0], "Second");
    // Whichever has it: both die, and another one starts.
    pair.processes.clear();
    let settings = [
        ("DATABASE_URL", pair.database.url.as_str()),
        ("RAPPORT_WHATSAPP_APP_SECRET", APP_SECRET),
        ("RAPPORT_WHATSAPP_VERIFY_TOKEN", VERIFY_TOKEN),
        ("RAPPORT_WHATSAPP_API_URL", &graph.url()),
        ("RAPPORT_SEALING_KEY", KEY),
    ];
    let left = Program::serve(&settings);
    left.until_ready();
    let api = left.client(&pair.key);
    assert_eq!(attempts_of(&api, &first["id"])[0]["state"], json!("sending"));
    // Its claim, over.
    pair.database.run("UPDATE message_attempts SET due_at = now() WHERE state = 'sending'");
    until_status(&api, &first["id"], "uncertain");
    until("the next one is sent", || message(&api, &second["id"])["external_id"].is_string());
    let callback = graph.calls()[0].callback_data().to_owned();
    let at = chrono::Utc::now().timestamp().to_string();
    let status =
        json!({ "id": "wamid.first", "status": "sent", "timestamp": at, "biz_opaque_callback_data": callback });
    post(&Client::new(left.address, ""), &body(NUMBER, &json!({ "statuses": [status] }))).expect(200);
    assert_eq!(until_status(&api, &first["id"], "sent")["external_id"], json!("wamid.first"));
    assert_eq!(graph.calls().iter().map(|call| call.text().to_owned()).collect::<Vec<_>>(), ["First", "Second"]);
}

/// A process that took longer than its claim lasts finds that another one has the attempt: nothing of it is recorded twice.
#[test]
fn outcome_of_a_lost_claim_is_not_recorded() {
    let graph = Graph::start(|_, before| {
        std::thread::sleep(Duration::from_millis(1_500));
        Reply::Accepted(format!("wamid.{before}"))
    });
    let (service, _) = start(&graph);
    let api = &service.client;
    let thread = begun_by(&service, "447700900123");
    let sent = say(api, &thread, "Hello");
    until("it is handed over", || graph.calls().len() == 1);
    service.database.run("UPDATE message_attempts SET claim = claim + 1, due_at = now() + interval '1 hour'");
    // The next message has to wait, however the answer to the first one ends.
    let next = say(api, &thread, "Are you there?");
    std::thread::sleep(Duration::from_secs(3));
    let attempts = attempts_of(api, &sent["id"]);
    assert_eq!((&attempts[0]["state"], &attempts[0]["external_id"]), (&json!("sending"), &Value::Null));
    assert_eq!((message(api, &next["id"])["status"].clone(), graph.calls().len()), (json!("queued"), 1));
    // The other one has died, too.
    service.database.run("UPDATE message_attempts SET due_at = now() WHERE state = 'sending'");
    until_status(api, &sent["id"], "uncertain");
    until("the next one is sent", || message(api, &next["id"])["external_id"].is_string());
    assert_eq!(graph.calls().len(), 2);
}

/// What waits for a channel that is deleted fails; one that is at its limit keeps no other waiting.
#[test]
fn deleted_or_slow_channel_holds_nothing_up() {
    let graph = Graph::accepting();
    let (service, slow) = start(&graph);
    let api = &service.client;
    api.patch(&format!("channels/{slow}"), json!({ "messages_per_second": 1 })).expect(200);
    let threads: Vec<String> = (1..=3).map(|number| begun_by(&service, &format!("44770090000{number}"))).collect();
    // For an hour.
    service.database.run(&format!(
        "INSERT INTO send_limits (business_id, id, free_at) SELECT business_id, id, now() + interval '1 hour' FROM channels WHERE id = '{slow}'"
    ));
    let waiting: Vec<Value> = threads.iter().map(|thread| say(api, thread, "Hello")).collect();
    let quick = api.make("channels", json!({ "kind": "loopback", "name": "Trying out" }));
    let thread = json!({ "channel": "whatsapp", "channel_id": quick, "address": "+447700900009" });
    let thread = api.make("conversations", thread);
    let sent = say(api, &thread, "Hello");
    until_status(api, &sent["id"], "read");
    assert_eq!((graph.calls().len(), &message(api, &waiting[0]["id"])["status"]), (0, &json!("queued")));
    api.delete(&format!("channels/{slow}")).expect(204);
    for sent in &waiting {
        let failed = until_status(api, &sent["id"], "failed");
        assert_eq!(failed["error"]["code"], json!("channel_deleted"));
        assert_eq!(attempts_of(api, &sent["id"])[0]["state"], json!("failed"));
    }
}

#[test]
fn channel_gets_no_more_than_its_rate() {
    let graph = Graph::accepting();
    let (service, channel) = start(&graph);
    let api = &service.client;
    api.patch(&format!("channels/{channel}"), json!({ "messages_per_second": 2 })).expect(200);
    let threads: Vec<String> = (1..=4).map(|number| begun_by(&service, &format!("44770090000{number}"))).collect();
    let sent: Vec<Value> = threads.iter().map(|thread| say(api, thread, "Hello")).collect();
    until("all are accepted", || sent.iter().all(|sent| message(api, &sent["id"])["external_id"].is_string()));
    let calls = graph.calls();
    let took = calls[3].at.duration_since(calls[0].at);
    // (The first may have been late on a busy machine.)
    assert!(took >= Duration::from_millis(900), "four messages at two a second took {took:?}");
}

/// A number that has more to send than others gets all the slots that one may have, and no more.
#[test]
fn busy_channel_gets_all_its_slots_beside_others() {
    const SLOTS: usize = 32;
    let is_over = Arc::new(AtomicBool::new(false));
    let ends = is_over.clone();
    let graph = Graph::start(move |_, before| {
        while !ends.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(10));
        }
        Reply::Accepted(format!("wamid.{before}"))
    });
    let (service, busy) = start(&graph);
    let api = &service.client;
    let begin = |channel: &str, place: usize| {
        let address = format!("+44770090{place:04}");
        api.make("conversations", json!({ "channel": "whatsapp", "channel_id": channel, "address": address }))
    };
    let quiet = (0..6).map(|_| api.make("channels", json!({ "kind": "loopback", "name": "Trying out" })));
    let mut threads: Vec<String> = quiet.enumerate().map(|(place, channel)| begin(&channel, place)).collect();
    threads.extend((100..100 + SLOTS + 8).map(|place| begin(&busy, place)));
    service.database.run("UPDATE conversations SET window_expires_at = now() + interval '1 hour'");
    let sent: Vec<Value> = threads.iter().map(|thread| say(api, thread, "Hello")).collect();
    until("all slots are taken", || graph.calls().len() == SLOTS);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(graph.calls().len(), SLOTS);
    is_over.store(true, Ordering::Release);
    sent.iter().for_each(|sent| until("it is sent", || message(api, &sent["id"])["external_id"].is_string()));
    assert_eq!(graph.calls().len(), SLOTS + 8);
}
