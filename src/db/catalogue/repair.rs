//! Repairs catalogue faults that need no access to rows.

use std::time::{Duration, Instant};

use diesel::PgConnection;
use diesel::connection::SimpleConnection;

use super::waits::{self, Attempts};
use super::{CatalogueFault, Report, expected, tenant_role};
use crate::base::error::{Error, Result};
use crate::db::{self, Statement, Tx};

/// Lock timeout of one remedy for locks that were not taken in advance: writers are blocked meanwhile.
const REMEDY_LOCK_TIMEOUT: &str = "1s";

/// Runs the remedies of repairable faults in one transaction; one that fails is rolled back to its savepoint and stays
/// a fault. Returns what was repaired. Then begins a new cache epoch, because changes may have been missed.
///
/// While the tables are locked by others it tries again, for at most 10 s; `tell` receives a message each time, with
/// the lock holders, and one for each remedy that fails. Errors: the locks were not available; then nothing was done.
pub fn repair(conn: &mut PgConnection, report: &Report, tell: &mut dyn FnMut(&str)) -> Result<Vec<String>> {
    let mut repaired = Vec::new();
    if report.faults.iter().any(|fault| fault.kind == "role") && tenant_role::ensure(conn).is_ok() {
        repaired.extend(report.faults.iter().filter(|fault| fault.kind == "role").map(CatalogueFault::sentence));
    }
    let apart = ["role", "privileges"];
    let rest: Vec<&CatalogueFault> =
        report.faults.iter().filter(|fault| fault.repairable && !apart.contains(&fault.kind)).collect();
    if rest.is_empty() {
        return Ok(repaired);
    }
    let mut attempts = Attempts::begin(conn)?;
    let mut patience = attempts.next();
    while let Some(wait) = patience {
        match attempt(conn, &rest, wait, tell) {
            Ok(done) => {
                repaired.extend(done);
                return Ok(repaired);
            }
            Err(error) if waits::is_wait(&error) => {
                let holders = waits::holders_of(conn, &tables_of(&rest))?;
                patience = attempts.next();
                match patience {
                    Some(_) => tell(&format!("waiting for tables that the repair needs: {holders}")),
                    None => {
                        return Err(Error::Internal(format!(
                            "the repair could not have the tables that it needs within {:?}: {holders}. Nothing was done; run \
                             `rapport migrate` again once they are free, or end that session",
                            attempts.limit
                        )));
                    }
                }
                attempts.pause();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(repaired)
}

/// Makes one attempt in one transaction, which waits at most `wait` for readers of the recreated objects and for
/// writers.
fn attempt(
    conn: &mut PgConnection,
    faults: &[&CatalogueFault],
    wait: Duration,
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<String>> {
    let until = Instant::now() + wait;
    db::in_transaction(conn, |tx| {
        tx.batch_execute("SET LOCAL check_function_bodies = off")?;
        lock_damaged(tx, faults, until)?;
        if faults.iter().any(|fault| matches!(fault.kind, "trigger" | "function" | "sequence")) {
            stop_writers(tx, until)?;
        }
        tx.batch_execute(&format!(
            "SET LOCAL statement_timeout = DEFAULT; SET LOCAL lock_timeout = '{REMEDY_LOCK_TIMEOUT}'"
        ))?;
        let mut done = Vec::new();
        let mut left: Vec<&CatalogueFault> = faults.to_vec();
        // A view needs those that it reads: as long as something can be repaired, the others may be next.
        loop {
            let mut failed = Vec::new();
            for fault in &left {
                match tx.savepoint(|tx| Ok(tx.batch_execute(&fault.remedy)?)) {
                    Ok(()) => done.push(fault.sentence()),
                    Err(error) if waits::is_wait(&error) => return Err(error),
                    Err(error) => failed.push((*fault, error)),
                }
            }
            if failed.is_empty() || failed.len() == left.len() {
                for (fault, error) in failed {
                    tell(&format!("cannot repair that {}: {error}", fault.sentence()));
                }
                break;
            }
            left = failed.into_iter().map(|(fault, _)| fault).collect();
        }
        renew_cache_epoch(tx)?;
        if faults.iter().any(|fault| counts_rows(fault)) {
            correct_statistics(tx)?;
        }
        Ok(done)
    })
}

/// Restores privileges that were revoked from owners; the other repairs need them. Returns what was repaired.
pub fn grant_privileges(conn: &mut PgConnection, report: &Report, tell: &mut dyn FnMut(&str)) -> Vec<String> {
    let mut done = Vec::new();
    for fault in report.faults.iter().filter(|fault| fault.kind == "privileges") {
        match conn.batch_execute(&fault.remedy) {
            Ok(()) => done.push(fault.sentence()),
            Err(error) => tell(&format!("cannot repair that {}: {error}", fault.sentence())),
        }
    }
    done
}

/// Bounds the next statement, and each of its lock waits, so that it ends by `until`.
fn bound(tx: &mut Tx<'_>, until: Instant) -> Result<()> {
    let left = until.saturating_duration_since(Instant::now()).as_millis().max(1);
    Ok(tx.batch_execute(&format!("SET LOCAL statement_timeout = {left}; SET LOCAL lock_timeout = {left}"))?)
}

/// Returns the tables whose triggers, policies, row-level security or defaults are recreated.
fn damaged(faults: &[&CatalogueFault]) -> Vec<String> {
    let kinds = ["trigger", "policy", "row level security", "default"];
    let tables = faults.iter().filter(|fault| kinds.contains(&fault.kind));
    let mut names: Vec<String> = tables.filter_map(|fault| fault.name.split('.').next()).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Returns the tables that a repair of `faults` locks.
fn tables_of(faults: &[&CatalogueFault]) -> Vec<String> {
    let mut tables = damaged(faults);
    if tables.is_empty() || faults.iter().any(|fault| matches!(fault.kind, "trigger" | "function" | "sequence")) {
        tables.extend(expected::cached_tables().into_iter().map(str::to_owned));
    }
    tables
}

/// Locks the damaged tables before anything else, so that the repair waits for their readers once, and not at each
/// table with all writers blocked.
fn lock_damaged(tx: &mut Tx<'_>, faults: &[&CatalogueFault], until: Instant) -> Result<()> {
    let names: Vec<String> = damaged(faults).iter().map(|name| format!("public.\"{name}\"")).collect();
    if names.is_empty() {
        return Ok(());
    }
    bound(tx, until)?;
    Ok(tx.batch_execute(&format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", names.join(", ")))?)
}

/// Waits until no transaction writes to a cached table: what was written without triggers is committed before the new
/// epoch begins, and later writes fire the triggers.
fn stop_writers(tx: &mut Tx<'_>, until: Instant) -> Result<()> {
    let tables: Vec<String> = expected::cached_tables().into_iter().map(str::to_owned).collect();
    let mut sql = Statement::new(
        "SELECT string_agg(format('%I', c.relname), ', ') FROM pg_class c \
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname = ANY(",
    );
    if let Some(tables) = sql.bind(tables).sql(")").scalar::<Option<String>>(tx)?.flatten() {
        bound(tx, until)?;
        tx.batch_execute(&format!("LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE"))?;
    }
    Ok(())
}

/// Whether it counts rows for the statistics: those that were written without it are missing from them.
fn counts_rows(fault: &CatalogueFault) -> bool {
    let marks = [".count_", ".mark_", "rapport_count_", "rapport_mark_"];
    matches!(fault.kind, "trigger" | "function") && marks.iter().any(|mark| fault.name.contains(mark))
}

/// Adds what is missing from the statistics.
fn correct_statistics(tx: &mut Tx<'_>) -> Result<()> {
    let there = Statement::new("SELECT to_regprocedure('public.rapport_correct_all_statistics()') IS NOT NULL");
    if there.scalar::<bool>(tx)? == Some(true) {
        tx.batch_execute("SET LOCAL statement_timeout = 0; SELECT public.rapport_correct_all_statistics()")?;
    }
    Ok(())
}

/// Begins a new cache epoch: the next validation round invalidates every entry of every process and of Redis.
pub fn renew_cache_epoch(tx: &mut Tx<'_>) -> Result<()> {
    let there = Statement::new("SELECT to_regclass('public.cache_epoch') IS NOT NULL");
    if there.scalar::<bool>(tx)? == Some(true) {
        // Serialised by the lock; works also where the table has lost its primary key.
        tx.batch_execute(
            "LOCK TABLE public.cache_epoch IN SHARE ROW EXCLUSIVE MODE; DELETE FROM public.cache_epoch;
             INSERT INTO public.cache_epoch (id) VALUES (gen_random_uuid())",
        )?;
    }
    Ok(())
}
