//! Tests of background tasks: a panic or an unexpected end is detected, counted and followed by a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rapport::auth::Role;
use rapport::background::{Pulse, Task};
use rapport::base::egress::{EgressClient, EgressPolicy, Lookup};
use serde_json::{Value, json};

use crate::support::receiver::Receiver;
use crate::support::{Client, Database, Service, make_business, make_key, until};

/// The value of a counter on the metrics page; 0 if it is missing.
fn counted(service: &Service, name: &str, task: &str) -> f64 {
    let page = Client::new(service.metrics, "").get("/metrics").expect(200).text;
    let line = format!("{name}{{task=\"{task}\"}} ");
    page.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap_or_default()
}

fn restarts(service: &Service, task: &str) -> f64 {
    counted(service, "rapport_background_task_restarts_total", task)
}

fn detailed(service: &Service) -> Value {
    service.client.get("/health/detailed").expect(200).json
}

/// Asserts the effect of the required task `name` on a service while `broken`, and its recovery.
fn is_seen_and_comes_back(service: &Service, name: &'static str, broken: &AtomicBool, reason: &str) {
    let probe = |path: &str| service.stranger().get(path);
    until("readiness fails", || probe("/health/readiness").status == 503);
    let why = probe("/health/readiness").json;
    assert!(why["reasons"][name].as_str().is_some_and(|why| why.contains("restarted")), "{why}");
    probe("/health/liveness").expect(200);
    until("a second restart", || restarts(service, name) >= 2.0);
    let task = detailed(service)["background_tasks"][name].clone();
    assert_eq!((&task["required"], &task["last_succeeded_at"]), (&json!(true), &Value::Null), "{task}");
    assert!(task["restarts"].as_u64() >= Some(2) && task["last_started_at"].is_string(), "{task}");
    assert!(task["last_failure"]["reason"].as_str().is_some_and(|found| found.contains(reason)), "{task}");

    broken.store(false, Ordering::Release);
    until("readiness comes back", || probe("/health/readiness").status == 200);
    let task = detailed(service)["background_tasks"][name].clone();
    assert_eq!((&task["state"], &task["instances"]), (&json!("running"), &json!(1)), "{task}");
    assert!(task["last_succeeded_at"].is_string(), "{task}");
}

#[test]
fn required_task_panics_readiness_503_until_it_succeeds() {
    let service = Service::start();
    let broken = Arc::new(AtomicBool::new(true));
    let (supervisor, breaks) = (service.supervisor.clone(), broken.clone());
    let over = Arc::new(AtomicBool::new(false));
    let ends = over.clone();
    let thread = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            supervisor.spawn(Task::required("test task"), move |pulse: Pulse| {
                let breaks = breaks.clone();
                async move {
                    loop {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        assert!(!breaks.load(Ordering::Acquire), "broken on purpose");
                        pulse.succeeded();
                    }
                }
            });
            while !ends.load(Ordering::Acquire) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    });
    is_seen_and_comes_back(&service, "test task", &broken, "broken on purpose");
    over.store(true, Ordering::Release);
    thread.join().expect("no panic leaves the supervisor");
}

