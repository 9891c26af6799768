//! The worker: claims jobs, runs their steps, and records how they ended. It runs some jobs at once, each on one
//! connection at a time, for which it waits in its business's queue.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;

use super::job_retry::{AfterFailure, MAX_CLAIMS, after_failure};
use super::job_type::{JobType, Prepared, Step};
use super::store::{self, JobLease, JobResult, LeaseConfig};
use super::task::{BackgroundTask, TaskOutcome};
use super::waker::Waker;
use super::{Lifecycle, LogLimiter};
use crate::base::error::{Error, Result};
use crate::base::request_context::{CONTEXT, RequestContext};
use crate::base::telemetry::metrics;
use crate::db::{Db, Tx};

/// How long a job is worked on before others have their turn.
const MAX_TURN: Duration = Duration::from_secs(1);
/// How often a worker with free capacity looks for jobs that other processes created.
const POLL_PERIOD: Duration = Duration::from_secs(1);

/// Wakes the worker of this process: a job was enqueued.
#[derive(Clone, Debug, Default)]
pub struct JobWaker(Waker);

impl JobWaker {
    pub fn wake(&self) {
        self.0.wake();
    }
}

/// The worker of a process.
#[derive(Clone)]
pub struct Worker {
    pub db: Db,
    pub lifecycle: Arc<Lifecycle>,
    pub waker: JobWaker,
    /// Every job type that this binary knows; it claims jobs of no others.
    pub job_types: &'static [&'static JobType],
    /// Jobs that it works on at once.
    pub concurrency: usize,
    pub lease: LeaseConfig,
}

/// What a step did to its job.
enum StepResult {
    Continue,
    Finished,
    /// Nothing: another process has claimed the job, or it has ended.
    LeaseLost,
}

impl Worker {
    /// The task that works.
    pub fn task(self) -> BackgroundTask {
        let waker = self.waker.0.clone();
        let run = move || {
            let worker = self.clone();
            async move { worker.work().await }
        };
        BackgroundTask::new("jobs", Duration::from_secs(1), run).woken_by(waker)
    }

    /// Works until there is nothing to do. Errors: jobs cannot be claimed.
    pub async fn work(&self) -> Result<TaskOutcome> {
        let (job_types, lease) = (self.job_types, self.lease);
        let mut busy = FuturesUnordered::new();
        loop {
            while busy.len() < self.concurrency && !self.lifecycle.is_draining() {
                match self.db.unscoped().write("job_claim", move |tx| store::claim(tx, job_types, lease)).await {
                    Ok(Some(job)) => busy.push(self.take_turn(job)),
                    Ok(None) => break,
                    Err(error) if busy.is_empty() => return Err(error),
                    Err(_) => break,
                }
            }
            if busy.is_empty() {
                return Ok(TaskOutcome::Rest);
            }
            let full = busy.len() >= self.concurrency;
            tokio::select! {
                _ = busy.next() => {}
                () = self.waker.0.woken(), if !full => {}
                () = tokio::time::sleep(POLL_PERIOD), if !full => {}
            }
        }
    }

    /// Runs steps of one job until its turn is over. The audit log records the job's name as the request id.
    async fn take_turn(&self, job: JobLease) {
        let name = format!("job-{}", job.id);
        CONTEXT
            .scope(RequestContext::new(name.as_str().into()), async move {
                static FAILURES: LogLimiter = LogLimiter::new();
                if let Err(error) = self.run_steps(&job).await {
                    // No caller gets this error: the job is claimed again when its lease expires.
                    if let Some(suppressed) = FAILURES.failed_with(&error) {
                        tracing::warn!(
                            job = %job.id,
                            kind = job.kind.name,
                            %error,
                            suppressed,
                            "a job could not be moved on"
                        );
                    }
                }
            })
            .await;
    }

    async fn run_steps(&self, job: &JobLease) -> Result<()> {
        let began = Instant::now();
        if job.attempts > MAX_CLAIMS {
            let detail = format!("Given up: {MAX_CLAIMS} times in a row it was begun and its process ended meanwhile.");
            return self.fail(job, Error::conflict("given_up", detail)).await;
        }
        if job.revoked {
            let detail = "The creator of this job has lost permissions or no longer exists. What was done stays done.";
            return self.fail(job, Error::Forbidden(detail.into())).await;
        }
        // As the database counts: a successful step resets the count, and this is the next attempt.
        let mut attempts = job.attempts;
        let prepared = Arc::new(Mutex::new(Prepared::default()));
        loop {
            let error = match self.step(job, Arc::clone(&prepared)).await.map_err(Error::translated) {
                Ok(StepResult::Continue) if began.elapsed() < MAX_TURN && !self.lifecycle.is_draining() => {
                    attempts = 1;
                    continue;
                }
                Ok(StepResult::Continue) => return self.release(job, 0, 0).await,
                Ok(StepResult::LeaseLost) => return Ok(()),
                Ok(StepResult::Finished) => {
                    metrics::job_ended(job.kind.name, "succeeded");
                    return Ok(());
                }
                Err(error) => error,
            };
            return match after_failure(&error, attempts) {
                AfterFailure::Fail => self.fail(job, error).await,
                AfterFailure::Release => self.release(job, 1, attempts - 1).await,
                AfterFailure::Retry { pause_seconds } => {
                    tracing::warn!(job = %job.id, kind = job.kind.name, %error, "a step failed and is tried again");
                    self.release(job, pause_seconds, attempts).await
                }
            };
        }
    }

    async fn step(&self, job: &JobLease, prepared: Arc<Mutex<Prepared>>) -> Result<StepResult> {
        let began = Instant::now();
        let (own, lease) = (job.clone(), self.lease);
        let stepped = self.db.for_tenant(&job.tenant).write("job_step", move |tx| {
            let Some(mut locked) = store::lock(tx, &own)? else { return Ok(StepResult::LeaseLost) };
            // Taken: a step that is run again begins without it.
            locked.job.prepared = mem::take(&mut *prepared.lock());
            let step = (own.kind.step)(tx, &own.tenant, &locked.business, &mut locked.job)?;
            *prepared.lock() = mem::take(&mut locked.job.prepared);
            match step {
                Step::More => store::checkpoint(tx, &own, &locked, lease).map(|()| StepResult::Continue),
                Step::Done(result) => store::end(tx, &own.tenant, &locked.job, &JobResult::Succeeded(result))
                    .map(|()| StepResult::Finished),
            }
        });
        let stepped = stepped.await;
        metrics::job_stepped(job.kind.name, began.elapsed());
        stepped
    }

    /// Ends the job as failed.
    async fn fail(&self, job: &JobLease, error: Error) -> Result<()> {
        tracing::warn!(job = %job.id, kind = job.kind.name, %error, "a job failed");
        let (own, problem) = (job.clone(), error.problem());
        let ended = self.db.for_tenant(&job.tenant).write("job_end", move |tx| {
            let Some(locked) = store::lock(tx, &own)? else { return Ok(false) };
            store::end(tx, &own.tenant, &locked.job, &JobResult::Failed(problem.clone())).map(|()| true)
        });
        if ended.await? {
            metrics::job_ended(job.kind.name, "failed");
        }
        Ok(())
    }

    async fn release(&self, job: &JobLease, pause_seconds: i64, attempts: i64) -> Result<()> {
        let own = job.clone();
        let released = move |tx: &mut Tx<'_>| store::release(tx, &own, pause_seconds, attempts);
        self.db.for_tenant(&job.tenant).write("job_release", released).await
    }
}
