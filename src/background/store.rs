//! Stores jobs in the database: creates, claims, checkpoints and ends them. Times are the database's.
//!
//! A worker holds the job that it claimed until the lease expires, and renews the lease with each step. A step locks
//! the run's row and checks the token of its lease, so a process whose lease has expired cannot change the job any
//! more; and while a step runs, however long, nobody else can claim the job, because claims skip locked rows.

use serde_json::Value as Json;
use uuid::Uuid;

use super::job_type::{Job, JobType};
use crate::auth::{Permissions, Role, Tenant, TenantSettings};
use crate::base::error::{Error, Result};
use crate::db::{Actor, RawRow, Statement, Tx};

/// Unfinished jobs that a business may have; a client that creates more is not watching them.
const MAX_WAITING: i64 = 1_000;

/// A job that this process may work on while its lease lasts.
#[derive(Clone)]
pub struct JobLease {
    pub kind: &'static JobType,
    pub id: Uuid,
    /// The tenant that it runs as.
    pub tenant: Tenant,
    /// Whether its creator has lost permissions since, or no longer exists.
    pub revoked: bool,
    /// Claims since a step succeeded, this one included.
    pub attempts: i64,
    token: i64,
}

/// How processes share jobs.
#[derive(Clone, Copy, Debug)]
pub struct LeaseConfig {
    /// How long a lease lasts without a step, in seconds.
    pub lease_seconds: u32,
    /// Jobs of one business that run at once.
    pub per_business: u32,
}

/// How a job ends.
#[derive(Clone, Debug)]
pub enum JobResult {
    /// With the result of the job type.
    Succeeded(Json),
    /// With a problem document.
    Failed(Json),
    Cancelled,
}

impl JobResult {
    /// The job's final state.
    pub fn state(&self) -> &'static str {
        match self {
            JobResult::Succeeded(_) => "succeeded",
            JobResult::Failed(_) => "failed",
            JobResult::Cancelled => "cancelled",
        }
    }
}

/// Creates a job of `kind`, to be run as `tenant`, in the caller's transaction; returns its id. After the commit use
/// the [`JobWaker`](super::JobWaker), so that it starts at once. Errors: 429 when the business has very many unfinished jobs.
pub fn enqueue(tx: &mut Tx<'_>, tenant: &Tenant, kind: &JobType, input: Json) -> Result<Uuid> {
    let mut sql = Statement::new("SELECT count(*) FROM job_runs WHERE business_id = ");
    let waiting = sql.bind(tenant.id()).row(tx)?.and_then(|row| row.int(0)).unwrap_or_default();
    if waiting >= MAX_WAITING {
        let detail =
            format!("{waiting} jobs of this business are waiting already. Wait for some to end, or cancel some.");
        return Err(Error::TooMany { code: "too_many_jobs", detail, after: 60 });
    }
    let id = Uuid::now_v7();
    let (actor, by) = match tenant.actor().map(Actor::parts) {
        Some((kind, id)) => (kind, Some(id)),
        None => ("system", None),
    };
    let mut sql = Statement::new("INSERT INTO jobs (business_id, id, kind, actor_kind, actor_id) VALUES (");
    sql.bind(tenant.id()).sql(", ").bind(id).sql(", ").bind(kind.name);
    sql.sql(", ").bind(actor).sql(", ").bind(by).sql(")").run(tx)?;
    let mut sql =
        Statement::new("INSERT INTO job_runs (business_id, id, kind, input, role, permissions, sees_only) VALUES (");
    sql.bind(tenant.id()).sql(", ").bind(id).sql(", ").bind(kind.name);
    sql.sql(", ").bind(input).sql(", ").bind(tenant.role().name()).sql(", ");
    sql.bind(tenant.permissions().names().collect::<Vec<_>>()).sql(", ");
    sql.bind(tenant.restricted_to_user()).sql(")").run(tx)?;
    Ok(id)
}

