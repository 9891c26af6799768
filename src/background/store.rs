//! Stores jobs in the database: creates, claims, checkpoints and ends them. Times are the database's.
//!
//! A worker holds the job that it claimed until the lease expires, and renews the lease with each step. A step locks
//! the run's row and checks the token of its lease, so a process whose lease has expired cannot change the job any
//! more; and while a step runs, however long, nobody else can claim the job, because claims skip locked rows.

use diesel::QueryableByName;
use diesel::sql_types::{Array, Bool, Nullable, Text};
use serde_json::Value as Json;
use uuid::Uuid;

use super::job_type::{Job, JobType};
use crate::auth::{Permissions, Role, Tenant, TenantSettings};
use crate::base::error::{Error, Result};
use crate::db::schema::{businesses, job_runs};
use crate::db::{Actor, Statement, Tx};

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
    let waiting: i64 = sql.bind(tenant.id()).scalar(tx)?.unwrap_or_default();
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

/// A run that was claimed, with its job.
#[derive(QueryableByName)]
#[diesel(table_name = job_runs)]
struct ClaimedRun {
    business_id: Uuid,
    id: Uuid,
    kind: String,
    token: i64,
    attempts: i32,
    /// Role and permissions of its creator when it was created.
    role: String,
    permissions: Vec<String>,
    sees_only: Option<Uuid>,
    #[diesel(sql_type = Text)]
    actor_kind: String,
    #[diesel(sql_type = Nullable<diesel::sql_types::Uuid>)]
    actor_id: Option<Uuid>,
    /// The creator's role now; `None`: it no longer exists.
    #[diesel(sql_type = Nullable<Text>)]
    role_now: Option<String>,
    /// Permissions to which the creator, an API key, is limited now.
    #[diesel(sql_type = Nullable<Array<Text>>)]
    permissions_now: Option<Vec<String>>,
}

impl ClaimedRun {
    /// Errors: it was written by a release that knows other job types or roles.
    fn lease(self, job_types: &[&'static JobType]) -> Result<JobLease> {
        let kind = job_types.iter().find(|kind| kind.name == self.kind);
        let (Some(kind), Some(role)) = (kind, Role::named(&self.role)) else {
            return Err(Error::Internal("a job that cannot be read".into()));
        };
        // Permissions unknown to this binary are not granted.
        let permissions = named(&self.permissions);
        let actor = match (self.actor_kind.as_str(), self.actor_id) {
            ("user", Some(id)) => Some(Actor::User(id)),
            ("api_key", Some(id)) => Some(Actor::Key(id)),
            _ => None,
        };
        let now = self.role_now.as_deref().and_then(Role::named).map(Role::permissions).unwrap_or_default();
        let now = self.permissions_now.map_or(now, |limits| now.of(named(&limits)));
        let tenant = Tenant::for_job(self.business_id, role, permissions, self.sees_only, actor);
        let revoked = !now.contain(permissions);
        Ok(JobLease { kind, id: self.id, tenant, revoked, attempts: self.attempts.into(), token: self.token })
    }
}

fn named(permissions: &[String]) -> Permissions {
    permissions.iter().filter_map(|name| Permissions::named(name)).collect()
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
        " ORDER BY l.served, r.id LIMIT 1 FOR UPDATE OF r SKIP LOCKED) \
         UPDATE job_runs r SET token = r.token + 1, attempts = r.attempts + 1, served_at = clock_timestamp(), leased_until = ",
    );
    sql.append(lease_end(config)).sql(
        " FROM next JOIN jobs j ON j.business_id = next.business_id AND j.id = next.id \
         WHERE r.business_id = next.business_id AND r.id = next.id \
         RETURNING r.business_id, r.id, r.kind, r.token, r.attempts, r.role, r.permissions, r.sees_only, \
             j.actor_kind, j.actor_id, \
             CASE j.actor_kind WHEN 'api_key' THEN (SELECT k.role FROM api_keys k WHERE k.business_id = j.business_id \
                     AND k.id = j.actor_id AND (k.expires_at IS NULL OR k.expires_at > now())) \
                 WHEN 'user' THEN (SELECT m.role FROM memberships m WHERE m.business_id = j.business_id AND m.user_id = j.actor_id) \
                 ELSE r.role END AS role_now, \
             (SELECT k.permissions FROM api_keys k WHERE k.business_id = j.business_id \
                 AND k.id = j.actor_id AND j.actor_kind = 'api_key') AS permissions_now",
    );
    sql.first::<ClaimedRun>(tx)?.map(|run| run.lease(job_types)).transpose()
}

/// A job whose run is locked until the end of the transaction.
pub struct Locked {
    pub job: Job,
    pub business: TenantSettings,
    /// Whether its progress is due to be published again.
    publishes: bool,
}

/// What [`lock`] loads.
#[derive(QueryableByName)]
#[diesel(table_name = businesses)]
struct LockedRun {
    #[diesel(embed)]
    job: Job,
    #[diesel(sql_type = Bool)]
    publishes: bool,
    country: String,
    time_zone: String,
    currency: String,
}

/// Locks the job of `lease`. `None`: another process has claimed it, or it has ended.
pub fn lock(tx: &mut Tx<'_>, lease: &JobLease) -> Result<Option<Locked>> {
    let mut sql = Statement::new(
        "SELECT r.id, r.input, r.cursor, r.total, r.done, r.failed, \
             coalesce(r.progress_published_at, '-infinity') < clock_timestamp() - interval '1 second' AS publishes, \
             b.country, b.time_zone, b.currency \
         FROM job_runs r JOIN businesses b ON b.id = r.business_id",
    );
    let run: Option<LockedRun> = sql.append(held(lease)).sql(" FOR UPDATE OF r").first(tx)?;
    Ok(run.map(|LockedRun { job, publishes, country, time_zone, currency }| Locked {
        job,
        business: TenantSettings { id: lease.tenant.id(), country, time_zone, currency },
        publishes,
    }))
}

/// Saves the checkpoint, renews the lease, and publishes the progress if that is due.
pub fn checkpoint(tx: &mut Tx<'_>, lease: &JobLease, locked: &Locked, config: LeaseConfig) -> Result<()> {
    let Locked { job, publishes, .. } = locked;
    let mut sql = Statement::new("UPDATE job_runs r SET attempts = 0, cursor = ");
    sql.bind(job.cursor.clone()).sql(", ").append(progress(job)).sql(", leased_until = ");
    sql.append(lease_end(config)).sql(if *publishes { ", progress_published_at = clock_timestamp()" } else { "" });
    sql.append(held(lease)).run(tx)?;
    if *publishes {
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
    let mut sql = Statement::new("SELECT r.id, r.input, r.cursor, r.total, r.done, r.failed FROM job_runs r");
    Ok(sql.append(identified(tenant, id, "r")).sql(" FOR UPDATE").first(tx)?)
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

fn of(lease: &JobLease, alias: &'static str) -> Statement {
    identified(&lease.tenant, lease.id, alias)
}

fn identified(tenant: &Tenant, id: Uuid, alias: &'static str) -> Statement {
    let mut sql = Statement::new(" WHERE ");
    sql.ident(alias).sql(".business_id = ").bind(tenant.id());
    sql.sql(" AND ").ident(alias).sql(".id = ").bind(id);
    sql
}
