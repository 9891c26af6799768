//! Tests of tasks for workers: claims, leases, and the tasks that messages of customers make.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rapport::auth::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sign_in::{admit, client, sign_in};
use crate::support::whatsapp::{AT, body, post, text};
use crate::support::{Answer, Client, Service, make_key, until};

const NUMBER: &str = "109900000000001";

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

#[test]
fn eight_claimers_claim_each_task_once() {
    let service = Service::with(&["--db-connections", "6"]);
    let api = &service.client;
    for number in 0..60 {
        api.make("worker-tasks", json!({ "kind": "sum", "payload": { "number": number } }));
    }
    let claimed: Vec<Value> = std::thread::scope(|scope| {
        let claimers = [(); 8].map(|()| {
            scope.spawn(|| {
                let mut mine = Vec::new();
                loop {
                    let some = claim(api, json!({ "kinds": ["sum", "other"], "limit": 3 }));
                    if some.is_empty() {
                        return mine;
                    }
                    mine.extend(some);
                }
            })
        });
        claimers.into_iter().flat_map(|claimer| claimer.join().expect("a claimer")).collect()
    });
    let numbers: BTreeSet<i64> = claimed.iter().filter_map(|task| task["payload"]["number"].as_i64()).collect();
    assert_eq!((claimed.len(), numbers.len()), (60, 60));
    for task in &claimed {
        end(api, task, "completion", json!({ "result": { "sum": { "of": [1, [2, { "deep": true }]] } } })).expect(200);
    }
    assert_eq!(api.get("worker-tasks?status=completed&count=exact").expect(200).json["page"]["total"], json!(60));
}

#[test]
fn claims_follow_priority_then_run_at() {
    let service = Service::start();
    let api = &service.client;
    let make = |name: &str, priority: i64, run_at: &str| {
        api.make(
            "worker-tasks",
            json!({ "kind": "k", "priority": priority, "run_at": run_at, "payload": { "name": name } }),
        );
    };
    make("late", 50, "2026-11-20T10:00:00Z");
    make("early", 50, "2026-11-20T09:00:00Z");
    make("last", 90, "2026-11-01T09:00:00Z");
    make("first", 0, "2026-11-20T11:00:00Z");
    make("not yet", 0, "2999-01-01T00:00:00Z");
    api.make("worker-tasks", json!({ "kind": "other", "priority": 0 }));
    let names = |tasks: Vec<Value>| tasks.iter().map(|task| task["payload"]["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(claim(api, json!({ "kinds": ["k"] }))), ["first"]);
    assert_eq!(names(claim(api, json!({ "kinds": ["k"], "limit": 50 }))), ["early", "late", "last"]);
    assert!(claim(api, json!({ "kinds": ["k"] })).is_empty());
}

#[test]
fn ended_lease_is_claimed_again_and_its_token_409() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let made = api.make("worker-tasks", json!({ "kind": "k", "max_attempts": 2 }));
    let first = claim(api, json!({ "kinds": ["k"], "lease_seconds": 1 })).remove(0);
    assert!(claim(api, json!({ "kinds": ["k"] })).is_empty(), "it is another's");
    // A renewal keeps it.
    end(api, &first, "renewal", json!({ "lease_seconds": 600 })).expect(200);
    sleep(Duration::from_millis(1_100));
    assert!(claim(api, json!({ "kinds": ["k"] })).is_empty());
    end_leases(&service);
    // Its lease is over, but nobody has claimed it since: it may still be renewed.
    end(api, &first, "renewal", json!({ "lease_seconds": 1 })).expect(200);
    sleep(Duration::from_millis(1_100));
    let second = claim_one(api, "k");
    assert_eq!((id(&second), &second["attempts"]), (made.as_str(), &json!(2)));
    for act in ["renewal", "completion", "failure"] {
        let more = if act == "failure" { json!({ "error": "x" }) } else { json!({}) };
        assert_eq!(end(api, &first, act, more).expect(409).code(), "lease_lost", "{act}");
    }
    // Its last lease ends as well: it has failed, which can be seen.
    end_leases(&service);
    assert!(claim(api, json!({ "kinds": ["k"] })).is_empty(), "no third attempt");
    until("it has failed", || task(api, &made)["status"] == json!("failed"));
    assert!(task(api, &made)["error"].as_str().expect("an error").contains("lease"));
    assert_eq!(end(api, &second, "completion", json!({})).expect(409).code(), "lease_lost");
}

#[test]
fn completion_sent_again_changes_nothing() {
    let service = Service::start();
    let api = &service.client;
    api.make("worker-tasks", json!({ "kind": "k" }));
    let claimed = claim_one(api, "k");
    let stranger = json!({ "token": Uuid::now_v7() });
    let path = format!("worker-tasks/{}/completion", id(&claimed));
    assert_eq!(api.post(&path, stranger.clone()).expect(409).code(), "lease_lost");
    let done = end(api, &claimed, "completion", json!({ "result": { "answer": 42 } })).expect(200).json;
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!({ "answer": 42 })));
    let again = end(api, &claimed, "completion", json!({ "result": { "answer": 43 } })).expect(200).json;
    assert_eq!(again, done);
    api.post(&path, stranger).expect(409);
    assert_eq!(end(api, &claimed, "failure", json!({ "error": "x" })).expect(409).code(), "lease_lost");
    assert_eq!(
        api.post(&format!("worker-tasks/{}/cancellation", id(&claimed)), json!({})).expect(409).code(),
        "task_ended"
    );
}

