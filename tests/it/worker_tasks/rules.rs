//! Usage, permissions, limits, and how long tasks are kept.

use rapport::auth::Role;
use serde_json::{Value, json};

use super::{ask, claim, claim_one, conversation, end, id, make_due, task};
use crate::sign_in::{admit, client, sign_in};
use crate::support::{Client, Service, until};

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