/// Claims the next job of one of `job_types`, if there is one: the oldest that is due, of the business that has waited
/// longest for its turn. Across all businesses.
pub fn claim(tx: &mut Tx<'_>, job_types: &[&'static JobType], config: LeaseConfig) -> Result<Option<JobLease>> {
    // One claim at a time, or two processes would each take another job of the same business.
    Statement::new("SELECT pg_advisory_xact_lock(hashtext('rapport jobs'))").run(tx)?;
    let mut sql = Statement::new(
        "WITH lines AS (SELECT business_id, count(*) FILTER (WHERE leased_until > clock_timestamp()) AS running, \
             coalesce(max(served_at), min(run_at)) AS served FROM job_runs GROUP BY business_id), \
         next AS (SELECT r.business_id, r.id FROM job_runs r JOIN lines l ON l.business_id = r.business_id \
             WHERE r.run_at <= clock_timestamp() AND (r.leased_until IS NULL OR r.leased_until <= clock_timestamp()) \
             AND r.kind = ANY(",
    );
    sql.bind(job_types.iter().map(|kind| kind.name.to_owned()).collect::<Vec<_>>());
    sql.sql(") AND l.running < ").bind(config.per_business);
    sql.sql(
        " ORDER BY l.served, r.id LIMIT 1 FOR UPDATE OF r SKIP LOCKED) UPDATE job_runs r SET token = r.token + 1, ",
    );
    sql.sql("attempts = r.attempts + 1, served_at = clock_timestamp(), leased_until = ").append(lease_end(config));
    sql.sql(
        " FROM next JOIN jobs j ON j.business_id = next.business_id AND j.id = next.id \
         WHERE r.business_id = next.business_id AND r.id = next.id \
         RETURNING r.business_id, r.id, r.kind, r.token, r.attempts, r.role, array_to_string(r.permissions, ' '), \
             r.sees_only, j.actor_kind, j.actor_id, \
             CASE j.actor_kind WHEN 'api_key' THEN (SELECT k.role FROM api_keys k WHERE k.business_id = j.business_id \
                     AND k.id = j.actor_id AND (k.expires_at IS NULL OR k.expires_at > now())) \
                 WHEN 'user' THEN (SELECT m.role FROM memberships m WHERE m.business_id = j.business_id AND m.user_id = j.actor_id) \
                 ELSE r.role END, \
             (SELECT array_to_string(k.permissions, ' ') FROM api_keys k WHERE k.business_id = j.business_id \
                 AND k.id = j.actor_id AND j.actor_kind = 'api_key')",
    );
    let Some(row) = sql.row(tx)? else { return Ok(None) };
    let kind = row.text(2).and_then(|name| job_types.iter().find(|kind| kind.name == name));
    let role = row.text(5).and_then(Role::named);
    let (Some(kind), Some(role), Some(business), Some(id)) = (kind, role, row.uuid(0), row.uuid(1)) else {
        return Err(Error::Internal("a job that cannot be read".into()));
    };
    // Permissions unknown to this binary are not granted.
    let permissions: Permissions = row.text(6).unwrap_or_default().split(' ').filter_map(Permissions::named).collect();
    let actor = match (row.text(8), row.uuid(9)) {
        (Some("user"), Some(id)) => Some(Actor::User(id)),
        (Some("api_key"), Some(id)) => Some(Actor::Key(id)),
        _ => None,
    };
    let now = row.text(10).and_then(Role::named).map(Role::permissions).unwrap_or_default();
    let now = match row.text(11) {
        Some(names) => now.of(names.split(' ').filter_map(Permissions::named).collect()),
        None => now,
    };
    let revoked = !now.contain(permissions);
    let tenant = Tenant::for_job(business, role, permissions, row.uuid(7), actor);
    let number = |cell| row.int(cell).unwrap_or_default();
    Ok(Some(JobLease { kind, id, tenant, revoked, attempts: number(4), token: number(3) }))
}

/// A job whose run is locked until the end of the transaction.
pub struct Locked {
    pub job: Job,
    pub business: TenantSettings,
    /// Whether its progress is due to be published again.
    tells: bool,
}

/// Locks the job of `lease`. `None`: another process has claimed it, or it has ended.
pub fn lock(tx: &mut Tx<'_>, lease: &JobLease) -> Result<Option<Locked>> {
    let mut sql = Statement::new(
        "SELECT r.input, r.cursor, r.total, r.done, r.failed, \
             (coalesce(r.progress_published_at, '-infinity') < clock_timestamp() - interval '1 second')::int, \
             b.country, b.time_zone, b.currency \
         FROM job_runs r JOIN businesses b ON b.id = r.business_id",
    );
    sql.append(held(lease)).sql(" FOR UPDATE OF r");
    Ok(sql.row(tx)?.map(|row| {
        let text = |cell| row.text(cell).unwrap_or_default().to_owned();
        Locked {
            job: job(lease.id, &row),
            business: TenantSettings { id: lease.tenant.id(), country: text(6), time_zone: text(7), currency: text(8) },
            tells: row.int(5) == Some(1),
        }
    }))
}

