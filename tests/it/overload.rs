//! What happens when the database is slow, full, contended or gone: nobody waits for ever, probes answer, and it passes.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_web::ResponseError;
use diesel::PgConnection;
use diesel::connection::SimpleConnection;
use rapport::db::{Db, Isolation, Statement, Tx, WriteOptions};
use rapport::error::Result;
use serde_json::json;

use crate::support::{Answer, Client, Database, Service, make_business, open_db};

/// A read of a locked table keeps its connection for as long as a statement may take.
const STUCK: [&str; 2] = ["--lock-wait-ms", "0"];

/// Holds `tables` until it is dropped: with [`STUCK`], reads of them keep their connections.
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

/// A refusal that a client can act on: 503, a code, and when to come again.
#[track_caller]
fn refused(answer: Answer, code: &str) {
    let answer = answer.expect(503);
    assert_eq!(answer.code(), code);
    assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
}

#[test]
fn probes_answer_at_once_and_reads_are_sent_away_in_time_while_every_connection_is_stuck() {
    let settings =
        ["--cache", "off", "--db-wait-ms", "300", "--statement-timeout-ms", "4000", "--key-trust-ms", "60000"];
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
fn whoever_finds_the_queue_full_is_sent_away_at_once() {
    let settings = [
        "--cache",
        "off",
        "--db-connections",
        "1",
        "--db-queue",
        "2",
        "--db-wait-ms",
        "5000",
        "--key-trust-ms",
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
    // The number of one process, whose other services have nothing waiting for long.
    while !metrics.get("/metrics").text.contains("rapport_db_waiting 2") {
        assert!(began.elapsed() < Duration::from_secs(3), "they should wait by now");
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
fn a_slow_statement_ends_in_a_refusal_and_costs_nothing_afterwards() {
    let service = Service::with(&["--statement-timeout-ms", "300", "--key-trust-ms", "60000", STUCK[0], STUCK[1]]);
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

/// Runs two writes at once, each on a connection of its own, and returns how often they were tried in all.
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
        db.across().write_with("collide", options, move |tx| {
            let (tries, both, work) = &*mine;
            tries.fetch_add(1, Ordering::SeqCst);
            let again = first.fetch_add(1, Ordering::SeqCst) > 0;
            // On the first try each waits for the other in the middle, so that they are sure to meet.
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
fn a_deadlock_is_tried_again_until_both_have_written() {
    let database = Database::create();
    let ids = ["left", "right"].map(|slug| make_business(&database, slug));
    let tries = collide(&database, WriteOptions::default(), move |tx, side, meet| {
        let touch = |id| Statement::new(format!("UPDATE businesses SET version = version + 1 WHERE id = '{id}'"));
        touch(ids[side]).run(tx)?;
        meet();
        touch(ids[1 - side]).run(tx)?;
        Ok(())
    });
    // Both, where the second gives up its wait in the instant in which the first does.
    assert!((3..=4).contains(&tries), "one of the two gave up once: {tries} tries");
    assert_eq!(database.cell("SELECT string_agg(version::text, ',') FROM businesses"), "3,3");
}

#[test]
fn a_write_skew_is_refused_by_the_isolation_and_tried_again() {
    let database = Database::create();
    let ids = ["left", "right"].map(|slug| make_business(&database, slug));
    let options = WriteOptions { isolation: Isolation::Serializable, ..WriteOptions::default() };
    // Each may leave while the other is there; both together would be one too many.
    let tries = collide(&database, options, move |tx, side, meet| {
        let there = Statement::new("SELECT count(*) FROM businesses WHERE name <> 'gone'").row(tx)?;
        meet();
        if there.and_then(|row| row.int(0)) == Some(2) {
            Statement::new(format!("UPDATE businesses SET name = 'gone' WHERE id = '{}'", ids[side])).run(tx)?;
        }
        Ok(())
    });
    assert_eq!(tries, 3, "one of the two was tried again");
    assert_eq!(database.cell("SELECT count(*)::text FROM businesses WHERE name = 'gone'"), "1");
}

#[test]
fn a_transaction_that_never_succeeds_is_given_up_after_its_attempts() {
    let database = Database::create();
    let db: Db = open_db(&database, &[]);
    let tries = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let options = WriteOptions { attempts: 4, ..WriteOptions::default() };
    let outcome = actix_web::rt::System::new().block_on(db.across().write_with("hopeless", options, move |tx| {
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
fn connections_that_died_idle_cost_nobody_anything() {
    let service = Service::with(&["--db-connections", "3", "--key-trust-ms", "60000"]);
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
fn a_connection_that_dies_at_work_costs_a_read_nothing_and_a_write_one_refusal() {
    let service = Service::with(&["--key-trust-ms", "60000", STUCK[0], STUCK[1]]);
    let api = &service.client;
    let lead = api.make("leads", json!({ "title": "Roof" }));
    std::thread::sleep(Duration::from_millis(100));
    let held = Held::tables(&service.database, "leads");
    let read = meanwhile(api, "leads");
    let (client, path) = (api.clone(), format!("leads/{lead}"));
    let write = std::thread::spawn(move || client.patch(&path, json!({ "title": "Door" })));
    until_stuck(&service.database, 2);
    end_connections(&service.database);
    // Whether a commit was lost on the way only the caller can find out, so only the caller may try again.
    refused(write.join().expect("an answer"), "database_unavailable");
    held.release();
    read.join().expect("an answer").expect(200);
    assert_eq!(api.get(&format!("leads/{lead}")).expect(200).json["title"], "Roof");
    api.patch(&format!("leads/{lead}"), json!({ "title": "Door" })).expect(200);
}

#[test]
fn single_reads_that_wait_together_are_fetched_together_each_for_its_own_business() {
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

    // What the connection has sent is known for certain when it is closed.
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
fn a_business_that_holds_every_connection_it_may_have_leaves_others_theirs() {
    let settings = [
        "--cache",
        "off",
        "--db-connections",
        "4",
        "--db-share",
        "75",
        "--db-queue",
        "8",
        "--statement-timeout-ms",
        "10000",
        "--db-wait-ms",
        "10000",
        "--key-trust-ms",
        "60000",
    ];
    let service = Service::with(&[&settings[..], &STUCK].concat());
    let (_, quiet) = service.neighbour();
    let loud = &service.client;
    let lead = quiet.make("leads", json!({ "title": "Next door" }));
    // From now on each knows that there is another.
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
    // Those for whom there was a place have waited; the rest were told so.
    let answers: Vec<u16> = flood.into_iter().map(|answer| answer.join().expect("an answer").status).collect();
    assert!(answers.iter().filter(|status| **status == 200).count() >= 6, "{answers:?}");
    assert!(answers.iter().all(|status| [200, 503].contains(status)), "{answers:?}");
}
