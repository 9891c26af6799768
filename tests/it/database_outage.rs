//! Tests of a replica without a database connection: not ready, alive, few log lines, and recovery by itself.

use std::time::{Duration, Instant};

use rapport::auth::Role;
use serde_json::json;

use crate::support::proxy::{Mode, Proxy};
use crate::support::{Database, Program, Service, make_business, make_key, until};

/// Fast detection; a statement may take a second, so a pool that is merely busy is given two.
const QUICK: [&str; 6] =
    ["--readiness-after-seconds", "1", "--cache-validation-timeout-ms", "500", "--statement-timeout-ms", "1000"];

/// Asserts the effect of an outage of kind `mode` on an idle replica.
fn is_not_ready_while(mode: Mode, settings: &[&str], components: &[&str]) {
    let direct = Database::create();
    let business = make_business(&direct, "acme");
    let key = make_key(&direct, business, Role::Owner);
    let proxy = Proxy::to_postgres(&direct.url);
    let settings = [QUICK.as_slice(), settings].concat();
    let service = Service::on(Database::at(proxy.url(&direct.url)), business, &key, &settings);
    let probe = |path: &str| service.stranger().get(path);
    probe("/health/readiness").expect(200);

    proxy.set(mode);
    until("readiness fails", || {
        let answer = probe("/health/readiness");
        answer.status == 503 && components.iter().all(|component| answer.json["reasons"][component].is_string())
    });
    let reasons = probe("/health/readiness").json;
    assert_eq!(reasons["reasons"].as_object().map(|reasons| reasons.len()), Some(components.len()), "{reasons}");
    assert!(!reasons.to_string().contains("127.0.0.1"), "a probe that anyone may ask names no host: {reasons}");
    probe("/health/liveness").expect(200);
    service.client.get("leads").expect(503);

    proxy.set(Mode::Pass);
    until("readiness comes back", || probe("/health/readiness").status == 200);
    service.client.get("leads").expect(200);
    service.client.make("leads", json!({ "title": "Written after" }));
}

#[test]
fn database_refusing_connections_fails_readiness_until_back() {
    is_not_ready_while(Mode::Cut, &[], &["cache validation", "database"]);
}

#[test]
fn unresponsive_database_fails_readiness_until_back() {
    is_not_ready_while(Mode::Hole, &[], &["cache validation", "database"]);
}

#[test]
fn database_outage_with_cache_off_fails_readiness() {
    is_not_ready_while(Mode::Cut, &["--cache", "off"], &["database"]);
}

#[test]
fn busy_database_does_not_fail_readiness() {
    let settings = [QUICK.as_slice(), &["--db-wait-ms", "300", "--db-connections", "1"]].concat();
    let service = Service::with(&settings);
    let lead = service.client.make("leads", json!({ "title": "Locked" }));
    let mut holder = service.database.connect();
    diesel::connection::SimpleConnection::batch_execute(
        &mut holder,
        "BEGIN; LOCK TABLE leads IN ACCESS EXCLUSIVE MODE",
    )
    .expect("a lock");
    // The only connection waits for the lock up to its timeout, again and again.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        service.client.try_patch(&format!("leads/{lead}"), json!({ "score": 1 }));
        service.stranger().get("/health/readiness").expect(200);
    }
}

#[test]
fn unreachable_database_logged_once_a_minute_per_component() {
    let direct = Database::create();
    let business = make_business(&direct, "acme");
    let key = make_key(&direct, business, Role::Owner);
    let proxy = Proxy::to_postgres(&direct.url);
    let url = proxy.url(&direct.url);
    let program = Program::serve(&[
        ("DATABASE_URL", url.as_str()),
        ("RAPPORT_LOG", "info"),
        ("RAPPORT_READINESS_AFTER_SECONDS", "1"),
        ("RAPPORT_DB_WAIT_MS", "300"),
    ]);
    program.until_ready();
    let api = program.client(&key);
    api.get("leads").expect(200);
    let before = program.said().len();
    proxy.set(Mode::Cut);
    // Connections are cut within a moment, in which an answer may still pass.
    until("reads are refused", || api.try_get("leads").is_some_and(|answer| answer.status == 503));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        assert!(api.try_get("leads").is_some_and(|answer| answer.status == 503));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!program.is_ready());
    proxy.set(Mode::Pass);
    program.until_ready();
    program.until_said("the database can be reached again");
    program.until_said("validation rounds succeed again");
    let said = program.stop()[before..].to_owned();
    let count = |text: &str| said.lines().filter(|line| line.contains(text)).count();
    assert_eq!(count("the database cannot be reached"), 1, "{said}");
    assert_eq!(count("the database can be reached again"), 1, "{said}");
    assert_eq!(count("a validation round failed"), 1, "{said}");
    assert_eq!(count("validation rounds succeed again"), 1, "{said}");
    // Each of the two is logged once more as the reason for failing readiness; nothing else is.
    let complaints = said.lines().filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\"")).count();
    assert!(complaints <= 4, "{complaints} complaints: {said}");
}
