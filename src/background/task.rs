//! A background task: work that recurs until the process drains.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::waker::Waker;
use super::{Lifecycle, LogLimiter, Outcome, Pulse, Supervisor, Task};
use crate::base::error::Result;

/// Pause of a task after a failure: the database is unreachable, or something is wrong that a log must show.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Whether a task has more to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskOutcome {
    Again,
    Rest,
    /// Something is due then: a pause of the task, or a shorter one.
    RestFor(Duration),
}

/// Work that recurs. It captures the state that it needs.
pub struct BackgroundTask {
    /// Its name in logs.
    name: &'static str,
    /// The pause when there was nothing to do, unless it is woken.
    idle_pause: Duration,
    waker: Option<Waker>,
    run: Box<dyn Fn() -> LocalBoxFuture<'static, Result<TaskOutcome>>>,
}

impl BackgroundTask {
    /// A task that calls `run`, which does a little of the work. Unfinished work must be found again by the next run,
    /// in any process.
    pub fn new<F, R>(name: &'static str, idle_pause: Duration, run: F) -> Self
    where
        F: Fn() -> R + 'static,
        R: Future<Output = Result<TaskOutcome>> + 'static,
    {
        Self { name, idle_pause, waker: None, run: Box::new(move || run().boxed_local()) }
    }

    /// Ends its pause early when `waker` is used: usually by a write of this process.
    pub fn woken_by(self, waker: Waker) -> Self {
        Self { waker: Some(waker), ..self }
    }

    /// Spawns it on this thread.
    pub fn spawn(self, supervisor: &Supervisor, lifecycle: &Arc<Lifecycle>) {
        let (task, lifecycle) = (Rc::new(self), lifecycle.clone());
        supervisor.spawn(Task::named(task.name), move |pulse| {
            let (task, lifecycle) = (task.clone(), lifecycle.clone());
            async move { task.run_until_drained(&lifecycle, pulse).await }
        });
    }

    /// Runs the task from when the service is ready until it drains.
    async fn run_until_drained(&self, lifecycle: &Lifecycle, pulse: Pulse) -> Outcome {
        while !lifecycle.is_started() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let failures = LogLimiter::new();
        while !lifecycle.is_draining() {
            let done = (self.run)().await;
            if done.is_ok() {
                pulse.succeeded();
                if let Some(over) = failures.recovered() {
                    tracing::info!(task = self.name, suppressed = over.suppressed, "can be done again");
                }
            }
            let pause = match done {
                Ok(TaskOutcome::Again) => continue,
                Ok(TaskOutcome::Rest) => self.idle_pause,
                Ok(TaskOutcome::RestFor(until_due)) => until_due.min(self.idle_pause),
                Err(error) => {
                    pulse.failed(error.to_string());
                    if let Some(suppressed) = failures.failed_with(&error) {
                        tracing::warn!(task = self.name, %error, suppressed, "could not be done");
                    }
                    AFTER_FAILURE
                }
            };
            match &self.waker {
                Some(waker) => drop(tokio::time::timeout(pause, waker.woken()).await),
                None => tokio::time::sleep(pause).await,
            }
        }
        Ok(())
    }
}