#[test]
fn required_thread_ends_readiness_503_until_it_succeeds() {
    let service = Service::start();
    let (broken, over) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let (breaks, ends) = (broken.clone(), over.clone());
    let body = move |pulse: &Pulse| {
        while !ends.load(Ordering::Acquire) {
            if breaks.load(Ordering::Acquire) {
                return Err("the other side is gone".into());
            }
            pulse.succeeded();
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    };
    let thread = service.supervisor.spawn_thread(Task::required("test thread"), "test", body).expect("a thread");
    is_seen_and_comes_back(&service, "test thread", &broken, "the other side is gone");
    over.store(true, Ordering::Release);
    thread.join().expect("no panic leaves the supervisor");
    assert_eq!(detailed(&service)["background_tasks"]["test thread"]["state"], "finished");
}

#[test]
fn health_detailed_lists_every_background_task() {
    let service = Service::with(&["--background-tasks", "on", "--rate-limit", "1000", "--cache-refresh-ms", "50"]);
    service.client.get("leads").expect(200);
    let names = [
        "cache compression",
        "cache refresh",
        "row loader",
        "database threads",
        "event streams",
        "events",
        "jobs",
        "reply batcher",
        "metrics",
        "password hashing",
        "rate limits",
        "validator",
        "webhooks",
    ];
    let tasks = detailed(&service)["background_tasks"].clone();
    for name in names {
        assert_eq!(tasks[name]["state"], "running", "{name}: {tasks}");
    }
    assert_eq!(tasks["database threads"]["instances"], 2);
    let required: Vec<&str> = names.into_iter().filter(|name| tasks[*name]["required"] == true).collect();
    assert_eq!(required, ["row loader", "validator"]);
    for name in ["row loader", "events", "jobs", "validator"] {
        until("each succeeds", || detailed(&service)["background_tasks"][name]["last_succeeded_at"].is_string());
    }
}

#[test]
fn webhook_delivery_panic_counted_and_retried_after_lease() {
    let (asked, receiver) = (Arc::new(AtomicUsize::new(0)), Receiver::content());
    let counts = asked.clone();
    let lookup: Lookup = Arc::new(move |_| {
        assert!(counts.fetch_add(1, Ordering::AcqRel) > 0, "the first lookup panics");
        Box::pin(async { Ok(vec![[127, 0, 0, 1].into()]) })
    });
    let database = Database::create();
    let business = make_business(&database, "acme");
    let key = make_key(&database, business, Role::Owner);
    let settings =
        ["--background-tasks", "on", "--webhook-allowed-networks", "127.0.0.0/8", "--webhook-timeout-seconds", "2"];
    let service = Service::changed(database, business, &key, &settings, move |app| {
        let bounds = EgressPolicy::new(&app.config.webhooks.webhook_allowed_networks);
        app.egress = Arc::new(EgressClient::new(bounds, Duration::from_secs(2), lookup));
    });
    let url = format!("http://hooks.example.test:{}/hook", receiver.address.port());
    service.client.create("webhooks", json!({ "url": url, "types": ["lead.created"] }));
    service.client.make("leads", json!({ "title": "Desks" }));
    let counter = "rapport_background_panics_total";
    until("the panic is counted", || counted(&service, counter, "webhook delivery") >= 1.0);
    let panics = detailed(&service)["background_panics"]["webhook delivery"].clone();
    assert!(panics["panics"].as_u64() >= Some(1) && panics["last_at"].is_string(), "{panics}");
    let leased = "SELECT status || ' ' || (next_attempt_at > now())::text FROM webhook_deliveries";
    assert_eq!(service.database.ask(leased), "pending true", "it has its lease still");
    // Expires the lease.
    service.database.run("UPDATE webhook_deliveries SET next_attempt_at = now()");
    assert_eq!(receiver.until(1)[0].json()["type"], "lead.created");
}

#[cfg(feature = "mutants")]
mod failpoints {
    use super::*;
    use crate::support::Program;

    /// Each real task panics twice in its own loop, in the real binary; the service survives and reports it.
    #[test]
    fn each_background_task_panics_restarted_service_serves() {
        let tasks =
            ["validator", "row loader", "database threads", "reply batcher", "events", "webhooks", "jobs", "metrics"];
        for task in tasks.into_iter().chain(["event streams", "cache refresh", "log writer"]) {
            let database = Database::create();
            let business = make_business(&database, "acme");
            let key = make_key(&database, business, Role::Owner);
            let mutant = format!("panic-{task}");
            let settings = [
                ("DATABASE_URL", database.url.as_str()),
                ("RAPPORT_MUTANT", &mutant),
                ("RAPPORT_CACHE_REFRESH_MS", "50"),
            ];
            let program = Program::serve(&settings);
            let api = program.client(&key);
            let metrics = Client::new(program.metrics, "");
            let line = format!("rapport_background_task_restarts_total{{task=\"{task}\"}} 2");
            until(task, || {
                // Any work that triggers each task.
                api.try_get("leads");
                metrics.try_get("/metrics").is_some_and(|page| page.text.lines().any(|found| found == line))
            });
            until("ready again", || program.is_ready());
            let lead = api.make("leads", json!({ "title": "Written after" }));
            api.get(&format!("leads/{lead}")).expect(200);
            let said = program.stop();
            assert!(said.contains("a background task panicked") && said.contains(task), "{task}: {said}");
        }
    }
}