#[test]
fn failure_backs_off_until_max_attempts() {
    let service = Service::start();
    let api = &service.client;
    let made = api.make("worker-tasks", json!({ "kind": "k", "max_attempts": 3 }));
    let failed = end(api, &claim_one(api, "k"), "failure", json!({ "error": "The model timed out." })).expect(200).json;
    assert_eq!((&failed["status"], &failed["error"]), (&json!("open"), &json!("The model timed out.")));
    let pause = "SELECT round(extract(epoch FROM run_at - updated_at))::text FROM worker_tasks";
    assert_eq!(service.database.ask(pause), "5");
    assert!(claim(api, json!({ "kinds": ["k"] })).is_empty(), "not before");
    make_due(&service);
    end(api, &claim_one(api, "k"), "failure", json!({ "error": "x", "retry_after": 90 })).expect(200);
    assert_eq!(service.database.ask(pause), "90");
    make_due(&service);
    let last = end(api, &claim_one(api, "k"), "failure", json!({ "error": "The end." })).expect(200).json;
    assert_eq!((&last["status"], &last["attempts"]), (&json!("failed"), &json!(3)));
    assert!(last["ended_at"].is_string());
    assert_eq!(task(api, &made), last);
    // One that no attempt would mend.
    api.make("worker-tasks", json!({ "kind": "k" }));
    let hopeless = end(api, &claim_one(api, "k"), "failure", json!({ "error": "No such model.", "retry": false }));
    assert_eq!(hopeless.expect(200).json["status"], json!("failed"));
}

#[test]
fn second_open_task_with_dedupe_key_409() {
    let service = Service::start();
    let api = &service.client;
    let body = json!({ "kind": "k", "dedupe_key": "one" });
    api.make("worker-tasks", body.clone());
    assert_eq!(api.post("worker-tasks", body.clone()).expect(409).faults(), ["/dedupe_key"]);
    let claimed = claim_one(api, "k");
    // The claimed one may not know of what is new; and that one takes its place when it fails.
    let newer = api.make("worker-tasks", body);
    let failed = end(api, &claimed, "failure", json!({ "error": "x" })).expect(200).json;
    assert_eq!((&failed["status"], &failed["cancel_reason"]), (&json!("cancelled"), &json!("superseded")));
    assert_eq!(id(&claim_one(api, "k")), newer);
    // A key is that of a kind.
    for kind in ["k", "other"] {
        api.make("worker-tasks", json!({ "kind": kind, "dedupe_key": "two" }));
    }
}

#[test]
fn waiting_claim_is_woken_by_a_task_of_either_process() {
    let service = Service::with(&["--http-workers", "1", "--db-connections", "2"]);
    let key = make_key(&service.database, service.business, Role::Owner);
    let beside = Service::on(service.database.clone(), service.business, &key, &[]);
    // More claims wait than there are connections and threads.
    for maker in [&service.client, &beside.client] {
        let waited = std::thread::scope(|scope| {
            let claimers = [(); 6].map(|()| {
                scope.spawn(|| {
                    let claimed = claim(&service.client, json!({ "kinds": ["k", "never"], "wait": 4 }));
                    (claimed, Instant::now())
                })
            });
            sleep(Duration::from_millis(700));
            // While they wait, others are served.
            service.client.get("leads").expect(200);
            let made = Instant::now();
            maker.make("worker-tasks", json!({ "kind": "k" }));
            let claims = claimers.map(|claimer| claimer.join().expect("a claim"));
            let claimed: Vec<_> = claims.iter().filter(|(tasks, _)| !tasks.is_empty()).collect();
            assert_eq!(claimed.len(), 1, "one of them has it");
            assert!(
                claims.iter().filter(|(tasks, _)| tasks.is_empty()).all(|(_, at)| *at > made + Duration::from_secs(2))
            );
            claimed[0].1 - made
        });
        assert!(waited < Duration::from_secs(1), "{waited:?}");
    }
}

