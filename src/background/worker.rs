//! The worker: claims jobs, runs their steps, and records how they ended. It runs some jobs at once, each on one
//! connection at a time, for which it waits in its business's queue.

use std::time::{Duration, Instant};

use actix_web::web::Data;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::TaskOutcome;
use super::job_type::{JobType, Step};
use super::store::{self, JobLease, JobResult, LeaseConfig};
use crate::app::state::AppState;
use crate::base::error::{Error, Result};
use crate::base::request_context::{CONTEXT, RequestContext};
use crate::base::telemetry::log_limiter::LogLimiter;
use crate::base::telemetry::metrics;
use crate::db::Tx;

/// How long a job is worked on before others have their turn.
const MAX_TURN: Duration = Duration::from_secs(1);
/// How often a worker with free capacity looks for jobs that other processes created.
const POLL_PERIOD: Duration = Duration::from_secs(1);
/// Attempts at a failing step, with pauses of 1, 4, 16 and 64 seconds between them.
const MAX_ATTEMPTS: i64 = 5;
/// Claims without a successful step, after which the job itself is taken to be what ends its processes.
const MAX_CLAIMS: i64 = 20;

/// Works until there is nothing to do. Run by a background task, with every job type that this binary knows.
pub async fn work(app: Data<AppState>, kinds: &'static [&'static JobType]) -> Result<TaskOutcome> {
    let hands = app.config.background.job_concurrency as usize;
    let mut busy = FuturesUnordered::new();
    loop {
        while busy.len() < hands && !app.lifecycle.is_draining() {
            let terms = terms(&app);
            match app.db.unscoped().write("job_claim", move |tx| store::claim(tx, kinds, terms)).await {
                Ok(Some(claim)) => busy.push(take_turn(app.clone(), claim)),
                Ok(None) => break,
                Err(error) if busy.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        if busy.is_empty() {
            return Ok(TaskOutcome::Rest);
        }
        let full = busy.len() >= hands;
        tokio::select! {
            _ = busy.next() => {}
            () = app.wakers.jobs.notified(), if !full => {}
            () = tokio::time::sleep(POLL_PERIOD), if !full => {}
        }
    }
}

fn terms(app: &AppState) -> LeaseConfig {
    LeaseConfig {
        lease_seconds: app.config.background.job_lease_seconds,
        per_business: app.config.background.job_concurrency_per_business,
    }
}

/// Runs steps of one job until its turn is over. The audit log records the job's name as the request id.
async fn take_turn(app: Data<AppState>, claim: JobLease) {
    let name = format!("job-{}", claim.id);
    CONTEXT
        .scope(RequestContext::new(name.as_str().into()), async move {
            let (id, kind) = (claim.id, claim.kind.name);
            static FAILURES: LogLimiter = LogLimiter::new();
            if let Err(error) = steps(&app, &claim).await {
                // No caller gets this error: the job is claimed again when its lease expires.
                if let Some(suppressed) = FAILURES.failed_with(&error) {
                    tracing::warn!(job = %id, kind, %error, suppressed, "a job could not be moved on");
                }
            }
        })
        .await;
}

async fn steps(app: &Data<AppState>, claim: &JobLease) -> Result<()> {
    let began = Instant::now();
    if claim.attempts > MAX_CLAIMS {
        let detail = format!("Given up: {MAX_CLAIMS} times in a row it was begun and its process ended meanwhile.");
        return fail(app, claim, Error::conflict("given_up", detail)).await;
    }
    if claim.revoked {
        let detail = "The creator of this job has lost permissions or no longer exists. What was done stays done.";
        return fail(app, claim, Error::Forbidden(detail.into())).await;
    }
    // As the database counts: a successful step resets the count, and this is the next attempt.
    let mut attempts = claim.attempts;
    loop {
        match step(app, claim).await.map_err(Error::translated) {
            Ok(StepResult::Continue) if began.elapsed() < MAX_TURN && !app.lifecycle.is_draining() => attempts = 1,
            Ok(StepResult::Continue) => return release(app, claim, 0, 0).await,
            Ok(StepResult::LeaseLost) => return Ok(()),
            Ok(StepResult::Finished) => {
                metrics::job_ended(claim.kind.name, "succeeded");
                return Ok(());
            }
            Err(error) if is_hopeless(&error) => return fail(app, claim, error).await,
            // The service is overloaded, or its database unreachable: no fault of the job. (That a step takes too long,
            // or conflicts with others each time, is its own.)
            Err(Error::Unavailable { code, .. }) if !["statement_timeout", "contended"].contains(&code) => {
                return release(app, claim, 1, attempts - 1).await;
            }
            Err(error) if attempts >= MAX_ATTEMPTS => return fail(app, claim, error).await,
            Err(error) => {
                tracing::warn!(job = %claim.id, kind = claim.kind.name, %error, "a step failed and is tried again");
                let pause = 4_i64.pow(u32::try_from(attempts - 1).unwrap_or_default());
                return release(app, claim, pause, attempts).await;
            }
        }
    }
}

/// What a step did to its job.
enum StepResult {
    Continue,
    Finished,
    /// Nothing: another process has claimed the job, or it has ended.
    LeaseLost,
}

async fn step(app: &Data<AppState>, claim: &JobLease) -> Result<StepResult> {
    let began = Instant::now();
    let (own, terms) = (claim.clone(), terms(app));
    let stepped = app.db.for_tenant(&claim.tenant).write("job_step", move |tx| {
        let Some(mut locked) = store::lock(tx, &own)? else { return Ok(StepResult::LeaseLost) };
        match (own.kind.step)(tx, &own.tenant, &locked.business, &mut locked.job)? {
            Step::More => store::checkpoint(tx, &own, &locked, terms).map(|()| StepResult::Continue),
            Step::Done(result) => {
                store::end(tx, &own.tenant, &locked.job, &JobResult::Succeeded(result)).map(|()| StepResult::Finished)
            }
        }
    });
    let stepped = stepped.await;
    metrics::job_stepped(claim.kind.name, began.elapsed());
    stepped
}

/// Ends the job as failed.
async fn fail(app: &Data<AppState>, claim: &JobLease, error: Error) -> Result<()> {
    tracing::warn!(job = %claim.id, kind = claim.kind.name, %error, "a job failed");
    let (own, problem) = (claim.clone(), error.problem());
    let ended = app.db.for_tenant(&claim.tenant).write("job_end", move |tx| {
        let Some(locked) = store::lock(tx, &own)? else { return Ok(false) };
        store::end(tx, &own.tenant, &locked.job, &JobResult::Failed(problem.clone())).map(|()| true)
    });
    if ended.await? {
        metrics::job_ended(claim.kind.name, "failed");
    }
    Ok(())
}

async fn release(app: &Data<AppState>, claim: &JobLease, pause_seconds: i64, attempts: i64) -> Result<()> {
    let own = claim.clone();
    let given = move |tx: &mut Tx<'_>| store::release(tx, &own, pause_seconds, attempts);
    app.db.for_tenant(&claim.tenant).write("job_give_back", given).await
}

/// Whether a retry would fail in the same way.
fn is_hopeless(error: &Error) -> bool {
    match error {
        Error::Malformed { .. }
        | Error::Forbidden(_)
        | Error::NotFound(_)
        | Error::Conflict { .. }
        | Error::Gone { .. }
        | Error::Unprocessable { .. }
        | Error::PreconditionFailed
        | Error::TooLarge(_)
        | Error::Unsupported(_)
        | Error::Invalid(_)
        | Error::BatchRejected { .. } => true,
        Error::Unauthenticated
        | Error::AuthRejected { .. }
        | Error::MethodNotAllowed { .. }
        | Error::RequestTimeout
        | Error::TooMany { .. }
        | Error::Unavailable { .. }
        | Error::Database(_)
        | Error::CrossOrigin { .. }
        | Error::Internal(_) => false,
    }
}
