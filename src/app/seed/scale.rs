//! The large data set for benchmarks.

use std::thread;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use parking_lot::Mutex;

use super::local_time;
use crate::base::error::BoxError;
use crate::db::{self, Statement};

/// Helpers in the session's temporary schema.
const FUNCTIONS: &str = include_str!("functions.sql");
const SCALE: &str = include_str!("scale.sql");

/// The time zones of the businesses, as in scale.sql.
const ZONES: [&str; 5] = ["Europe/Berlin", "America/New_York", "Asia/Singapore", "Europe/London", "Australia/Sydney"];
/// Businesses at scale 1.
const BUSINESSES: f64 = 50.0;
/// A hundred million messages: more is a typing error.
const MAX_SCALE: f64 = 100.0;
/// Connections that create businesses side by side, at most: one for each processor, as the database does the work.
const MAX_CONNECTIONS: usize = 8;

/// By name: the database may hold tables of other applications, which are not ours to vacuum.
const TABLES: [&str; 12] = [
    "messages",
    "bookings",
    "leads",
    "contacts",
    "conversations",
    "companies",
    "businesses",
    "users",
    "memberships",
    "campaigns",
    "services",
    "staff",
];

/// Creates those of the load businesses (slugs `load-01`, `load-02`, …) that do not exist. Returns whether there were any.
/// At `scale` 1 there are 50 of them with a million messages in all; see `scale.sql`.
///
/// Each business is one transaction on one of several connections, and a VACUUM follows, for index-only scans. `progress` is
/// called with what is done. Errors: a scale out of range, and those of the database; what was created until then stays,
/// and another call creates the rest.
pub fn scale(
    connect: impl Fn() -> Result<PgConnection, BoxError> + Sync,
    scale: f64,
    progress: impl Fn(&str) + Sync,
) -> Result<bool, BoxError> {
    if !(scale > 0.0 && scale <= MAX_SCALE) {
        return Err(format!("--scale is a number above 0, at most {MAX_SCALE}").into());
    }
    // Rounded, as 50 · 1.1 is a little more than 55.
    let businesses = ((BUSINESSES * scale * 1e6).round() / 1e6).ceil().max(1.0) as usize;
    let mut conn = connect()?;
    // This transaction lasts until all are created: a second process waits for it, and then finds them.
    let created = db::in_transaction(&mut conn, |tx| {
        tx.batch_execute(
            "SET LOCAL idle_in_transaction_session_timeout = 0; SELECT pg_advisory_xact_lock(hashtext('rapport seed'))",
        )?;
        let slugs: Vec<String> = Statement::new("SELECT slug FROM businesses WHERE slug LIKE 'load-%'").scalars(tx)?;
        let missing = (1..=businesses).filter(|number| !slugs.contains(&slug(*number)));
        Ok(in_parallel(&connect, missing.collect(), |conn, number| {
            let script = SCALE
                .replace(":scale", &scale.to_string())
                .replace(":businesses", &businesses.to_string())
                .replace(":business", &number.to_string())
                .replace(":slug", &slug(number));
            db::in_transaction(conn, |tx| {
                tx.batch_execute(FUNCTIONS)?;
                local_time::prepare(tx, &ZONES)?;
                Ok(tx.batch_execute(&script)?)
            })?;
            progress(&slug(number));
            Ok(())
        }))
    })??;
    if created {
        in_parallel(&connect, TABLES.to_vec(), |conn, table| {
            conn.batch_execute(&format!("VACUUM (ANALYZE) {table}"))?;
            Ok(())
        })?;
    }
    Ok(created)
}

fn slug(number: usize) -> String {
    format!("load-{number:02}")
}

/// Runs `work` on each of `jobs`, on several connections side by side. Returns whether there were any. After an error no
/// further job begins, and the first error is returned.
fn in_parallel<J: Send>(
    connect: &(impl Fn() -> Result<PgConnection, BoxError> + Sync),
    mut jobs: Vec<J>,
    work: impl Fn(&mut PgConnection, J) -> Result<(), BoxError> + Sync,
) -> Result<bool, BoxError> {
    let connections = thread::available_parallelism().map_or(1, usize::from).min(MAX_CONNECTIONS).min(jobs.len());
    jobs.reverse();
    let (jobs, failed) = (Mutex::new(jobs), Mutex::new(None));
    let next = || failed.lock().is_none().then(|| jobs.lock().pop()).flatten();
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let outcome = connect().and_then(|mut conn| {
                    while let Some(job) = next() {
                        work(&mut conn, job)?;
                    }
                    Ok(())
                });
                if let Err(error) = outcome {
                    failed.lock().get_or_insert(error);
                }
            });
        }
    });
    failed.into_inner().map_or(Ok(connections > 0), Err)
}