#[test]
fn waiting_claim_sees_a_task_become_due_and_a_lease_end() {
    let service = Service::start();
    let api = &service.client;
    let began = Instant::now();
    let soon = (chrono::Utc::now() + chrono::Duration::milliseconds(900)).to_rfc3339();
    api.make("worker-tasks", json!({ "kind": "k", "run_at": soon }));
    let first = claim(api, json!({ "kinds": ["k"], "wait": 10, "lease_seconds": 1 }));
    assert!(
        first.len() == 1 && began.elapsed() > Duration::from_millis(850) && began.elapsed() < Duration::from_secs(4)
    );
    let second = claim(api, json!({ "kinds": ["k"], "wait": 10 }));
    assert_eq!((&second[0]["id"], &second[0]["attempts"]), (&first[0]["id"], &json!(2)));
}

#[test]
fn claim_with_idempotency_key_is_replayed() {
    let service = Service::start();
    let api = &service.client;
    api.make("worker-tasks", json!({ "kind": "k" }));
    api.make("worker-tasks", json!({ "kind": "k" }));
    let send = || {
        let request = api.request("POST", "task-claims").header("Idempotency-Key", "once");
        api.send(request.json(&json!({ "kinds": ["k"], "wait": 1 }))).expect(200)
    };
    let (first, again) = (send(), send());
    assert_eq!((first.text.as_str(), again.header("idempotency-replayed")), (again.text.as_str(), "true"));
    assert_eq!(open_tasks(api).len(), 1);
}

/// chatwoot#15133: a bot that answers each message of a burst.
#[test]
fn burst_of_messages_makes_one_task_chatwoot_15133() {
    let service = Service::start();
    let api = &service.client;
    let talk = conversation(api);
    for _ in 0..4 {
        ask(api, &talk);
    }
    let last = ask(api, &talk);
    let tasks = api.get("worker-tasks").expect(200).rows().to_vec();
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    let payload = json!({ "conversation_id": talk, "last_message_id": last });
    assert_eq!((&tasks[0]["kind"], &tasks[0]["payload"]), (&json!("reply"), &payload));
    assert_eq!((&tasks[0]["dedupe_key"], &tasks[0]["conversation_id"]), (&json!(talk), &json!(talk)));
    let seconds = "SELECT round(extract(epoch FROM run_at - updated_at))::text FROM worker_tasks";
    assert_eq!(service.database.ask(seconds), "3", "three seconds after the last message");
    assert!(claim(api, json!({ "kinds": ["reply"] })).is_empty(), "the customer may write on");
    // A customer who writes on is answered all the same.
    service.database.run("UPDATE worker_tasks SET opened_at = now() - interval '29 seconds'");
    ask(api, &talk);
    let ahead = "SELECT (run_at - updated_at < interval '2 seconds')::text FROM worker_tasks";
    assert_eq!(service.database.ask(ahead), "true");
    service.database.run("UPDATE worker_tasks SET opened_at = now() - interval '1 hour'");
    ask(api, &talk);
    assert_eq!(claim_one(api, "reply")["payload"]["conversation_id"], json!(talk));
    // Another conversation has its own.
    ask(api, &conversation(api));
    assert_eq!(open_tasks(api).len(), 1);
}

/// chatwoot#13673: two answers, because a message came while the first was being written.
#[test]
fn message_while_a_task_is_claimed_makes_a_new_one_chatwoot_13673() {
    let service = Service::start();
    let api = &service.client;
    let talk = conversation(api);
    ask(api, &talk);
    make_due(&service);
    let claimed = claim_one(api, "reply");
    let last = ask(api, &talk);
    ask(api, &talk);
    let tasks = open_tasks(api);
    assert_eq!(tasks.len(), 1, "one for both");
    assert_ne!(tasks[0]["payload"]["last_message_id"], json!(last));
    assert_ne!(id(&tasks[0]), id(&claimed));
    // The worker of the first dies: what it had is in the second.
    end_leases(&service);
    make_due(&service);
    let again = claim(api, json!({ "kinds": ["reply"], "limit": 10 }));
    assert_eq!(again.iter().map(id).collect::<Vec<_>>(), [id(&tasks[0])]);
    assert_eq!(end(api, &again[0], "completion", json!({})).expect(200).json["status"], json!("completed"));
}

