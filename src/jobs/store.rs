//! Jobs in the database: made, claimed, moved on, ended. Times are the database's.
//!
//! Whoever claims a job has it until the lease runs out and renews that with each step. A step locks the run's row and looks
//! for the token of its claim, so that a process whose lease ran out can do nothing with it any more; and while a step is at
//! work, however long, nobody else can claim the job, because claims pass over rows that are locked.

use serde_json::Value as Json;
use uuid::Uuid;

use super::kind::{Job, Kind};
use crate::auth::{Business, Permissions, Role, Tenant};
use crate::db::{Actor, Cells, Statement, Tx, Value};
use crate::error::{Error, Result};

/// Jobs of a business that may be waiting or at work; whoever makes more is not looking.
const MOST_WAITING: i64 = 1_000;

/// A job that this process may work on for a while.
#[derive(Clone)]
pub struct Claim {
    pub kind: &'static Kind,
    pub id: Uuid,
    /// As whom.
    pub tenant: Tenant,
    /// Whether who made it may by now do less than they might then, or is gone.
    pub revoked: bool,
    /// Claims since a step succeeded, this one included.
    pub attempts: i64,
    token: i64,
}

/// How jobs are shared.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long a claim counts without a step, in seconds.
    pub lease_seconds: u32,
    /// Jobs of one business that are worked on at once.
    pub per_business: u32,
}

/// What becomes of a job.
#[derive(Clone, Debug)]
pub enum End {
    /// With what the kind says of it.
    Succeeded(Json),
    /// With a problem.
    Failed(Json),
    Cancelled,
}

impl End {
    /// The job's state then.
    pub fn state(&self) -> &'static str {
        match self {
            End::Succeeded(_) => "succeeded",
            End::Failed(_) => "failed",
            End::Cancelled => "cancelled",
        }
    }
}

