//! The supervisor: runs background tasks, async ones and threads, and restarts those that panic or end unexpectedly.
//!
//! A failure is logged at ERROR with the task's name, counted (`rapport_background_task_restarts_total`), shown in
//! `/health/detailed`, and followed by a restart after a pause that doubles with each failure in a row. While a
//! required task is down, readiness fails. Nothing else in this crate may spawn: clippy.toml forbids it.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use metrics::counter;
use parking_lot::Mutex;

use super::lifecycle::Lifecycle;
use super::panics::{caught, text};
use super::task::{Outcome, Task};
use super::task_status::{Instance, Pulse, Record, TaskState};
use crate::base::error::{Error, Result};

/// Restarts of background tasks, by task.
pub const RESTARTS: &str = "rapport_background_task_restarts_total";
/// Pause before the first restart. Short, because most panics concern one row or one response and do not recur.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between restarts: a task that always fails logs a line every half minute, and recovers within it.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// A task that ran this long has recovered: its next failure is the first in a row.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// Runs tasks; a handle to share.
#[derive(Clone, Default)]
pub struct Supervisor {
    lifecycle: Arc<Lifecycle>,
    tasks: Arc<Mutex<BTreeMap<&'static str, Arc<Record>>>>,
}

/// For what belongs to the process and not to one service in it.
static OF_PROCESS: LazyLock<Supervisor> = LazyLock::new(Supervisor::default);

impl Supervisor {
    /// Creates a supervisor that fails the readiness of `lifecycle` while a required task is down.
    pub fn new(lifecycle: Arc<Lifecycle>) -> Self {
        Self { lifecycle, tasks: Arc::default() }
    }

    /// Returns the one for tasks of the process as a whole (log writer, reply batchers); none of them is required.
    pub fn of_process() -> &'static Self {
        &OF_PROCESS
    }

    /// Runs `start` on this thread's runtime, again after each failure.
    pub fn spawn<F, Running>(&self, task: Task, mut start: F)
    where
        F: FnMut(Pulse) -> Running + 'static,
        Running: Future<Output = Outcome> + 'static,
    {
        let instance = self.register(task);
        #[expect(clippy::disallowed_methods, reason = "the supervisor is what spawns")]
        actix_web::rt::spawn(async move {
            let mut pauses = Backoff::default();
            loop {
                let began = instance.begins();
                let ended = caught(async { start(instance.pulse()).await }).await;
                let Some(pause) = after(&instance, ended, began, &mut pauses) else { return };
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// Runs `body` on a thread of its own named `thread`, again after each failure: on the same thread, so that what
    /// the system ties to a thread outlives a panic. Unparking the thread ends a pause early. Errors: 500 when the
    /// thread cannot be started.
    pub fn spawn_thread(
        &self,
        task: Task,
        thread: impl Into<String>,
        mut body: impl FnMut(&Pulse) -> Outcome + Send + 'static,
    ) -> Result<JoinHandle<()>> {
        let instance = self.register(task);
        let run = move || {
            let mut pauses = Backoff::default();
            loop {
                let began = instance.begins();
                let ended =
                    catch_unwind(AssertUnwindSafe(|| body(&instance.pulse()))).map_err(|payload| text(&*payload));
                let Some(pause) = after(&instance, ended, began, &mut pauses) else { return };
                std::thread::park_timeout(pause);
            }
        };
        #[expect(clippy::disallowed_methods, reason = "the supervisor is what spawns")]
        let started = std::thread::Builder::new().name(thread.into()).spawn(run);
        started.map_err(|error| Error::Internal(format!("cannot start the thread of {}: {error}", task.name)))
    }

    fn register(&self, task: Task) -> Instance {
        // So that its rate is known before the first failure.
        counter!(RESTARTS, "task" => task.name).increment(0);
        let mut tasks = self.tasks.lock();
        let record = tasks.entry(task.name).or_insert_with(|| Arc::new(Record::new(task, self.lifecycle.clone())));
        Instance::new(record.clone())
    }

    /// Returns the state of each task by name: state, restarts, last start, last success, last failure.
    pub fn state(&self) -> BTreeMap<&'static str, TaskState> {
        self.tasks.lock().iter().map(|(name, record)| (*name, record.state())).collect()
    }
}

/// Handles a run's end: `None` when the task is finished, else the pause before the restart. Outer `Err`: a panic.
fn after(
    instance: &Instance,
    ended: std::result::Result<Outcome, String>,
    began: Instant,
    pauses: &mut Backoff,
) -> Option<Duration> {
    let (what, reason) = match ended {
        Ok(Ok(())) => {
            instance.finished();
            return None;
        }
        Ok(Err(reason)) => ("ended", reason),
        Err(reason) => ("panicked", reason),
    };
    let pause = pauses.next(began.elapsed());
    let task = instance.task();
    tracing::error!(task = task.name, reason, restart_ms = pause.as_millis() as u64, "a background task {what}");
    counter!(RESTARTS, "task" => task.name).increment(1);
    instance.broke(what, &reason);
    Some(pause)
}

/// Backoff between restarts.
#[derive(Default)]
struct Backoff(Option<ExponentialBackoff>);

impl Backoff {
    /// Returns the next pause, after a run of `ran`.
    fn next(&mut self, ran: Duration) -> Duration {
        if ran >= STEADY_AFTER {
            self.0 = None;
        }
        let pauses = self.0.get_or_insert_with(|| {
            let first = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_factor(2.0);
            first.with_max_delay(MAX_PAUSE).with_jitter().without_max_times().build()
        });
        pauses.next().unwrap_or(MAX_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::supervisor::TaskPhase;

    #[test]
    fn backoff_doubles_per_failure_and_resets_after_steady_run() {
        let mut pauses = Backoff::default();
        let first = pauses.next(Duration::ZERO);
        assert!((FIRST_PAUSE..FIRST_PAUSE * 2).contains(&first), "{first:?}");
        let later: Vec<Duration> = (0..12).map(|_| pauses.next(Duration::from_secs(1))).collect();
        assert!(later[1] >= FIRST_PAUSE * 4 && later.iter().all(|pause| *pause <= MAX_PAUSE * 2), "{later:?}");
        assert!(*later.last().expect("some") >= MAX_PAUSE, "{later:?}");
        assert!(pauses.next(STEADY_AFTER) < FIRST_PAUSE * 2);
    }

    #[test]
    fn panicking_thread_body_restarted_in_place_and_counted() {
        let supervisor = Supervisor::default();
        let (send, runs) = std::sync::mpsc::channel();
        let mut left = 2;
        let body = move |pulse: &Pulse| {
            send.send(std::thread::current().id()).map_err(|error| error.to_string())?;
            if left > 0 {
                left -= 1;
                panic!("on purpose");
            }
            pulse.succeeded();
            Ok(())
        };
        let thread = supervisor.spawn_thread(Task::required("test thread"), "test", body).expect("a thread");
        thread.join().expect("no panic leaves the supervisor");
        let runs: Vec<_> = runs.iter().collect();
        assert!(runs.len() == 3 && runs.iter().all(|id| *id == runs[0]), "{runs:?}");
        let state = &supervisor.state()["test thread"];
        assert_eq!((state.restarts, state.state), (2, TaskPhase::Finished), "{state:?}");
        assert!(state.last_failure.as_ref().is_some_and(|failure| failure.reason.contains("on purpose")), "{state:?}");
        assert!(supervisor.lifecycle.impairments().is_empty(), "it recovered");
    }
}
