//! Background task which ends what no worker will: tasks whose last lease has ended, tasks that a newer one with their key has
//! superseded; and deletes those that ended long ago.

use std::time::Duration;

use super::claims::superseded;
use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::{Db, Statement};

/// How often leases are looked at: it delays only how soon people see that a task has failed.
const PERIOD: Duration = Duration::from_secs(1);
/// Tasks changed in one transaction.
const MAX_CHANGED: u32 = 500;
/// How long a task that has ended can be looked at, in days.
const RETENTION_DAYS: u32 = 30;

/// The task. Any number of processes may run it: rows that one has locked are skipped by the others.
pub fn task(db: Db) -> BackgroundTask {
    BackgroundTask::new("worker tasks", PERIOD, move || run(db.clone()))
}

async fn run(db: Db) -> Result<TaskOutcome> {
    let ended = db.unscoped().write("worker_tasks_expire", |tx| {
        let mut sql = Statement::new(
            "WITH lapsed AS (SELECT t.business_id, t.id FROM worker_tasks t WHERE t.status = 'claimed' AND t.lease_until <= now() \
             AND (t.attempts >= t.max_attempts OR ",
        );
        sql.append(superseded()).sql(") ORDER BY t.lease_until LIMIT ").number(MAX_CHANGED);
        sql.sql(
            " FOR UPDATE OF t SKIP LOCKED) UPDATE worker_tasks t SET version = t.version + 1, updated_at = now(), ended_at = now(), \
             lease_until = NULL, status = CASE WHEN t.attempts >= t.max_attempts THEN 'failed' ELSE 'cancelled' END, \
             cancel_reason = CASE WHEN t.attempts < t.max_attempts THEN 'superseded' END, \
             error = CASE WHEN t.attempts >= t.max_attempts THEN 'The lease of the last attempt ended without a word of the worker.' ELSE t.error END \
             FROM lapsed WHERE t.business_id = lapsed.business_id AND t.id = lapsed.id",
        );
        Ok(sql.run(tx)?)
    });
    let ended = ended.await?;
    let purged = db.unscoped().write("worker_tasks_purge", |tx| {
        let mut sql = Statement::new(
            "DELETE FROM worker_tasks WHERE (business_id, id) IN (SELECT business_id, id FROM worker_tasks WHERE ended_at < now() - interval '",
        );
        sql.number(RETENTION_DAYS).sql(" days' ORDER BY ended_at LIMIT ").number(MAX_CHANGED);
        Ok(sql.sql(" FOR UPDATE SKIP LOCKED)").run(tx)?)
    });
    let most = ended.max(purged.await?);
    Ok(if most >= MAX_CHANGED as usize { TaskOutcome::Again } else { TaskOutcome::Rest })
}
