//! Claims and leases: who has a task, for how long, and what comes of it.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rapport::auth::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{claim, claim_one, end, end_leases, id, make_due, open_tasks, task};
use crate::support::{Service, make_key, until};

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
