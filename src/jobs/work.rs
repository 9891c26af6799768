//! The worker: claims jobs, does their steps, and says how they ended. Some jobs at once, each on one connection at a time,
//! in its business' own line for one.

use std::time::{Duration, Instant};

use actix_web::web::Data;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::Pace;
use super::kind::{Kind, Step};
use super::store::{self, Claim, End, Terms};
use crate::app::App;
use crate::context::{CONTEXT, Context};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::ops::log_limiter::LogLimiter;
use crate::ops::metrics;

/// How long a job is worked on before others have their turn.
const TURN: Duration = Duration::from_secs(1);
/// How often a worker that has a hand free looks for jobs that others made.
const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// Attempts at a step that fails, after pauses of 1, 4, 16 and 64 seconds.
const MOST_ATTEMPTS: i64 = 5;
/// Claims without a step that succeeded, after which the job itself is what stops its processes.
const MOST_CLAIMS: i64 = 20;

/// Works until there is nothing to do. As a duty's `run`, with every kind that this binary knows.
pub async fn work(app: Data<App>, kinds: &'static [&'static Kind]) -> Result<Pace> {
    let hands = app.config.jobs_at_once as usize;
    let mut busy = FuturesUnordered::new();
    loop {
        while busy.len() < hands && !app.life.is_draining() {
            let terms = terms(&app);
            match app.db.across().write("job_claim", move |tx| store::claim(tx, kinds, terms)).await {
                Ok(Some(claim)) => busy.push(take_turn(app.clone(), claim)),
                Ok(None) => break,
                Err(error) if busy.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        if busy.is_empty() {
            return Ok(Pace::Rest);
        }
        let full = busy.len() >= hands;
        tokio::select! {
            _ = busy.next() => {}
            () = app.bells.jobs.notified(), if !full => {}
            () = tokio::time::sleep(LOOKS_EVERY), if !full => {}
        }
    }
}

fn terms(app: &App) -> Terms {
    Terms { lease_seconds: app.config.jobs_lease_seconds, per_business: app.config.jobs_per_business }
}

/// Does steps of one job until its turn is over. The audit log names the job where it names requests.
async fn take_turn(app: Data<App>, claim: Claim) {
    let name = format!("job-{}", claim.id);
    CONTEXT
        .scope(Context::new(name.as_str().into()), async move {
            let (id, kind) = (claim.id, claim.kind.name);
            static FAILURES: LogLimiter = LogLimiter::new();
            if let Err(error) = steps(&app, &claim).await {
                // Nobody could be told: it is found again when its lease is over.
                if let Some(suppressed) = FAILURES.failed_with(&error) {
                    tracing::warn!(job = %id, kind, %error, suppressed, "a job could not be moved on");
                }
            }
        })
        .await;
}

async fn steps(app: &Data<App>, claim: &Claim) -> Result<()> {
    let began = Instant::now();
    if claim.attempts > MOST_CLAIMS {
        let detail = format!("Given up: {MOST_CLAIMS} times in a row it was begun and its process ended meanwhile.");
        return fail(app, claim, Error::conflict("given_up", detail)).await;
    }
    if claim.revoked {
        let detail = "Whoever asked for this job may do less by now, or is gone. What was done stays done.";
        return fail(app, claim, Error::Forbidden(detail.into())).await;
    }
    // As the database has them: a step that succeeds begins anew, and this is the next attempt.
    let mut attempts = claim.attempts;
    loop {
        match step(app, claim).await.map_err(Error::explained) {
            Ok(Went::On) if began.elapsed() < TURN && !app.life.is_draining() => attempts = 1,
            Ok(Went::On) => return give_back(app, claim, 0, 0).await,
            Ok(Went::Away) => return Ok(()),
            Ok(Went::Through) => {
                metrics::job_ended(claim.kind.name, "succeeded");
                return Ok(());
            }
            Err(error) if is_hopeless(&error) => return fail(app, claim, error).await,
            // The service has too much to do, or its database is away: no fault of the job's. (That a step takes too long, or
            // is in others' way each time, is its own.)
            Err(Error::Unavailable { code, .. }) if !["statement_timeout", "contended"].contains(&code) => {
                return give_back(app, claim, 1, attempts - 1).await;
            }
            Err(error) if attempts >= MOST_ATTEMPTS => return fail(app, claim, error).await,
            Err(error) => {
                tracing::warn!(job = %claim.id, kind = claim.kind.name, %error, "a step failed and is tried again");
                let pause = 4_i64.pow(u32::try_from(attempts - 1).unwrap_or_default());
                return give_back(app, claim, pause, attempts).await;
            }
        }
    }
}

/// What became of a job by a step.
enum Went {
    On,
    Through,
    /// It was not done: the job is another's by now, or ended.
    Away,
}

async fn step(app: &Data<App>, claim: &Claim) -> Result<Went> {
    let began = Instant::now();
    let (own, terms) = (claim.clone(), terms(app));
    let stepped = app.db.within(&claim.tenant).write("job_step", move |tx| {
        let Some(mut locked) = store::lock(tx, &own)? else { return Ok(Went::Away) };
        match (own.kind.step)(tx, &own.tenant, &locked.business, &mut locked.job)? {
            Step::More => store::proceed(tx, &own, &locked, terms).map(|()| Went::On),
            Step::Done(result) => {
                store::end(tx, &own.tenant, &locked.job, &End::Succeeded(result)).map(|()| Went::Through)
            }
        }
    });
    let stepped = stepped.await;
    metrics::job_stepped(claim.kind.name, began.elapsed());
    stepped
}

/// Ends the job as failed.
async fn fail(app: &Data<App>, claim: &Claim, error: Error) -> Result<()> {
    tracing::warn!(job = %claim.id, kind = claim.kind.name, %error, "a job failed");
    let (own, problem) = (claim.clone(), error.problem());
    let ended = app.db.within(&claim.tenant).write("job_end", move |tx| {
        let Some(locked) = store::lock(tx, &own)? else { return Ok(false) };
        store::end(tx, &own.tenant, &locked.job, &End::Failed(problem.clone())).map(|()| true)
    });
    if ended.await? {
        metrics::job_ended(claim.kind.name, "failed");
    }
    Ok(())
}

async fn give_back(app: &Data<App>, claim: &Claim, pause_seconds: i64, attempts: i64) -> Result<()> {
    let own = claim.clone();
    let given = move |tx: &mut Tx<'_>| store::give_back(tx, &own, pause_seconds, attempts);
    app.db.within(&claim.tenant).write("job_give_back", given).await
}

/// Whether a second try would come to the same.
fn is_hopeless(error: &Error) -> bool {
    match error {
        Error::Malformed { .. }
        | Error::Forbidden(_)
        | Error::NotFound(_)
        | Error::Conflict { .. }
        | Error::Gone { .. }
        | Error::Unprocessable { .. }
        | Error::Stale
        | Error::TooLarge(_)
        | Error::Unsupported(_)
        | Error::Invalid(_)
        | Error::Several { .. } => true,
        Error::Unauthenticated
        | Error::Refused { .. }
        | Error::MethodNotAllowed { .. }
        | Error::RequestTimeout
        | Error::TooMany { .. }
        | Error::Unavailable { .. }
        | Error::Database(_)
        | Error::CrossOrigin { .. }
        | Error::Internal(_) => false,
    }
}
