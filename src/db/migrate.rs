//! Runs the migrations embedded in the binary under a lock, and checks that the database has what they create.

use std::fmt;
use std::sync::Arc;

use diesel::Connection;
use diesel::connection::{Instrumentation, InstrumentationEvent, SimpleConnection};
use diesel::pg::PgConnection;
use diesel_migrations::MigrationHarness;
use parking_lot::Mutex;

use super::catalogue::{self, CatalogueFault, Report};
use super::migrations::{MIGRATIONS, applied};
use super::{Statement, bound_lock_waits, connect, pg_error};
use crate::base::error::{BoxError, Result};

/// Oldest PostgreSQL release with `ON DELETE SET NULL (column)`, which the composite foreign keys need.
const OLDEST_SERVER: i32 = 150_000;

/// Key of the advisory lock, used by nothing else: "rapport" in base 36, cut to 31 bits.
const LOCK: i64 = 1_652_440_517;

/// Rounds of repair and inspection: one for the role, one for what depends on it, one to be sure.
const REPAIRS: usize = 3;

/// Attempts of a migration that ends in a deadlock.
const DEADLOCKS: u64 = 5;
/// A version that every database of a build from before the migrations were squashed has, and no other.
const OLDER_CHAIN: &str = "20261120000001";

/// The result of [`run`].
#[derive(Debug, Default)]
pub struct Migrated {
    /// Names of the migrations that ran.
    pub ran: Vec<String>,
    /// Catalogue faults that were repaired.
    pub repaired: Vec<String>,
    /// The catalogue after the run; it has no fault that keeps the service from working.
    pub report: Report,
}

impl fmt::Display for Migrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ran.len() {
            0 if self.repaired.is_empty() => write!(f, "The database is up to date.")?,
            0 => {}
            count => write!(f, "Ran {count} migrations: {}.", self.ran.join(", "))?,
        }
        if !self.repaired.is_empty() {
            write!(f, "Repaired what the database lacked, and dropped every cached answer:")?;
            self.repaired.iter().try_for_each(|repaired| write!(f, "\n  - {repaired}"))?;
        }
        if self.report.is_newer() {
            write!(
                f,
                "\nA newer release has migrated this database: this one does not know {}. It can be served by both while \
                       replicas are replaced.",
                self.report.unknown_migrations.join(", ")
            )?;
        }
        if !self.report.advice.is_empty() {
            write!(f, "\nReads are slower than they should be:")?;
            self.report
                .advice
                .iter()
                .try_for_each(|fault| write!(f, "\n  - {}\n    {}", fault.sentence(), fault.remedy))?;
        }
        Ok(())
    }
}

/// Migrates the database at `url` to this binary's schema, and repairs its catalogue. Several processes may call it at
/// once: diesel takes no lock, so one session-level advisory lock is held around the run.
///
/// Errors: faults that cannot be repaired here, with the commands that repair them.
///
/// While another session holds a lock it needs, it tries again and logs the lock holders.
pub fn run(url: &str) -> Result<Migrated, BoxError> {
    run_telling(url, &mut |sentence| tracing::warn!("{sentence}"))
}

/// As [`run`]; `tell` receives a message for each wait, and for each repair that fails.
pub fn run_telling(url: &str, tell: &mut dyn FnMut(&str)) -> Result<Migrated, BoxError> {
    let mut conn = connect(url)?;
    let version = Statement::new("SELECT current_setting('server_version_num')::int").scalar::<i32>(&mut conn)?;
    let version = version.unwrap_or_default();
    if version < OLDEST_SERVER {
        return Err(format!("PostgreSQL {} is too old; Rapport needs 15 or newer", version / 10_000).into());
    }
    let with_key = |call: &'static str| {
        let mut sql = Statement::new(call);
        sql.number(LOCK).sql(")");
        sql
    };
    if with_key("SELECT pg_try_advisory_lock(").scalar::<bool>(&mut conn)? != Some(true) {
        tell("waiting for another process that migrates this database");
        with_key("SELECT pg_advisory_lock(").run(&mut conn)?;
    }
    bound_lock_waits(&mut conn)?;
    let done = run_locked(&mut conn, tell).map_err(|error| explain_wait(&mut conn, error));
    // An error may have closed the connection, which releases the lock.
    let _ = with_key("SELECT pg_advisory_unlock(").run(&mut conn);
    done
}

/// Returns `error`; a lock timeout with the lock holders and what to do.
fn explain_wait(conn: &mut PgConnection, error: BoxError) -> BoxError {
    if !error.to_string().contains("canceling statement due to lock timeout") {
        return error;
    }
    let holders = catalogue::holders(conn).unwrap_or_else(|_| "it cannot be asked who".into());
    format!("tables that this needs are held by others: {holders}. Run it again when they are free. ({error})").into()
}