/// Makes a job of `kind`, to be run as `tenant`, in the transaction of whatever asked for it; returns its id. After the commit
/// ring `app.bells.jobs`, so that it need not wait to be found. Errors: 429 when the business has very many already.
pub fn enqueue(tx: &mut Tx<'_>, tenant: &Tenant, kind: &Kind, input: Json) -> Result<Uuid> {
    let mut sql = Statement::new("SELECT count(*) FROM job_runs WHERE business_id = ");
    let waiting = sql.bind(Value::Uuid(Some(tenant.id()))).row(tx)?.and_then(|row| row.int(0)).unwrap_or_default();
    if waiting >= MOST_WAITING {
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
    sql.bind(Value::Uuid(Some(tenant.id())))
        .push(", ")
        .bind(Value::Uuid(Some(id)))
        .push(", ")
        .bind(Value::text(kind.name));
    sql.push(", ").bind(Value::text(actor)).push(", ").bind(Value::Uuid(by)).push(")").run(tx)?;
    let mut sql =
        Statement::new("INSERT INTO job_runs (business_id, id, kind, input, role, permissions, sees_only) VALUES (");
    sql.bind(Value::Uuid(Some(tenant.id())))
        .push(", ")
        .bind(Value::Uuid(Some(id)))
        .push(", ")
        .bind(Value::text(kind.name));
    sql.push(", ").bind(Value::Json(Some(input))).push(", ").bind(Value::text(tenant.role().name())).push(", ");
    sql.bind(Value::Texts(tenant.permissions().names().collect())).push(", ");
    sql.bind(Value::Uuid(tenant.sees_only())).push(")").run(tx)?;
    Ok(id)
}

/// Takes the next job of one of `kinds`, if there is one: of the business that has waited longest for its turn, the oldest
/// that is due. Across all businesses.
pub fn claim(tx: &mut Tx<'_>, kinds: &[&'static Kind], terms: Terms) -> Result<Option<Claim>> {
    // One at a time, or two processes would each take another job of the same business.
    Statement::new("SELECT pg_advisory_xact_lock(hashtext('rapport jobs'))").run(tx)?;
    let mut sql = Statement::new(
        "WITH lines AS (SELECT business_id, count(*) FILTER (WHERE leased_until > clock_timestamp()) AS running, \
             coalesce(max(served_at), min(run_at)) AS served FROM job_runs GROUP BY business_id), \
         next AS (SELECT r.business_id, r.id FROM job_runs r JOIN lines l ON l.business_id = r.business_id \
             WHERE r.run_at <= clock_timestamp() AND (r.leased_until IS NULL OR r.leased_until <= clock_timestamp()) \
             AND r.kind = ANY(",
    );
    sql.bind(Value::Texts(kinds.iter().map(|kind| kind.name.to_owned()).collect()));
    sql.push(") AND l.running < ").bind(Value::Int(Some(terms.per_business.into())));
    sql.push(
        " ORDER BY l.served, r.id LIMIT 1 FOR UPDATE OF r SKIP LOCKED) UPDATE job_runs r SET token = r.token + 1, ",
    );
    sql.push("attempts = r.attempts + 1, served_at = clock_timestamp(), leased_until = ").append(lease(terms));
    sql.push(
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
    let kind = row.text(2).and_then(|name| kinds.iter().find(|kind| kind.name == name));
    let role = row.text(5).and_then(Role::named);
    let (Some(kind), Some(role), Some(business), Some(id)) = (kind, role, row.uuid(0), row.uuid(1)) else {
        return Err(Error::Internal("a job that cannot be read".into()));
    };
    // What this binary does not know is not permitted.
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
    let tenant = Tenant::of_job(business, role, permissions, row.uuid(7), actor);
    let number = |cell| row.int(cell).unwrap_or_default();
    Ok(Some(Claim { kind, id, tenant, revoked, attempts: number(4), token: number(3) }))
}

/// A job that is locked until the end of the transaction.
pub struct Locked {
    pub job: Job,
    pub business: Business,
    /// Whether how far it is was told long enough ago.
    tells: bool,
}

/// Locks what `claim` took. `None`: it is another's by now, or ended.
pub fn lock(tx: &mut Tx<'_>, claim: &Claim) -> Result<Option<Locked>> {
    let mut sql = Statement::new(
        "SELECT r.input, r.cursor, r.total, r.done, r.failed, \
             (coalesce(r.told_at, '-infinity') < clock_timestamp() - interval '1 second')::int, \
             b.country, b.time_zone, b.currency \
         FROM job_runs r JOIN businesses b ON b.id = r.business_id",
    );
    sql.append(claimed(claim)).push(" FOR UPDATE OF r");
    Ok(sql.row(tx)?.map(|row| {
        let text = |cell| row.text(cell).unwrap_or_default().to_owned();
        Locked {
            job: job(claim.id, &row),
            business: Business { id: claim.tenant.id(), country: text(6), time_zone: text(7), currency: text(8) },
            tells: row.int(5) == Some(1),
        }
    }))
}

/// Notes where the job goes on, and renews the lease.
pub fn proceed(tx: &mut Tx<'_>, claim: &Claim, locked: &Locked, terms: Terms) -> Result<()> {
    let Locked { job, tells, .. } = locked;
    let mut sql = Statement::new("UPDATE job_runs r SET attempts = 0, cursor = ");
    sql.bind(Value::Json(Some(job.cursor.clone()))).push(", ").append(progress(job)).push(", leased_until = ");
    sql.append(lease(terms)).push(if *tells { ", told_at = clock_timestamp()" } else { "" });
    sql.append(claimed(claim)).run(tx)?;
    if *tells {
        let mut sql =
            Statement::new("UPDATE jobs j SET version = version + 1, updated_at = now(), state = 'running', ");
        sql.push("started_at = coalesce(started_at, now()), ").append(progress(job)).append(of(claim, "j")).run(tx)?;
    }
    Ok(())
}

/// Ends the job: it is told how, and there is nothing more to do.
pub fn end(tx: &mut Tx<'_>, tenant: &Tenant, job: &Job, end: &End) -> Result<()> {
    let mut sql =
        Statement::new("UPDATE jobs j SET version = version + 1, updated_at = now(), finished_at = now(), state = ");
    sql.bind(Value::text(end.state())).push(", ").append(progress(job));
    match end {
        End::Succeeded(result) => {
            let result = Some(result.clone()).filter(|result| !result.is_null());
            sql.push(", started_at = coalesce(started_at, now()), result = ").bind(Value::Json(result));
        }
        End::Failed(problem) => {
            sql.push(", started_at = coalesce(started_at, now()), error = ").bind(Value::Json(Some(problem.clone())));
        }
        End::Cancelled => {}
    }
    sql.append(identified(tenant, job.id, "j")).run(tx)?;
    let mut sql = Statement::new("DELETE FROM job_runs r");
    sql.append(identified(tenant, job.id, "r")).run(tx)?;
    // The business has had its turn, which its next job remembers.
    let mut sql = Statement::new("UPDATE job_runs r SET served_at = clock_timestamp() WHERE r.business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND r.id = (SELECT n.id FROM job_runs n WHERE n.business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" ORDER BY n.id LIMIT 1 FOR UPDATE SKIP LOCKED)").run(tx)?;
    Ok(())
}

/// Gives the job back, to be taken up again in `pause_seconds`, with so many `attempts` behind it.
pub fn give_back(tx: &mut Tx<'_>, claim: &Claim, pause_seconds: i64, attempts: i64) -> Result<()> {
    let mut sql = Statement::new("UPDATE job_runs r SET leased_until = NULL, run_at = clock_timestamp() + ");
    sql.bind(Value::Int(Some(pause_seconds))).push(" * interval '1 second', attempts = ");
    sql.bind(Value::Int(Some(attempts))).append(claimed(claim)).run(tx)?;
    Ok(())
}

/// Locks the job `id` of the business, whoever works on it: waits for the step that is being done. `None`: it has ended.
pub fn interrupt(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Option<Job>> {
    let mut sql = Statement::new("SELECT r.input, r.cursor, r.total, r.done, r.failed FROM job_runs r");
    sql.append(identified(tenant, id, "r")).push(" FOR UPDATE");
    Ok(sql.row(tx)?.map(|row| job(id, &row)))
}

fn job(id: Uuid, row: &Cells) -> Job {
    let number = |cell| row.int(cell).unwrap_or_default();
    Job { id, input: json(row, 0), cursor: json(row, 1), total: row.int(2), done: number(3), failed: number(4) }
}

/// jsonb: one byte of version, then the text.
fn json(row: &Cells, cell: usize) -> Json {
    row.get(cell).and_then(|cell| serde_json::from_slice(cell.get(1..)?).ok()).unwrap_or_default()
}

fn progress(job: &Job) -> Statement {
    let mut sql = Statement::new("total = ");
    sql.bind(Value::Int(job.total)).push(", done = ").bind(Value::Int(Some(job.done)));
    sql.push(", failed = ").bind(Value::Int(Some(job.failed)));
    sql
}

fn lease(terms: Terms) -> Statement {
    let mut sql = Statement::new("clock_timestamp() + ");
    sql.bind(Value::Int(Some(terms.lease_seconds.into()))).push(" * interval '1 second'");
    sql
}

/// ` WHERE` it is still the claim's.
fn claimed(claim: &Claim) -> Statement {
    let mut sql = of(claim, "r");
    sql.push(" AND r.token = ").bind(Value::Int(Some(claim.token)));
    sql
}

fn of(claim: &Claim, alias: &str) -> Statement {
    identified(&claim.tenant, claim.id, alias)
}

fn identified(tenant: &Tenant, id: Uuid, alias: &str) -> Statement {
    let mut sql = Statement::new(format!(" WHERE {alias}.business_id = "));
    sql.bind(Value::Uuid(Some(tenant.id()))).push(&format!(" AND {alias}.id = ")).bind(Value::Uuid(Some(id)));
    sql
}
