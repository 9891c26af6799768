//! Tests of a repair that waits for locks of others: it gives way, names the blocking session, and ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use rapport::db::migrate;

use crate::support::{Database, make_business};

/// The same database, with PostgreSQL settings for each session.
fn with(database: &Database, options: &str) -> String {
    format!("{}?options={}", database.url, options.replace(' ', "%20").replace('=', "%3D"))
}

/// Waits for a lock on `leads` that is granted, or is not. Databases of other tests have tables of the same oid.
fn until_locked(database: &Database, granted: bool) {
    let sql = format!(
        "SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
         WHERE l.relation = 'leads'::regclass AND l.granted = {granted}"
    );
    let (mut conn, began) = (database.connect(), Instant::now());
    while crate::support::statement(sql.clone()).row(&mut conn).expect("an answer").is_none() {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody locks it");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn repair_blocked_by_reader_names_it_and_blocks_no_writer() {
    let database = Database::create();
    make_business(&database, "acme");
    database.run("DROP TRIGGER log_change ON leads");
    let mut reader = database.connect();
    reader.batch_execute("SET application_name = 'nightly report'; BEGIN; SELECT FROM leads").expect("a reader");

    let over = AtomicBool::new(false);
    let (outcome, told, took, written) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut conn = database.connect();
            // Fails if it has to wait for a lock, however busy the machine is.
            conn.batch_execute("SET lock_timeout = '20ms'").expect("a writer");
            let mut written = 0;
            while !over.load(Ordering::Acquire) {
                conn.batch_execute("UPDATE businesses SET name = name || '.'")
                    .expect("nobody holds up a writer of another table");
                written += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            written
        });
        let (began, mut told) = (Instant::now(), Vec::new());
        let url = with(&database, "-c lock_timeout=1200");
        let outcome = migrate::run_telling(&url, &mut |sentence| told.push(sentence.to_owned()));
        let took = began.elapsed();
        over.store(true, Ordering::Release);
        (outcome, told, took, writer.join().expect("a writer"))
    });
    let error = outcome.expect_err("the reader is there").to_string();
    assert!(error.contains("within 1.2s: process ") && error.contains("nightly report"), "{error}");
    assert!(error.contains("has held leads for") && error.contains("idle in transaction"), "{error}");
    assert!(told.iter().any(|told| told.contains("waiting for tables") && told.contains("nightly report")), "{told:?}");
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(10), "{took:?}");
    assert!(written > 10, "{written}");

    reader.batch_execute("COMMIT").expect("it ends");
    let repaired = migrate::run(&database.url).expect("a repair").repaired;
    assert_eq!(repaired, ["trigger leads.log_change is missing"]);
}

#[test]
fn repair_and_concurrent_multi_table_writer_both_succeed() {
    let database = Database::create();
    for options in [
        // The repair gives way before PostgreSQL checks for a deadlock.
        "-c deadlock_timeout=10s",
        // PostgreSQL ends it, because it is the first to check for a deadlock.
        "-c deadlock_timeout=250ms",
    ] {
        database.run("DROP TRIGGER log_change ON leads; DROP TRIGGER log_change ON companies");
        let mut told = Vec::new();
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut conn = database.connect();
                // In the opposite order to the repair, which then waits for `leads` while holding `companies`.
                conn.batch_execute("SET deadlock_timeout = '10s'; BEGIN; LOCK TABLE leads IN ROW EXCLUSIVE MODE")
                    .expect("a writer");
                until_locked(&database, false);
                conn.batch_execute("LOCK TABLE companies IN ROW EXCLUSIVE MODE; COMMIT")
                    .expect("the writer is not ended");
            });
            until_locked(&database, true);
            migrate::run_telling(&with(&database, options), &mut |sentence| told.push(sentence.to_owned()))
        });
        let repaired = outcome.expect("a repair").repaired;
        assert_eq!(repaired.len(), 2, "{options}: {repaired:?}");
        assert!(told.iter().any(|told| told.contains("waiting for tables")), "{options}: {told:?}");
    }
}