fn run_locked(conn: &mut PgConnection, tell: &mut dyn FnMut(&str)) -> Result<Migrated, BoxError> {
    let mut report = catalogue::inspect(conn)?;
    let mut done = Migrated::default();
    // Without these privileges the applied migrations cannot be read; the second pass is for the other tables.
    for _ in 0..2 {
        let granted = catalogue::grant_privileges(conn, &report, tell);
        if granted.is_empty() {
            break;
        }
        done.repaired.extend(granted);
        report = catalogue::inspect(conn)?;
    }
    if !report.is_migrated() {
        refuse_older_chain(conn)?;
        // A migration creates the role; in a database restored on another server that has run already.
        if !applied(conn)?.is_empty() {
            catalogue::ensure_tenant_role(conn)?;
        }
        done.ran = run_pending(conn, tell)?;
        report = catalogue::inspect(conn)?;
    }
    // Of a newer release's catalogue this release knows only that it must not be reverted.
    for _ in 0..REPAIRS {
        let read_only = report.faults.iter().any(|fault| fault.name == "default_transaction_read_only");
        if report.is_newer() || read_only || !report.has_repairable() {
            break;
        }
        let repaired = catalogue::repair(conn, &report, tell)?;
        if repaired.is_empty() {
            break;
        }
        done.repaired.extend(repaired);
        report = catalogue::inspect(conn)?;
    }
    analyze(conn, !done.ran.is_empty() || !done.repaired.is_empty())?;
    done.report = report;
    if !done.report.is_intact() {
        return Err(unrepaired(&done).into());
    }
    if !done.report.is_newer() {
        // Where a dump was restored, the audit log would lack changes until the sequencer runs.
        Statement::new("SELECT rapport_check_sequencer()").run(conn)?;
    }
    Ok(done)
}

/// Refuses a database of a build from before the migrations were squashed: this chain would create tables that exist.
fn refuse_older_chain(conn: &mut PgConnection) -> Result<(), BoxError> {
    if applied(conn)?.iter().any(|version| version == OLDER_CHAIN) {
        let text = "this database was made by a build whose migrations were replaced, and cannot be migrated; nothing was \
                    changed. Export the data with the older build and import it into a new database (CHANGELOG.md); on the \
                    private server use another RAPPORT_STATE_DIR";
        return Err(text.into());
    }
    Ok(())
}

fn unrepaired(done: &Migrated) -> String {
    let mut text = done.report.sentences();
    let stuck: Vec<&CatalogueFault> = done.report.faults.iter().filter(|fault| fault.repairable).collect();
    if !done.report.is_newer() && !stuck.is_empty() {
        text.push_str(&catalogue::remedies(stuck.into_iter()));
    }
    done.repaired.iter().for_each(|repaired| text.push_str(&format!("\nRepaired: {repaired}")));
    text
}

/// Runs the pending migrations, each in its own transaction; one that PostgreSQL aborts because of a deadlock with a
/// writer is run again. Returns the versions. Errors: PostgreSQL's message, detail and hint.
fn run_pending(conn: &mut PgConnection, tell: &mut dyn FnMut(&str)) -> Result<Vec<String>, BoxError> {
    let before = applied(conn)?;
    for attempt in 1.. {
        match run_once(conn) {
            Ok(()) => break,
            Err(error) if attempt < DEADLOCKS && error.to_string().contains("deadlock detected") => {
                tell("a migration and a writer waited for each other's tables; it is run again");
                std::thread::sleep(std::time::Duration::from_millis(200 * attempt));
            }
            Err(error) => return Err(error),
        }
    }
    let mut ran: Vec<String> = applied(conn)?.into_iter().filter(|version| !before.contains(version)).collect();
    ran.sort();
    Ok(ran)
}

fn run_once(conn: &mut PgConnection) -> Result<(), BoxError> {
    // diesel's own error has the message alone.
    let said = Arc::new(Mutex::new(None));
    conn.set_instrumentation(FirstError(said.clone()));
    let ran = conn.run_pending_migrations(MIGRATIONS).map(|_| ());
    conn.set_instrumentation(|_: InstrumentationEvent<'_>| ());
    ran.map_err(|error| match said.lock().take() {
        Some(more) => format!("{error}{more}").into(),
        None => error,
    })
}

/// Keeps the detail and hint of the first error.
struct FirstError(Arc<Mutex<Option<String>>>);

impl Instrumentation for FirstError {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::FinishQuery { error: Some(error), .. } = event {
            self.0.lock().get_or_insert_with(|| pg_error::details(error));
        }
    }
}

/// Runs ANALYZE on tables that have rows: on `all`, or on those without planner statistics, as after a restore (which
/// counts a table's rows with its first index, and nothing else). Empty tables are skipped, because the planner would
/// still take them for empty once they are filled.
fn analyze(conn: &mut PgConnection, all: bool) -> Result<()> {
    let mut tables = Statement::new(
        "SELECT string_agg(format('public.%I', c.relname), ', ') FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
         AND c.relkind IN ('r', 'p') AND pg_relation_size(c.oid) > 0 AND pg_has_role(c.relowner, 'USAGE')",
    );
    if !all {
        tables.sql(
            " AND (c.reltuples < 0 OR NOT EXISTS (SELECT FROM pg_stats s WHERE s.schemaname = 'public' AND s.tablename = c.relname))",
        );
    }
    if let Some(tables) = tables.scalar::<Option<String>>(conn)?.flatten() {
        conn.batch_execute(&format!("ANALYZE {tables}"))?;
    }
    Ok(())
}
