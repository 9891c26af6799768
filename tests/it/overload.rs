//! Tests of a slow, full, contended or unavailable database: requests are bounded in time, probes respond, and the
//! service recovers.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_web::ResponseError;
use diesel::PgConnection;
use diesel::connection::SimpleConnection;
use rapport::base::error::Result;
use rapport::db::{Db, Isolation, Statement, Tx, WriteOptions};
use serde_json::json;

use crate::support::{Answer, Client, Database, Service, make_business, open_db};

/// A read of a locked table occupies its connection until the statement timeout.
const STUCK: [&str; 2] = ["--lock-wait-ms", "0"];

/// Locks `tables` until it is dropped: with [`STUCK`], reads of them occupy their connections.
struct Held(PgConnection);

impl Held {
    fn tables(database: &Database, tables: &str) -> Self {
        let mut conn = database.connect();
        conn.batch_execute(&format!("BEGIN; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")).expect("a lock");
        Self(conn)
    }

    fn release(mut self) {
        self.0.batch_execute("COMMIT").expect("released");
    }
}

/// Waits until `count` of the service's connections wait for a lock.
fn until_stuck(database: &Database, count: usize) {
    let began = Instant::now();
    let stuck = "SELECT count(*)::text FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'rapport' AND wait_event_type = 'Lock'";
    while database.cell(stuck) != count.to_string() {
        assert!(began.elapsed() < Duration::from_secs(10), "the connections are not stuck");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn meanwhile(client: &Client, path: &str) -> JoinHandle<Answer> {
    let (client, path) = (client.clone(), path.to_owned());
    std::thread::spawn(move || client.get(&path))
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (work(), began.elapsed())
}

/// Asserts an error with all that a client needs to retry: 503, a code, and Retry-After.
#[track_caller]
fn refused(answer: Answer, code: &str) {
    let answer = answer.expect(503);
    assert_eq!(answer.code(), code);
    assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
}

#[test]
fn all_connections_stuck_probes_200_reads_503_in_time() {
    let settings =
        ["--cache", "off", "--db-wait-ms", "300", "--statement-timeout-ms", "4000", "--credential-cache-ms", "60000"];
    let service = Service::with(&[&settings[..], &STUCK].concat());
    let api = &service.client;
    let company = api.make("companies", json!({ "name": "Brekke" }));
    api.get("leads").expect(200);
    let probes = service.stranger();
    probes.get("/health").expect(200);

    let held = Held::tables(&service.database, "leads");
    let stuck = [meanwhile(api, "leads"), meanwhile(api, "leads?limit=1")];
    until_stuck(&service.database, 2);
    for path in ["/health/liveness", "/health/readiness"] {
        let fastest = (0..5).map(|_| timed(|| probes.get(path).expect(200)).1).min().expect("five tries");
        println!("{path} in {fastest:?} while every connection is stuck");
        assert!(fastest < Duration::from_millis(100), "{path} took {fastest:?}");
    }
    for path in ["companies".to_owned(), format!("companies/{company}")] {
        let (answer, took) = timed(|| api.get(&path));
        refused(answer, "busy");
        let enough = Duration::from_millis(250)..Duration::from_millis(1500);
        assert!(enough.contains(&took), "{path} waited {took:?}");
    }
    for answer in stuck {
        refused(answer.join().expect("an answer"), "statement_timeout");
    }
    held.release();
    api.get("leads").expect(200);
    api.get(&format!("companies/{company}")).expect(200);
}

#[test]
fn request_with_full_db_queue_503_at_once() {
    let settings = [
        "--cache",
        "off",
        "--db-connections",
        "1",
        "--db-queue",
        "2",
        "--db-wait-ms",
        "5000",
        "--credential-cache-ms",
        "60000",
    ];
    let service = Service::with(&[&settings[..], &STUCK].concat());
    let api = &service.client;
    api.get("leads").expect(200);
    std::thread::sleep(Duration::from_millis(100));

    let held = Held::tables(&service.database, "leads");
    let stuck = meanwhile(api, "leads");
    until_stuck(&service.database, 1);
    let waiting = [meanwhile(api, "companies"), meanwhile(api, "contacts")];
    let metrics = Client::new(service.metrics, "");
    let began = Instant::now();
    // The gauge of one process; its other services have no long queues.
    while !metrics.get("/metrics").text.contains("rapport_db_queue_depth 2") {
        assert!(began.elapsed() < Duration::from_secs(3), "two requests should be queued");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (answer, took) = timed(|| api.get("tasks"));
    refused(answer, "busy");
    assert!(took < Duration::from_millis(500), "sent away after {took:?}");

    held.release();
    for answer in [stuck].into_iter().chain(waiting) {
        answer.join().expect("an answer").expect(200);
    }
    api.get("tasks").expect(200);
}

#[test]
fn slow_statement_503_statement_timeout_then_recovers() {
    let service =
        Service::with(&["--statement-timeout-ms", "300", "--credential-cache-ms", "60000", STUCK[0], STUCK[1]]);
    let api = &service.client;
    let lead = api.make("leads", json!({ "title": "Roof" }));
    let held = Held::tables(&service.database, "leads");
    for path in ["leads".to_owned(), "leads?count=exact".to_owned(), format!("leads/{lead}?include=company")] {
        refused(api.get(&path), "statement_timeout");
    }
    refused(api.patch(&format!("leads/{lead}"), json!({ "title": "Door" })), "statement_timeout");
    api.get(&format!("leads/{lead}")).expect(503);
    held.release();
    assert_eq!(api.get(&format!("leads/{lead}")).expect(200).json["title"], "Roof");
}

/// Runs two writes at once, each on its own connection, and returns the total number of attempts.
fn collide(
    database: &Database,
    options: WriteOptions,
    work: impl Fn(&mut Tx<'_>, usize, &dyn Fn()) -> Result<()> + Send + Sync + 'static,
) -> usize {
    let db = open_db(database, &["--db-connections", "2"]);
    let (tries, both, work) = (AtomicUsize::new(0), Barrier::new(2), work);
    let shared = std::sync::Arc::new((tries, both, work));
    let run = |side: usize| {
        let (mine, first) = (shared.clone(), AtomicUsize::new(0));
        db.unscoped().write_with("collide", options, move |tx| {
            let (tries, both, work) = &*mine;
            tries.fetch_add(1, Ordering::SeqCst);
            let again = first.fetch_add(1, Ordering::SeqCst) > 0;
            // On the first attempt each waits for the other in the middle, so that they conflict.
            work(tx, side, &|| {
                if !again {
                    both.wait();
                }
            })
        })
    };
    let (left, right) =
        actix_web::rt::System::new().block_on(async { futures_util::future::join(run(0), run(1)).await });
    left.expect("the first");
    right.expect("the second");
    shared.0.load(Ordering::SeqCst)
}

#[test]
fn deadlock_of_two_writes_retried_until_both_commit() {
    let database = Database::create();
    let ids = ["left", "right"].map(|slug| make_business(&database, slug));
    let tries = collide(&database, WriteOptions::default(), move |tx, side, meet| {
        let touch =
            |id| crate::support::statement(format!("UPDATE businesses SET version = version + 1 WHERE id = '{id}'"));
        touch(ids[side]).run(tx)?;
        meet();
        touch(ids[1 - side]).run(tx)?;
        Ok(())
    });
    // Both are retried if the second fails in the instant in which the first does.
    assert!((3..=4).contains(&tries), "one of the two gave up once: {tries} tries");
    assert_eq!(database.cell("SELECT string_agg(version::text, ',') FROM businesses"), "3,3");
}

#[test]
fn write_skew_under_serializable_detected_and_retried() {
    let database = Database::create();
    let ids = ["left", "right"].map(|slug| make_business(&database, slug));
    let options = WriteOptions { isolation: Isolation::Serializable, ..WriteOptions::default() };
    // Each renames its row only while both still have their names; together they would violate that.
    let tries = collide(&database, options, move |tx, side, meet| {
        let there = Statement::new("SELECT count(*) FROM businesses WHERE name <> 'gone'").row(tx)?;
        meet();
        if there.and_then(|row| row.int(0)) == Some(2) {
            crate::support::statement(format!("UPDATE businesses SET name = 'gone' WHERE id = '{}'", ids[side]))
                .run(tx)?;
        }
        Ok(())
    });
    assert_eq!(tries, 3, "one of the two was tried again");
    assert_eq!(database.cell("SELECT count(*)::text FROM businesses WHERE name = 'gone'"), "1");
}

#[test]
fn write_that_always_conflicts_503_after_max_attempts() {
    let database = Database::create();
    let db: Db = open_db(&database, &[]);
    let tries = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let options = WriteOptions { attempts: 4, ..WriteOptions::default() };
    let outcome = actix_web::rt::System::new().block_on(db.unscoped().write_with("hopeless", options, move |tx| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(Statement::new("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$").run(tx)?)
    }));
    assert_eq!(tries.load(Ordering::SeqCst), 4);
    let answer = outcome.expect_err("it cannot succeed").error_response();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
}

/// Ends the service's connections, as a restart or a failover of PostgreSQL does.
fn end_connections(database: &Database) {
    let ended = database.cell(
        "SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'rapport'",
    );
    assert_ne!(ended, "0", "there were connections");
    let began = Instant::now();
    let left = "SELECT count(*)::text FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'rapport' AND state <> 'active'";
    while database.cell(left) != "0" && began.elapsed() < Duration::from_millis(200) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn idle_connections_terminated_next_requests_succeed() {
    let service = Service::with(&["--db-connections", "3", "--credential-cache-ms", "60000"]);
    let api = &service.client;
    let lead = api.make("leads", json!({ "title": "Roof" }));
    std::thread::sleep(Duration::from_millis(100));
    for path in ["leads".to_owned(), format!("leads/{lead}"), format!("leads/{lead}?include=company")] {
        end_connections(&service.database);
        api.get(&path).expect(200);
    }
    end_connections(&service.database);
    api.patch(&format!("leads/{lead}"), json!({ "title": "Door" })).expect(200);
}

#[test]
fn connection_lost_mid_statement_read_retried_write_503() {
    let service = Service::with(&["--credential-cache-ms", "60000", STUCK[0], STUCK[1]]);
    let api = &service.client;
    let lead = api.make("leads", json!({ "title": "Roof" }));
    std::thread::sleep(Duration::from_millis(100));
    let held = Held::tables(&service.database, "leads");
    let read = meanwhile(api, "leads");
    let (client, path) = (api.clone(), format!("leads/{lead}"));
    let write = std::thread::spawn(move || client.patch(&path, json!({ "title": "Door" })));
    until_stuck(&service.database, 2);
    end_connections(&service.database);
    // Only the caller can find out whether a commit was lost, so only the caller may retry.
    refused(write.join().expect("an answer"), "database_unavailable");
    held.release();
    read.join().expect("an answer").expect(200);
    assert_eq!(api.get(&format!("leads/{lead}")).expect(200).json["title"], "Roof");
    api.patch(&format!("leads/{lead}"), json!({ "title": "Door" })).expect(200);
}

#[test]
fn concurrent_single_reads_coalesced_tenants_kept_apart() {
    const EACH: usize = 100;
    let settings = [
        "--cache",
        "off",
        "--db-connections",
        "1",
        "--db-wait-ms",
        "20000",
        "--statement-timeout-ms",
        "20000",
        "--request-timeout-ms",
        "30000",
    ];
    let service = Service::with(&[&settings[..], &STUCK].concat());
    let (neighbour, other) = service.neighbour();
    let database = service.database.clone();
    for business in [service.business, neighbour] {
        database.run(&format!(
            "INSERT INTO leads (business_id, title) SELECT '{business}', '{business} ' || i FROM generate_series(1, {EACH}) i"
        ));
    }
    let mut wanted = Vec::new();
    for (client, business) in [(&service.client, service.business), (&other, neighbour)] {
        client.get("leads?limit=1").expect(200);
        let rows = database.rows::<2>(&format!("SELECT id::text, title FROM leads WHERE business_id = '{business}'"));
        wanted.extend(rows.into_iter().map(|[id, title]| (client.clone(), id, title)));
    }
    assert_eq!(wanted.len(), 2 * EACH);
    let stranger_to_it = format!("leads/{}", wanted[0].1);

    let held = Held::tables(&database, "leads");
    let reads: Vec<_> =
        wanted.into_iter().map(|(client, id, title)| (meanwhile(&client, &format!("leads/{id}")), id, title)).collect();
    let not_theirs = meanwhile(&other, &stranger_to_it);
    until_stuck(&database, 1);
    std::thread::sleep(Duration::from_millis(1000));
    held.release();
    for (read, id, title) in reads {
        let answer = read.join().expect("an answer").expect(200);
        assert_eq!((answer.json["id"].as_str(), answer.json["title"].as_str()), (Some(&*id), Some(&*title)));
    }
    not_theirs.join().expect("an answer").expect(404);

    // PostgreSQL's statistics of a connection are complete once it is closed.
    drop(service);
    let scans =
        "SELECT coalesce(seq_scan + idx_scan, 0)::text, xact_commit::text FROM pg_stat_user_tables, pg_stat_database
                 WHERE relname = 'leads' AND datname = current_database()";
    let began = Instant::now();
    let statements = loop {
        let [[_, statements]] = <[[String; 2]; 1]>::try_from(database.rows::<2>(scans)).expect("one row");
        let statements: usize = statements.parse().expect("a number");
        if statements > 5 || began.elapsed() > Duration::from_secs(5) {
            break statements;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    println!("{} reads cost at most {statements} transactions, those of the test included", 2 * EACH + 1);
    assert!(statements < EACH, "{statements} transactions");
}

#[test]
fn tenant_at_its_connection_share_leaves_others_served() {
    let settings = [
        "--cache",
        "off",
        "--db-connections",
        "4",
        "--db-tenant-share-percent",
        "75",
        "--db-queue",
        "8",
        "--statement-timeout-ms",
        "10000",
        "--db-wait-ms",
        "10000",
        "--credential-cache-ms",
        "60000",
    ];
    let service = Service::with(&[&settings[..], &STUCK].concat());
    let (_, quiet) = service.neighbour();
    let loud = &service.client;
    let lead = quiet.make("leads", json!({ "title": "Next door" }));
    // From now on the queue knows two tenants.
    loud.get("leads").expect(200);
    quiet.get("leads").expect(200);

    let held = Held::tables(&service.database, "companies");
    let flood: Vec<_> = (0..12).map(|number| meanwhile(loud, &format!("companies?limit={}", number + 1))).collect();
    until_stuck(&service.database, 3);
    for _ in 0..5 {
        quiet.get("leads").expect(200);
        quiet.get(&format!("leads/{lead}")).expect(200);
        quiet.patch(&format!("leads/{lead}"), json!({ "title": "Heard" })).expect(200);
    }
    until_stuck(&service.database, 3);
    held.release();
    // Requests with a place in the queue have waited; the rest were rejected at once.
    let answers: Vec<u16> = flood.into_iter().map(|answer| answer.join().expect("an answer").status).collect();
    assert!(answers.iter().filter(|status| **status == 200).count() >= 6, "{answers:?}");
    assert!(answers.iter().all(|status| [200, 503].contains(status)), "{answers:?}");
}
