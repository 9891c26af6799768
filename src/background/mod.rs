//! Work outside of requests: background tasks, and jobs that requests start.
//!
//! Each [`BackgroundTask`] is a loop of its own in every process that runs them (`RAPPORT_BACKGROUND_TASKS`, or
//! `rapport worker`); database locks coordinate processes, so any number may run. A job's ([`JobType`], [`enqueue`])
//! steps are transactions that change rows and its checkpoint together: each is applied exactly once, even if the
//! process dies (docs/JOBS.md).

pub mod analyze_tables;
pub mod args;
mod job_type;
mod purge;
pub mod store;
mod worker;

use std::time::Duration;

use actix_web::web::Data;
use futures_util::future::LocalBoxFuture;
use tokio::sync::Notify;

pub use self::job_type::{Job, JobType, Step};
pub use self::purge::purge;
pub use self::store::enqueue;
pub use self::worker::work;
use crate::app::state::AppState;
use crate::base::error::Result;
pub use crate::base::slots::{Slot, Slots};
pub use crate::base::supervisor::Lifecycle;
pub use crate::base::supervisor::Pulse;
pub use crate::base::supervisor::{Detached, detach, guarded};
pub use crate::base::supervisor::{Outcome, Supervisor, Task};
use crate::base::telemetry::log_limiter::LogLimiter;

/// Pause of a task after a failure: the database is unreachable, or something is wrong that a log must show.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Whether a task has more to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskOutcome {
    Again,
    Rest,
}

/// Wakers that end the pause of background tasks early; each wakes one task of this process.
#[derive(Debug, Default)]
pub struct Wakers {
    /// A job was created.
    pub jobs: Notify,
    /// There are deliveries to send.
    pub deliveries: Notify,
    /// Events were sequenced: the reader for event streams may look.
    pub events: Notify,
}

/// Work that recurs.
pub struct BackgroundTask {
    /// Its name in logs.
    pub name: &'static str,
    /// The pause when there was nothing to do, unless it is woken.
    pub idle_pause: Duration,
    /// What wakes it: usually a write of this process.
    pub waker: Option<fn(&AppState) -> &Notify>,
    /// Does a little of it. Unfinished work must be found again by the next run, in any process.
    pub run: fn(Data<AppState>) -> LocalBoxFuture<'static, Result<TaskOutcome>>,
}

impl BackgroundTask {
    /// Runs the task from when the service is ready until it drains.
    pub async fn run_until_drained(&'static self, app: Data<AppState>, pulse: Pulse) -> Outcome {
        while !app.lifecycle.is_started() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let failures = LogLimiter::new();
        while !app.lifecycle.is_draining() {
            let done = (self.run)(app.clone()).await;
            if done.is_ok() {
                pulse.succeeded();
                if let Some(over) = failures.recovered() {
                    tracing::info!(duty = self.name, suppressed = over.suppressed, "can be done again");
                }
            }
            let rest = match done {
                Ok(TaskOutcome::Again) => continue,
                Ok(TaskOutcome::Rest) => self.idle_pause,
                Err(error) => {
                    pulse.failed(error.to_string());
                    if let Some(suppressed) = failures.failed_with(&error) {
                        tracing::warn!(duty = self.name, %error, suppressed, "could not be done");
                    }
                    AFTER_FAILURE
                }
            };
            match self.waker {
                Some(bell) => drop(tokio::time::timeout(rest, bell(&app).notified()).await),
                None => tokio::time::sleep(rest).await,
            }
        }
        Ok(())
    }
}
