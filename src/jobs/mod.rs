//! What is done beside requests: by [`Duty`], each a loop of its own in every process that works (`RAPPORT_WORKER`, or
//! `rapport worker`). Processes share by what they lock in the database, so any number of them may run.
//!
//! A job ([`Kind`], [`enqueue`]) is work that a request asked for and did not wait for. Its steps are transactions that change
//! rows and the job's own place together, so that each is done exactly once, whatever becomes of the process: docs/JOBS.md.

#[cfg(feature = "mutants")]
mod failpoint;
mod kind;
mod lifecycle;
pub mod panics;
mod slots;
pub mod statistics;
pub mod store;
pub mod supervisor;
mod task_status;
mod tidy;
mod work;

use std::time::Duration;

use actix_web::web::Data;
use futures_util::future::LocalBoxFuture;
use tokio::sync::Notify;

pub use self::kind::{Job, Kind, Step};
pub use self::lifecycle::Life;
pub use self::panics::{Detached, detach, guarded};
pub use self::slots::{Slot, Slots};
pub use self::store::enqueue;
pub use self::supervisor::{Outcome, Supervisor, Task};
pub use self::task_status::Pulse;
pub use self::tidy::tidy;
pub use self::work::work;
use crate::app::App;
use crate::error::Result;
use crate::ops::log_limiter::LogLimiter;

/// How long a duty rests after it failed: the database is away, or something is wrong that a log must show.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Whether there is more to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Again,
    Rest,
}

/// What wakes duties before their rest is over; each rings for one duty of this process.
#[derive(Debug, Default)]
pub struct Bells {
    /// A job was made.
    pub jobs: Notify,
    /// There is something to deliver.
    pub deliveries: Notify,
    /// Events were ordered: whoever reads for streams may look.
    pub events: Notify,
}

/// Work that comes up again and again.
pub struct Duty {
    /// As logs name it.
    pub name: &'static str,
    /// How long it rests when there was nothing to do, unless it is woken.
    pub rest: Duration,
    /// What wakes it: as a rule that this process has written something.
    pub woken_by: Option<fn(&App) -> &Notify>,
    /// Does a little of it. What was begun and not finished must be found again by whoever comes next.
    pub run: fn(Data<App>) -> LocalBoxFuture<'static, Result<Pace>>,
}

impl Duty {
    /// Does it from when the service is ready until it drains.
    pub async fn keep(&'static self, app: Data<App>, pulse: Pulse) -> Outcome {
        while !app.life.is_started() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let failures = LogLimiter::new();
        while !app.life.is_draining() {
            let done = (self.run)(app.clone()).await;
            if done.is_ok() {
                pulse.succeeded();
                if let Some(over) = failures.recovered() {
                    tracing::info!(duty = self.name, suppressed = over.suppressed, "can be done again");
                }
            }
            let rest = match done {
                Ok(Pace::Again) => continue,
                Ok(Pace::Rest) => self.rest,
                Err(error) => {
                    pulse.failed(error.to_string());
                    if let Some(suppressed) = failures.failed_with(&error) {
                        tracing::warn!(duty = self.name, %error, suppressed, "could not be done");
                    }
                    AFTER_FAILURE
                }
            };
            match self.woken_by {
                Some(bell) => drop(tokio::time::timeout(rest, bell(&app).notified()).await),
                None => tokio::time::sleep(rest).await,
            }
        }
        Ok(())
    }
}
