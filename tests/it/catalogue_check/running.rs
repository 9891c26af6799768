//! Tests of schema damage while the service runs: it is detected and reported, the cache is bypassed, and it ends after
//! the repair.

use rapport::auth::Role;
use rapport::db::migrate;
use serde_json::json;

use crate::support::{Service, make_key, redis, until};

const HIT: &str = "rapport; hit; detail=local";
const BYPASS: &str = "rapport; fwd=bypass";

fn service() -> Service {
    match redis() {
        Some(redis) => {
            Service::with(&["--catalogue-check-seconds", "1", "--readiness-after-seconds", "1", "--redis-url", &redis])
        }
        None => Service::with(&["--catalogue-check-seconds", "1", "--readiness-after-seconds", "1"]),
    }
}

fn is_ready(service: &Service) -> bool {
    service.client.get("/health/readiness").status == 200
}

#[test]
fn missing_trigger_at_runtime_bypasses_cache_until_repaired() {
    let service = service();
    let api = &service.client;
    let lead = format!("leads/{}", api.make("leads", json!({ "title": "Roof" })));
    let title = || api.get(&lead).expect(200).json["title"].clone();
    assert_eq!(title(), "Roof");
    assert_eq!(api.get(&lead).header("cache-status"), HIT);
    let (doomed, other) =
        (api.create("api-keys", json!({ "name": "Old", "role": "viewer" })), service.client_as(Role::Viewer));
    let revoked = crate::support::Client::new(service.address, doomed["key"].as_str().expect("a key"));
    revoked.get("leads").expect(200);
    other.get("leads").expect(200);

    service.database.run("DROP TRIGGER log_change ON leads; DROP TRIGGER log_change ON api_keys");
    until("readiness fails", || !is_ready(&service));
    let readiness = api.get("/health/readiness").expect(503);
    assert_eq!(readiness.json["status"], "impaired");
    let reason = readiness.json["reasons"]["catalogue"].as_str().unwrap_or_default();
    assert!(reason.contains("trigger leads.log_change is missing") && reason.contains("rapport migrate"), "{reason}");
    // Longer than the heartbeat's timeout here: a session that responds is not interrupted.
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    let reasons = api.get("/health/readiness").expect(503).json["reasons"].clone();
    assert_eq!(reasons.as_object().map(serde_json::Map::len), Some(1), "{reasons}");
    api.get("/health/liveness").expect(200);
    let detailed = api.get("/health/detailed").expect(200);
    assert_eq!(
        (&detailed.json["status"], &detailed.json["catalogue"]["status"]),
        (&json!("degraded"), &json!("damaged"))
    );
    assert_eq!(detailed.json["catalogue"]["faults"], 2, "{}", detailed.text);
    let metrics = service.stranger_at(service.metrics).get("/metrics").expect(200).text;
    assert!(metrics.contains("rapport_catalogue_faults{severity=\"fault\"} 2"), "{metrics}");

    // No change is logged, yet no response is stale.
    for turn in 0..3 {
        service.database.run(&format!("UPDATE leads SET title = 'Door {turn}'"));
        let answer = api.get(&lead).expect(200);
        assert_eq!((&answer.json["title"], answer.header("cache-status")), (&json!(format!("Door {turn}")), BYPASS));
        assert_eq!(api.get("leads").expect(200).rows()[0]["title"], format!("Door {turn}"));
    }
    api.delete(&format!("api-keys/{}", doomed["id"].as_str().expect("an id"))).expect(204);
    revoked.get("leads").expect(401);
    other.get("leads").expect(200);

    let repaired = migrate::run(&service.database.url).expect("a repair").repaired;
    assert_eq!(repaired.len(), 2, "{repaired:?}");
    until("ready again", || is_ready(&service));
    assert_eq!(title(), "Door 2", "nothing of before is left in either tier");
    assert_eq!(api.get(&lead).header("cache-status"), HIT);
    service.database.run("UPDATE leads SET title = 'Gate'");
    assert_eq!(title(), "Gate");
    assert_eq!(api.get("/health/detailed").expect(200).json["catalogue"]["status"], "intact");
}

#[test]
fn triggers_briefly_disabled_cache_dropped_at_next_check() {
    let service = service();
    let api = &service.client;
    let lead = format!("leads/{}", api.make("leads", json!({ "title": "Roof" })));
    api.get(&lead).expect(200);
    api.get(&lead).expect(200);
    // As a script does for speed. No check can observe the table without its triggers.
    service.database.run(
        "BEGIN; ALTER TABLE leads DISABLE TRIGGER log_change; UPDATE leads SET title = 'Door';
         ALTER TABLE leads ENABLE ALWAYS TRIGGER log_change; COMMIT",
    );
    until("the change is seen", || api.get(&lead).expect(200).json["title"] == "Door");
    assert!(is_ready(&service));
    until("hits again", || api.get(&lead).header("cache-status") == HIT);

    // A setting for new sessions is detected by existing ones; no session of the service has it.
    let name = service.database.name().to_owned();
    service.database.run(&format!("ALTER DATABASE {name} SET session_replication_role = replica"));
    until("the setting is noticed", || {
        let reasons = api.get("/health/readiness").json["reasons"].clone();
        reasons["catalogue"]
            .as_str()
            .is_some_and(|reason| reason.contains("setting session_replication_role is `replica`"))
    });
    service.database.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'rapport'",
    );
    api.post("leads", json!({ "title": "Gate" })).expect(503);
    service.database.run(&format!("ALTER DATABASE {name} RESET session_replication_role"));
    until("ready again", || is_ready(&service));
    api.post("leads", json!({ "title": "Gate" })).expect(201);
}

#[test]
fn triggers_disabled_while_stopped_no_stale_redis_entry() {
    let Some(redis) = redis() else { return };
    let settings = ["--redis-url", redis.as_str()];
    let first = Service::with(&settings);
    let lead = format!("leads/{}", first.client.make("leads", json!({ "title": "Roof" })));
    first.client.get(&lead).expect(200);
    // It is stored in Redis asynchronously.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let (database, business) = (first.database.clone(), first.business);
    let key = make_key(&database, business, Role::Owner);
    drop(first);
    let second = Service::on(database.clone(), business, &key, &settings);
    let cached = second.client.get(&lead).expect(200);
    assert_eq!(cached.header("cache-status"), "rapport; hit; detail=redis", "what the first has kept is there");
    drop(second);
    database.run(
        "ALTER TABLE leads DISABLE TRIGGER log_change; UPDATE leads SET title = 'Door';
         ALTER TABLE leads ENABLE ALWAYS TRIGGER log_change",
    );
    let third = Service::on(database.clone(), business, &key, &settings);
    assert_eq!(third.client.get(&lead).expect(200).json["title"], "Door");
}

#[test]
fn write_on_damaged_catalogue_503_database_damaged() {
    // The periodic check runs hourly; the failed write triggers one.
    let service = Service::with(&["--catalogue-check-seconds", "3600"]);
    let api = &service.client;
    let lead = api.make("leads", json!({ "title": "Roof" }));
    service.database.run("REVOKE INSERT ON leads FROM rapport_tenant");
    until("503", || {
        let answer = api.post("leads", json!({ "title": "Door" }));
        answer.status == 503 && answer.code() == "database_damaged" && answer.text.contains("rapport migrate")
    });
    until("readiness fails", || !is_ready(&service));
    assert_eq!(api.get(&format!("leads/{lead}")).expect(200).json["title"], "Roof");
    migrate::run(&service.database.url).expect("a repair");
    api.post("leads", json!({ "title": "Door" })).expect(201);
}