#[test]
fn answer_of_a_person_cancels_open_and_claimed_tasks() {
    let service = Service::start();
    let api = &service.client;
    let (talk, other) = (conversation(api), conversation(api));
    ask(api, &talk);
    ask(api, &other);
    make_due(&service);
    let claimed = claim(api, json!({ "kinds": ["reply"], "limit": 2 }));
    let of = |talk: &str| claimed.iter().find(|task| task["conversation_id"] == json!(talk)).expect("a task").clone();
    ask(api, &talk);
    assert_eq!(open_tasks(api).len(), 1);
    let answer = |author: &str| json!({ "conversation_id": talk, "direction": "outbound", "author": author, "body": "Until six." });
    // What a model or the service writes is no person's.
    for author in ["ai", "system"] {
        api.make("messages", answer(author));
    }
    assert_eq!(open_tasks(api).len(), 1);
    api.make("messages", answer("user"));
    let tasks = api.get(&format!("worker-tasks?conversation_id={talk}")).expect(200).rows().to_vec();
    let ends: BTreeSet<String> =
        tasks.iter().map(|task| format!("{} {}", task["status"], task["cancel_reason"])).collect();
    assert_eq!((tasks.len(), ends), (2, BTreeSet::from([r#""cancelled" "person_answered""#.to_owned()])));
    let late = end(api, &of(&talk), "completion", json!({})).expect(409);
    assert!(late.code() == "lease_lost" && late.text.contains("person_answered"), "{}", late.text);
    end(api, &of(&other), "completion", json!({})).expect(200);
    // The worker goes on with the next message.
    ask(api, &talk);
    assert_eq!(open_tasks(api).len(), 1);
    // In a batch, what comes after a person's answer counts.
    let said = |direction: &str| json!({ "conversation_id": talk, "direction": direction, "body": "x" });
    let batch = |items: Value| api.post("messages/batch/create", json!({ "items": items })).expect(200);
    batch(json!([said("inbound"), said("outbound")]));
    assert!(open_tasks(api).is_empty());
    batch(json!([said("outbound"), said("inbound")]));
    assert_eq!(open_tasks(api).len(), 1);
}

#[test]
fn person_who_takes_over_cancels_the_answer() {
    let service = Service::start();
    let api = &service.client;
    let talk = conversation(api);
    ask(api, &talk);
    api.make("worker-tasks", json!({ "kind": "summary", "conversation_id": talk }));
    let path = format!("conversations/{talk}");
    assert_eq!(api.patch(&path, json!({ "handler": "person" })).expect(200).json["handler"], json!("person"));
    let kinds: Vec<Value> = open_tasks(api).iter().map(|task| task["kind"].clone()).collect();
    assert_eq!(kinds, ["summary"]);
    ask(api, &talk);
    assert_eq!(open_tasks(api).len(), 1, "people answer");
    api.patch(&path, json!({ "handler": "ai" })).expect(200);
    ask(api, &talk);
    assert_eq!(open_tasks(api).len(), 2);
}

/// Messages of a channel: new ones make a task, the channel's past and what the channel itself says do not, and an answer from the
/// app on the business' phone cancels it.
#[test]
fn channel_messages_make_and_cancel_tasks() {
    let service = Service::start();
    let api = &service.client;
    let channel = api.make(
        "channels",
        json!({ "kind": "whatsapp", "name": "Desk", "phone_number_id": NUMBER, "default_handler": "ai", "creates_leads": false }),
    );
    let deliver = |value: &Value| {
        post(&service.stranger(), &body(NUMBER, value)).expect(200);
        until("it is applied", || {
            service.database.ask("SELECT count(*)::text FROM inbound_bodies WHERE state = 'new'") == "0"
        });
    };
    let old = json!({ "from": "447700900123", "id": "wamid.old", "timestamp": (AT - 9_000_000).to_string(), "type": "text",
        "text": { "body": "old" }, "history_context": { "status": "READ" } });
    let thread = json!({ "id": "447700900123", "context": { "wa_id": "447700900123" }, "messages": [old] });
    deliver(&json!({ "history": [{ "metadata": { "phase": 1 }, "threads": [thread] }] }));
    let system = json!({ "from": "447700900123", "id": "wamid.system", "timestamp": AT.to_string(), "type": "system",
        "system": { "type": "customer_identity_changed", "body": "changed" } });
    deliver(&json!({ "messages": [system] }));
    let talk = api.get("conversations").expect(200).rows()[0].clone();
    assert_eq!((&talk["handler"], &talk["channel_id"]), (&json!("ai"), &json!(channel)));
    assert!(open_tasks(api).is_empty());
    let message = text("wamid.1", "447700900123", AT + 1, "Are you open?");
    deliver(&message);
    let first = open_tasks(api);
    assert_eq!(first.len(), 1);
    deliver(&message);
    assert_eq!(open_tasks(api), first, "a redelivery is nothing new");
    let echo = json!({ "from": "493023125010", "to": "447700900123", "id": "wamid.echo", "timestamp": (AT + 2).to_string(),
        "type": "text", "text": { "body": "Until six." } });
    deliver(&json!({ "message_echoes": [echo] }));
    assert!(open_tasks(api).is_empty());
    assert_eq!(task(api, id(&first[0]))["cancel_reason"], json!("person_answered"));
    // What came as the past and then as new is new.
    let again = text("wamid.old", "447700900123", AT - 9_000_000, "old");
    deliver(&again);
    assert_eq!(open_tasks(api).len(), 1);
}

#[test]
fn answer_of_a_person_and_completion_at_once_never_both_succeed() {
    let service = Service::with(&["--db-connections", "4"]);
    let api = &service.client;
    for _ in 0..12 {
        let talk = conversation(api);
        ask(api, &talk);
        make_due(&service);
        let claimed = claim_one(api, "reply");
        let ended = std::thread::scope(|scope| {
            let answer = json!({ "conversation_id": talk, "direction": "outbound", "body": "Until six." });
            scope.spawn(|| api.make("messages", answer));
            scope.spawn(|| end(api, &claimed, "completion", json!({}))).join().expect("an answer").status
        });
        let status = task(api, id(&claimed))["status"].clone();
        assert_eq!(status, json!(if ended == 200 { "completed" } else { "cancelled" }), "{ended}");
    }
}

#[test]
fn usage_counts_each_run_once_also_discarded_ones() {
    let service = Service::start();
    let api = &service.client;
    let talk = conversation(api);
    let usage = |run: &str, more: Value| {
        let mut usage = json!({ "run_id": run, "model": "m/1", "input_tokens": 100, "cached_tokens": 40, "output_tokens": 10,
            "cost": "0.0015", "latency_ms": 800 });
        usage.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({ "usage": usage })
    };
    let claimed = || {
        ask(api, &talk);
        make_due(&service);
        claim_one(api, "reply")
    };
    let sent = claimed();
    end(api, &sent, "completion", usage("run-1", json!({}))).expect(200);
    end(api, &sent, "completion", usage("run-1", json!({}))).expect(200);
    let lost = claimed();
    api.make("messages", json!({ "conversation_id": talk, "direction": "outbound", "body": "Until six." }));
    end(api, &lost, "completion", usage("run-2", json!({ "latency_ms": 400 }))).expect(409);
    end(api, &lost, "completion", usage("run-2", json!({}))).expect(409);
    let failed = json!({ "error": "x", "retry": false, "usage": { "model": "m2", "input_tokens": 7 } });
    end(api, &claimed(), "failure", failed).expect(200);
    end(api, &claimed(), "completion", usage("run-4", json!({ "outcome": "draft", "model": "m2" }))).expect(200);
    // A message with its model counts by itself, and elsewhere.
    let message = json!({ "conversation_id": talk, "direction": "outbound", "author": "ai", "body": "x", "model": "m/1",
        "input_tokens": 5, "cached_tokens": 3, "latency_ms": 900, "run_id": "run-1" });
    let message = api.create("messages", message);
    assert_eq!(
        (&message["cached_tokens"], &message["latency_ms"], &message["run_id"]),
        (&json!(3), &json!(900), &json!("run-1"))
    );
    let stats = |query: &str| api.get(&format!("stats/{query}")).expect(200).json;
    let week = "ai-usage?period=last_7_days&time_zone=UTC";
    let all = stats(week);
    assert_eq!(
        all["total"],
        json!({ "runs": 4, "sent": 1, "draft": 1, "discarded": 1, "failed": 1, "input_tokens": 307, "cached_tokens": 120,
            "output_tokens": 30, "cost": "0.0045", "mean_latency_ms": 666 })
    );
    assert_eq!(stats("ai?period=last_7_days&time_zone=UTC")["total"]["input_tokens"], json!(5));
    let groups = stats("ai-usage?period=today&time_zone=UTC&group_by=model");
    let runs: Vec<(&Value, &Value)> =
        groups["data"].as_array().expect("buckets").iter().map(|bucket| (&bucket["group"], &bucket["runs"])).collect();
    assert_eq!(runs, [(&json!("m/1"), &json!(2)), (&json!("m2"), &json!(2))]);
    // A stored response is not returned after the next run.
    assert!(api.get(&format!("stats/{week}")).expect(200).header("cache-status").contains("hit"));
    end(api, &claimed(), "completion", usage("run-5", json!({ "model": "m2" }))).expect(200);
    let total = stats(week)["total"].clone();
    assert_eq!((&total["runs"], &total["sent"], &total["input_tokens"]), (&json!(5), &json!(2), &json!(407)));
    // By day of the zone that is asked for.
    service.database.run("UPDATE ai_runs SET ended_at = '2026-11-20 23:30:00+00' WHERE run_id = 'run-1'");
    let on = |day: &str, zone: &str| {
        stats(&format!("ai-usage?from={day}&to={day}&time_zone={zone}"))["total"]["sent"].clone()
    };
    assert_eq!((on("2026-11-20", "UTC"), on("2026-11-20", "Asia/Tokyo")), (json!(1), json!(0)));
    assert_eq!((on("2026-11-21", "UTC"), on("2026-11-21", "Asia/Tokyo")), (json!(0), json!(1)));
}

#[test]
fn worker_needs_no_more_than_its_permissions() {
    let service = Service::start();
    let api = &service.client;
    let of = |permissions: Value| {
        let key = api.create("api-keys", json!({ "name": "Worker", "role": "agent", "permissions": permissions }));
        Client::new(service.address, key["key"].as_str().expect("a key"))
    };
    let worker = of(json!(["workers:read", "workers:write"]));
    worker.make("worker-tasks", json!({ "kind": "k" }));
    let claimed = claim_one(&worker, "k");
    end(&worker, &claimed, "renewal", json!({})).expect(200);
    end(&worker, &claimed, "completion", json!({})).expect(200);
    worker.get("leads").expect(403);
    for (client, what) in
        [(of(json!(["workers:read", "crm:write"])), "a key without it"), (service.client_as(Role::Viewer), "a viewer")]
    {
        let refused = client.post("task-claims", json!({ "kinds": ["k"] })).expect(403);
        assert_eq!(refused.code(), "forbidden", "{what}");
        client.post("worker-tasks", json!({ "kind": "k" })).expect(403);
        client.get("worker-tasks").expect(200);
    }
    // Who sees only what is assigned to them claims nothing, since a task may be about anything.
    admit(&service, "acme", "amina@example.com", "agent");
    let amina = client(&service, &sign_in(&service, "amina@example.com").expect(201).json);
    amina.post("task-claims", json!({ "kinds": ["k"] })).expect(200);
    api.patch(&format!("businesses/{}", service.business), json!({ "agent_visibility": "assigned" })).expect(200);
    amina.post("task-claims", json!({ "kinds": ["k"] })).expect(403);
    let talk = conversation(api);
    let hidden = api.make("worker-tasks", json!({ "kind": "k", "conversation_id": talk }));
    amina.get(&format!("worker-tasks/{hidden}")).expect(404);
    amina.post(&format!("worker-tasks/{hidden}/cancellation"), json!({})).expect(404);
}

#[test]
fn tasks_of_another_tenant_are_out_of_reach() {
    let service = Service::start();
    let (_, neighbour) = service.neighbour();
    let api = &service.client;
    let body = json!({ "kind": "k", "dedupe_key": "same" });
    api.make("worker-tasks", body.clone());
    assert!(claim(&neighbour, json!({ "kinds": ["k"] })).is_empty());
    neighbour.make("worker-tasks", body);
    let claimed = claim_one(api, "k");
    for act in ["renewal", "completion", "failure"] {
        let more = if act == "failure" { json!({ "error": "x" }) } else { json!({ "usage": { "model": "m" } }) };
        let more = if act == "renewal" { json!({}) } else { more };
        assert_eq!(end(&neighbour, &claimed, act, more).expect(404).code(), "not_found", "{act}");
    }
    neighbour.post(&format!("worker-tasks/{}/cancellation", id(&claimed)), json!({})).expect(404);
    let talk = conversation(api);
    let refused = neighbour.post("worker-tasks", json!({ "kind": "k", "conversation_id": talk }));
    assert_eq!(refused.expect(422).faults(), ["/conversation_id"]);
    assert_eq!(service.database.ask("SELECT count(*)::text FROM ai_runs"), "0");
    end(api, &claimed, "completion", json!({})).expect(200);
}

#[test]
fn limits_of_tasks_and_claims_422() {
    let service = Service::start();
    let api = &service.client;
    let refused = |path: &str, body: Value| -> Vec<String> {
        api.post(path, body).expect(422).faults().into_iter().map(str::to_owned).collect()
    };
    let fits = json!({ "text": "x".repeat(65_520) });
    api.make("worker-tasks", json!({ "kind": "k", "payload": fits }));
    let payload = json!({ "text": "x".repeat(65_536) });
    assert_eq!(refused("worker-tasks", json!({ "kind": "k", "payload": payload })), ["/payload"]);
    let wrong = json!({ "payload": [], "priority": 101, "max_attempts": 0, "attempts": 4, "token": "x" });
    assert_eq!(
        refused("worker-tasks", wrong),
        ["/attempts", "/kind", "/max_attempts", "/payload", "/priority", "/token"]
    );
    let wrong = json!({ "kinds": [], "limit": 51, "lease_seconds": 0, "wait": 51, "kind": "x" });
    assert_eq!(refused("task-claims", wrong), ["/kind", "/lease_seconds", "/limit", "/wait"]);
    assert_eq!(refused("task-claims", json!({ "kinds": [] })), ["/kinds"]);
    assert_eq!(refused("task-claims", json!({ "kinds": vec!["k"; 21] })), ["/kinds"]);
    assert_eq!(refused("task-claims", json!({})), ["/kinds"]);
    let claimed = claim_one(api, "k");
    assert_eq!(claimed["payload"]["text"].as_str().map(str::len), Some(65_520));
    let path = format!("worker-tasks/{}", id(&claimed));
    let usage = json!({ "input_tokens": -1, "cost": "cheap", "outcome": "lost" });
    let faults = refused(&format!("{path}/completion"), json!({ "usage": usage }));
    assert_eq!(faults, ["/token", "/usage/cost", "/usage/input_tokens", "/usage/model", "/usage/outcome"]);
    assert_eq!(refused(&format!("{path}/failure"), json!({ "token": claimed["token"] })), ["/error"]);
    assert!(api.get(&path).expect(200).json.get("token").is_none(), "only the claim shows it");
}

#[test]
fn tasks_that_ended_long_ago_are_purged() {
    let service = Service::with(&["--background-tasks", "on"]);
    let api = &service.client;
    let old = api.make("worker-tasks", json!({ "kind": "k" }));
    let kept = api.make("worker-tasks", json!({ "kind": "k" }));
    for task in [&old, &kept] {
        let cancelled = api.post(&format!("worker-tasks/{task}/cancellation"), json!({})).expect(200).json;
        assert_eq!((&cancelled["status"], &cancelled["cancel_reason"]), (&json!("cancelled"), &json!("requested")));
    }
    service.database.run(&format!("UPDATE worker_tasks SET ended_at = now() - interval '31 days' WHERE id = '{old}'"));
    until("it is gone", || api.get(&format!("worker-tasks/{old}")).status == 404);
    task(api, &kept);
}

#[test]
fn erasure_deletes_tasks_about_the_person() {
    let service = Service::start();
    let api = &service.client;
    let contact = api.make("contacts", json!({ "first_name": "Anna" }));
    let body = json!({ "channel": "web", "address": "anna", "handler": "ai", "contact_id": contact });
    let talk = api.make("conversations", body);
    ask(api, &talk);
    make_due(&service);
    end(api, &claim_one(api, "reply"), "completion", json!({ "result": { "said": "Dear Anna" } })).expect(200);
    let kept = api.make("worker-tasks", json!({ "kind": "k" }));
    let erased = api.post(&format!("contacts/{contact}/erasure"), json!({ "mode": "anonymise" })).expect(200);
    assert_eq!(erased.json["rows"]["worker-tasks"], json!(1));
    let left: Vec<Value> = api.get("worker-tasks").expect(200).rows().iter().map(|task| task["id"].clone()).collect();
    assert_eq!(left, [kept]);
}

/// The program of Python, if there is one of a version that the example needs.
fn python() -> Option<&'static str> {
    let program = "import sys; sys.exit(sys.version_info < (3, 9))";
    let runs = |python: &&str| {
        let run = std::process::Command::new(python).args(["-c", program]).stderr(std::process::Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    ["python3", "python"].into_iter().find(runs)
}

/// Runs docs/examples/worker.py until it has done `tasks`.
fn run_example(python: &str, service: &Service, key: &str, tasks: usize) {
    let output = std::process::Command::new(python)
        .args(["-c", &format!("import worker; worker.run({tasks})")])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("RAPPORT_URL", format!("http://{}", service.address))
        .env("RAPPORT_API_KEY", key)
        .output()
        .expect("a worker");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn example_worker_answers_each_burst_once() {
    let Some(python) = python() else {
        eprintln!("SKIPPED: no Python 3.9 or newer");
        return;
    };
    let service = Service::start();
    let api = &service.client;
    let key = json!({ "name": "Worker", "role": "agent",
        "permissions": ["workers:read", "workers:write", "crm:read", "crm:write"] });
    let key = api.create("api-keys", key);
    let key = key["key"].as_str().expect("a key");
    api.make("channels", json!({ "kind": "loopback", "name": "Trial", "default_handler": "ai" }));
    let talk = api.make("conversations", json!({ "channel": "whatsapp", "address": "+447700900123" }));
    ask(api, &talk);
    let asked = ask(api, &talk);
    // One fails before its model runs, another after: nothing can be sent there. The worker reports both, and goes on.
    let broken = api.make("worker-tasks", json!({ "kind": "reply", "priority": 0, "max_attempts": 1, "payload": {} }));
    let adrift = conversation(api);
    ask(api, &adrift);
    make_due(&service);
    run_example(python, &service, key, 3);
    let failed = task(api, &broken);
    assert_eq!(failed["status"], json!("failed"), "{failed}");
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("conversation_id")), "{failed}");
    let failed = api.get(&format!("worker-tasks?conversation_id={adrift}")).expect(200).rows()[0].clone();
    assert_eq!((&failed["status"], &failed["attempts"]), (&json!("failed"), &json!(1)), "{failed}");
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("no_channel")), "{failed}");
    let said = || api.get(&format!("messages?conversation_id={talk}&direction=outbound")).expect(200).rows().to_vec();
    let (first, count) = (said()[0].clone(), said().len());
    assert_eq!(
        (count, &first["status"], &first["author"], &first["model"]),
        (1, &json!("queued"), &json!("ai"), &json!("example"))
    );
    assert!(first["body"].as_str().is_some_and(|body| body.contains("Are you open?")), "{first}");
    assert!(first["latency_ms"].is_i64() && first["output_tokens"].is_i64(), "{first}");
    let run = service.database.ask("SELECT run_id FROM ai_runs WHERE outcome = 'sent'");
    assert_eq!(first["run_id"], json!(run));
    let usage = api.get("stats/ai-usage?period=today&time_zone=UTC").expect(200).json["total"].clone();
    assert_eq!((&usage["runs"], &usage["sent"], &usage["failed"]), (&json!(2), &json!(1), &json!(1)));
    // A question that was sent before the answer and came after it is open; the one that was answered is not.
    let before = (chrono::Utc::now() - chrono::Duration::hours(1)).to_rfc3339();
    let late = json!({ "conversation_id": talk, "direction": "inbound", "sent_at": before, "body": "And today?" });
    api.make("messages", late);
    let payload = json!({ "conversation_id": talk, "last_message_id": asked });
    let again = api.make("worker-tasks", json!({ "kind": "reply", "priority": 0, "payload": payload }));
    make_due(&service);
    run_example(python, &service, key, 2);
    let done = task(api, &again);
    assert_eq!((&done["status"], &done["result"]["sent"]), (&json!("completed"), &json!(false)), "{done}");
    let said = said();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0]["body"].as_str().is_some_and(|body| body.contains("And today?")), "{said:?}");
    assert!(open_tasks(api).is_empty());
}
