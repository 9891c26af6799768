//! Repairs what can be repaired without reading or writing rows.

use diesel::PgConnection;
use diesel::connection::SimpleConnection;

use super::{Fault, Report, expected, tenant_role};
use crate::db::{self, Statement, Tx};
use crate::error::{Error, Result};

/// How long the repair waits, twice at most, for those who read what it makes anew and for writers: transactions that come
/// after it wait as well, so it is short.
const LOCK_TIMEOUT: &str = "10s";

/// Runs the remedies of what is repairable, all in one transaction; each that fails is undone by itself and stays a fault.
/// Returns what was repaired. Where triggers or functions were, every cached answer is dropped: changes were missed.
/// Errors: writers could not be shut out; then nothing was done.
pub fn repair(conn: &mut PgConnection, report: &Report) -> Result<Vec<String>> {
    let mut repaired = Vec::new();
    if report.faults.iter().any(|fault| fault.kind == "role") && tenant_role::ensure(conn).is_ok() {
        repaired.extend(report.faults.iter().filter(|fault| fault.kind == "role").map(Fault::sentence));
    }
    let rest: Vec<&Fault> = report.faults.iter().filter(|fault| fault.repairable && fault.kind != "role").collect();
    if rest.is_empty() {
        return Ok(repaired);
    }
    let done = db::in_transaction(conn, |tx| {
        tx.batch_execute(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; SET LOCAL check_function_bodies = off"))?;
        tx.batch_execute(&format!("SET LOCAL statement_timeout = '{LOCK_TIMEOUT}'"))?;
        lock_damaged(tx, &rest)?;
        if rest.iter().any(|fault| matches!(fault.kind, "trigger" | "function" | "table")) {
            stop_writers(tx)?;
        }
        tx.batch_execute("SET LOCAL statement_timeout = DEFAULT")?;
        let mut done = Vec::new();
        for fault in rest {
            match tx.savepoint(|tx| Ok(tx.batch_execute(&fault.remedy)?)) {
                Ok(()) => done.push(fault.sentence()),
                Err(error) => tracing::warn!(fault = fault.sentence(), %error, "cannot be repaired"),
            }
        }
        renew_cache_epoch(tx)?;
        Ok(done)
    });
    repaired.extend(done.map_err(|error| match error {
        Error::Database(error) => Error::Internal(format!(
            "the repair could not have the tables to itself within {LOCK_TIMEOUT} ({error}); nothing was done; run `rapport migrate` again, or stop the service first"
        )),
        other => other,
    })?);
    Ok(repaired)
}

/// Takes the tables whose triggers and policies are made anew, before anything else is locked: so the whole repair waits for
/// their readers once, and not at each of them with all writers shut out.
fn lock_damaged(tx: &mut Tx<'_>, faults: &[&Fault]) -> Result<()> {
    let tables = faults.iter().filter(|fault| matches!(fault.kind, "trigger" | "policy" | "row level security"));
    let mut names: Vec<&str> = tables.filter_map(|fault| fault.name.split('.').next()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = names.iter().map(|name| format!("public.\"{name}\"")).collect();
    Ok(tx.batch_execute(&format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", names.join(", ")))?)
}

/// Waits until no transaction writes to a cached table: what it wrote without triggers is committed before the cache
/// starts anew, and what comes later meets the triggers.
fn stop_writers(tx: &mut Tx<'_>) -> Result<()> {
    let tables = expected::cached_tables();
    let mut sql = Statement::new(
        "SELECT string_agg(format('%I', c.relname), ', ') FROM pg_class c WHERE c.relnamespace = \
                                  'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname = ANY(",
    );
    sql.bind(db::Value::Texts(tables.into_iter().map(str::to_owned).collect())).push(")");
    if let Some(tables) = sql.row(tx)?.as_ref().and_then(|row| row.text(0)) {
        tx.batch_execute(&format!("LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE"))?;
    }
    Ok(())
}

/// Begins a new epoch of the cache: every answer that any process or Redis has kept is dropped with the next validation
/// round. It does at once what moving every version of every business would do.
pub fn renew_cache_epoch(tx: &mut Tx<'_>) -> Result<()> {
    let there = Statement::new("SELECT to_regclass('public.cache_incarnation')::text").row(tx)?;
    if there.is_some_and(|row| row.text(0).is_some()) {
        // One after the other, and also where the table has lost its primary key.
        tx.batch_execute(
            "LOCK TABLE public.cache_incarnation IN SHARE ROW EXCLUSIVE MODE; DELETE FROM public.cache_incarnation;
             INSERT INTO public.cache_incarnation (id) VALUES (gen_random_uuid())",
        )?;
    }
    Ok(())
}