/// Saves the checkpoint, renews the lease, and publishes the progress if that is due.
pub fn checkpoint(tx: &mut Tx<'_>, lease: &JobLease, locked: &Locked, config: LeaseConfig) -> Result<()> {
    let Locked { job, tells, .. } = locked;
    let mut sql = Statement::new("UPDATE job_runs r SET attempts = 0, cursor = ");
    sql.bind(job.cursor.clone()).sql(", ").append(progress(job)).sql(", leased_until = ");
    sql.append(lease_end(config)).sql(if *tells { ", progress_published_at = clock_timestamp()" } else { "" });
    sql.append(held(lease)).run(tx)?;
    if *tells {
        let mut sql =
            Statement::new("UPDATE jobs j SET version = version + 1, updated_at = now(), state = 'running', ");
        sql.sql("started_at = coalesce(started_at, now()), ").append(progress(job)).append(of(lease, "j")).run(tx)?;
    }
    Ok(())
}

/// Ends the job: publishes how, and deletes its run.
pub fn end(tx: &mut Tx<'_>, tenant: &Tenant, job: &Job, end: &JobResult) -> Result<()> {
    let mut sql =
        Statement::new("UPDATE jobs j SET version = version + 1, updated_at = now(), finished_at = now(), state = ");
    sql.bind(end.state()).sql(", ").append(progress(job));
    match end {
        JobResult::Succeeded(result) => {
            let result = Some(result.clone()).filter(|result| !result.is_null());
            sql.sql(", started_at = coalesce(started_at, now()), result = ").bind(result);
        }
        JobResult::Failed(problem) => {
            sql.sql(", started_at = coalesce(started_at, now()), error = ").bind(problem.clone());
        }
        JobResult::Cancelled => {}
    }
    sql.append(identified(tenant, job.id, "j")).run(tx)?;
    let mut sql = Statement::new("DELETE FROM job_runs r");
    sql.append(identified(tenant, job.id, "r")).run(tx)?;
    // The business has had its turn, which is recorded in its next job.
    let mut sql = Statement::new("UPDATE job_runs r SET served_at = clock_timestamp() WHERE r.business_id = ");
    sql.bind(tenant.id()).sql(" AND r.id = (SELECT n.id FROM job_runs n WHERE n.business_id = ");
    sql.bind(tenant.id()).sql(" ORDER BY n.id LIMIT 1 FOR UPDATE SKIP LOCKED)").run(tx)?;
    Ok(())
}

/// Releases the job, to be claimed again in `pause_seconds`, with its count of `attempts`.
pub fn release(tx: &mut Tx<'_>, lease: &JobLease, pause_seconds: i64, attempts: i64) -> Result<()> {
    let mut sql = Statement::new("UPDATE job_runs r SET leased_until = NULL, run_at = clock_timestamp() + ");
    sql.bind(pause_seconds).sql(" * interval '1 second', attempts = ");
    sql.bind(attempts).append(held(lease)).run(tx)?;
    Ok(())
}

/// Locks the job `id` of the business, whichever process holds it: waits for the running step. `None`: it has ended.
pub fn interrupt(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Option<Job>> {
    let mut sql = Statement::new("SELECT r.input, r.cursor, r.total, r.done, r.failed FROM job_runs r");
    sql.append(identified(tenant, id, "r")).sql(" FOR UPDATE");
    Ok(sql.row(tx)?.map(|row| job(id, &row)))
}

fn job(id: Uuid, row: &RawRow) -> Job {
    let number = |cell| row.int(cell).unwrap_or_default();
    Job { id, input: json(row, 0), cursor: json(row, 1), total: row.int(2), done: number(3), failed: number(4) }
}

/// Decodes jsonb: one byte of version, then the text.
fn json(row: &RawRow, cell: usize) -> Json {
    row.get(cell).and_then(|cell| serde_json::from_slice(cell.get(1..)?).ok()).unwrap_or_default()
}

fn progress(job: &Job) -> Statement {
    let mut sql = Statement::new("total = ");
    sql.bind(job.total).sql(", done = ").bind(job.done);
    sql.sql(", failed = ").bind(job.failed);
    sql
}

fn lease_end(config: LeaseConfig) -> Statement {
    let mut sql = Statement::new("clock_timestamp() + ");
    sql.bind(config.lease_seconds).sql(" * interval '1 second'");
    sql
}

/// ` WHERE` the job still has the token of `lease`.
fn held(lease: &JobLease) -> Statement {
    let mut sql = of(lease, "r");
    sql.sql(" AND r.token = ").bind(lease.token);
    sql
}

fn of(lease: &JobLease, alias: &str) -> Statement {
    identified(&lease.tenant, lease.id, alias)
}

fn identified(tenant: &Tenant, id: Uuid, alias: &str) -> Statement {
    let mut sql = Statement::new(format!(" WHERE {alias}.business_id = "));
    sql.bind(tenant.id()).push(&format!(" AND {alias}.id = ")).bind(id);
    sql
}
