//! Renews, completes and fails claimed tasks by the token of their claim, and cancels tasks.

use diesel::QueryableByName;
use serde_json::Value as Json;
use uuid::Uuid;

use super::WORKER_TASKS;
use super::claims::superseded;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::schema::worker_tasks;
use crate::db::{Statement, Tx};
use crate::resource::crud::{self, Row};
use crate::resource::list_query::Projection;
use crate::resource::select;

/// The pause after the first failed attempt, in seconds; it doubles with each further one.
const FIRST_PAUSE: i64 = 5;
/// The longest such pause: an hour.
const MAX_PAUSE: i64 = 3_600;

/// The code of the error of a worker that does not have the task any more.
pub const LEASE_LOST: &str = "lease_lost";

/// How a worker ends an attempt at a task.
#[derive(Clone, Debug)]
pub enum Ending {
    Completed {
        result: Option<Json>,
    },
    /// `retry_after` is in seconds.
    Failed {
        error: String,
        retry_after: Option<i64>,
        may_retry: bool,
    },
}

/// A task, locked until the end of the transaction.
#[derive(QueryableByName)]
#[diesel(table_name = worker_tasks)]
struct LockedTask {
    status: String,
    token: Option<Uuid>,
    attempts: i32,
    max_attempts: i32,
    cancel_reason: Option<String>,
}

/// Has the lease of a task end in `seconds` from now. Errors: 404; 409 `lease_lost`.
pub fn renew(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, token: Uuid, seconds: i64) -> Result<Row> {
    held(lock(tx, tenant, id)?, token)?;
    let mut sql = Statement::new("lease_until = clock_timestamp() + ");
    sql.bind(seconds).sql(" * interval '1 second'");
    change(tx, tenant, id, sql)?;
    shown(tx, tenant, id)
}

/// Ends an attempt at a task. A completion that comes again, because its response was lost, changes nothing. Errors: 404; 409
/// `lease_lost`.
pub fn end(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, token: Uuid, ending: &Ending) -> Result<Row> {
    let task = lock(tx, tenant, id)?;
    match ending {
        Ending::Completed { .. } if task.status == "completed" && task.token == Some(token) => {}
        Ending::Completed { result } => {
            held(task, token)?;
            let mut sql =
                Statement::new("status = 'completed', lease_until = NULL, ended_at = now(), error = NULL, result = ");
            sql.bind(result.clone());
            change(tx, tenant, id, sql)?;
        }
        Ending::Failed { error, retry_after, may_retry } => {
            let task = held(task, token)?;
            match *may_retry && task.attempts < task.max_attempts {
                true => open_again(tx, tenant, id, error, retry_after.unwrap_or_else(|| pause(task.attempts)))?,
                false => {
                    let mut sql = Statement::new("status = 'failed', lease_until = NULL, ended_at = now(), error = ");
                    sql.bind(error);
                    change(tx, tenant, id, sql)?;
                }
            }
        }
    }
    shown(tx, tenant, id)
}

/// Cancels a task that has not ended; one that was cancelled before stays so. Errors: 404; 409 when it has ended otherwise.
pub fn cancel(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Row> {
    match lock(tx, tenant, id)?.status.as_str() {
        "open" | "claimed" => {
            let sql = "status = 'cancelled', lease_until = NULL, ended_at = now(), cancel_reason = 'requested'";
            change(tx, tenant, id, Statement::new(sql))?;
        }
        "cancelled" => {}
        ended => {
            let detail = format!("The task has {ended} already; there is nothing to cancel.");
            return Err(Error::conflict("task_ended", detail));
        }
    }
    shown(tx, tenant, id)
}

/// Opens a task for another attempt; where a newer one has its key, that one is enough. Errors: a conflict with one that another
/// transaction makes at this moment, after which the whole is tried again.
fn open_again(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, error: &str, pause: i64) -> Result<()> {
    let mut sql = Statement::new("error = ");
    sql.bind(error).sql(", token = NULL, lease_until = NULL, status = CASE WHEN ").append(superseded());
    sql.sql(" THEN 'cancelled' ELSE 'open' END, ended_at = CASE WHEN ").append(superseded());
    sql.sql(" THEN now() END, cancel_reason = CASE WHEN ").append(superseded());
    sql.sql(" THEN 'superseded' END, run_at = clock_timestamp() + ").bind(pause);
    sql.sql(" * interval '1 second', opened_at = clock_timestamp() + ").bind(pause).sql(" * interval '1 second'");
    match change(tx, tenant, id, sql) {
        Err(error) if error.is_taken("worker_tasks_dedupe_key_key") => Err(Error::serialization_conflict()),
        done => done,
    }
}

fn pause(attempts: i32) -> i64 {
    let doubled = 2_i64.saturating_pow(u32::try_from(attempts - 1).unwrap_or_default());
    FIRST_PAUSE.saturating_mul(doubled).min(MAX_PAUSE)
}

fn lock(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<LockedTask> {
    let mut sql =
        Statement::new("SELECT t.status, t.token, t.attempts, t.max_attempts, t.cancel_reason FROM worker_tasks t");
    sql.append(select::tenant_predicate(&WORKER_TASKS, tenant)).sql(" AND t.id = ").bind(id).sql(" FOR UPDATE OF t");
    sql.first(tx)?.ok_or_else(|| crud::not_found(&WORKER_TASKS))
}

/// Returns the task if it is claimed with `token`; also when the lease has ended and no other worker has claimed it since. Errors: 409.
fn held(task: LockedTask, token: Uuid) -> Result<LockedTask> {
    if task.status == "claimed" && task.token == Some(token) {
        return Ok(task);
    }
    let what = match (task.status.as_str(), task.cancel_reason.as_deref()) {
        ("cancelled", Some(reason)) => format!("The task was cancelled ({reason})."),
        ("claimed" | "open", _) => {
            "This is not the token of the last claim: another worker may have the task.".to_owned()
        }
        (status, _) => format!("The task has {status} already."),
    };
    Err(Error::conflict(LEASE_LOST, format!("{what} Discard what you have made of it, and claim another.")))
}

/// Changes a task that is locked.
fn change(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, values: Statement) -> Result<()> {
    let mut sql = Statement::new("UPDATE worker_tasks t SET version = version + 1, updated_at = now(), ");
    sql.append(values).sql(" WHERE t.business_id = ").bind(tenant.id()).sql(" AND t.id = ").bind(id).run(tx)?;
    Ok(())
}

fn shown(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Row> {
    crud::one(tx, tenant, &WORKER_TASKS, id, &Projection::default())?.ok_or_else(|| crud::not_found(&WORKER_TASKS))
}
