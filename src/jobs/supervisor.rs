//! The supervisor: runs background tasks, async ones and threads, and restarts those that panic or end unexpectedly.
//!
//! A failure is logged at ERROR with the task's name, counted (`rapport_background_task_restarts_total`), shown in
//! `/health/detailed`, and followed by a restart after a pause that doubles with each failure in a row. While a task that
//! the service cannot serve without is down, readiness fails. Nothing else in this crate may spawn: clippy.toml forbids it.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use metrics::counter;
use parking_lot::Mutex;
use serde_json::Value as Json;

use super::Life;
use super::panics::{caught, text};
use super::task_status::{Instance, Pulse, Record};
use crate::error::{Error, Result};

/// Restarts of background tasks, by task.
pub const RESTARTS: &str = "rapport_background_task_restarts_total";
/// Pause before the first restart. Short, because one panic is mostly one row or one answer that a second look survives.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between restarts: a task that fails each time costs a log line every half minute, and comes back within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A task that ran for so long has recovered: its next failure is the first in a row.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// How a task ended: `Ok` when it has nothing more to do (the service stops, or what the task serves is gone), else why not.
pub type Outcome = std::result::Result<(), String>;

/// A background task, as logs, metrics and `/health/detailed` name it.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub name: &'static str,
    /// Whether readiness fails while it is down.
    pub required: bool,
}

impl Task {
    /// A task whose work waits while it is down.
    pub const fn named(name: &'static str) -> Self {
        Self { name, required: false }
    }

    /// A task that requests cannot be served without. It must report [`Pulse::succeeded`] at least every few seconds:
    /// readiness comes back with that, not with the restart.
    pub const fn required(name: &'static str) -> Self {
        Self { name, required: true }
    }
}

/// Runs tasks; a handle to share.
#[derive(Clone, Default)]
pub struct Supervisor {
    life: Arc<Life>,
    tasks: Arc<Mutex<BTreeMap<&'static str, Arc<Record>>>>,
}

/// What belongs to the process and not to one service in it.
static OF_PROCESS: LazyLock<Supervisor> = LazyLock::new(Supervisor::default);

impl Supervisor {
    /// A supervisor that fails the readiness of `life` while a required task is down.
    pub fn new(life: Arc<Life>) -> Self {
        Self { life, tasks: Arc::default() }
    }

    /// The one for tasks that serve the process as a whole (log writer, mailboxes); none of them is required.
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
            let mut pauses = Pauses::default();
            loop {
                let began = instance.begins();
                let ended = caught(async { start(instance.pulse()).await }).await;
                let Some(pause) = after(&instance, ended, began, &mut pauses) else { return };
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// Runs `body` on a thread of its own named `thread`, again after each failure: on the same thread, so that what the
    /// system ties to a thread outlives a panic. Unparking the thread ends a pause early.
    /// Errors: 500 when the thread cannot be started.
    pub fn spawn_thread(
        &self,
        task: Task,
        thread: impl Into<String>,
        mut body: impl FnMut(&Pulse) -> Outcome + Send + 'static,
    ) -> Result<JoinHandle<()>> {
        let instance = self.register(task);
        let run = move || {
            let mut pauses = Pauses::default();
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
        // So that a rate over it is known before the first failure.
        counter!(RESTARTS, "task" => task.name).increment(0);
        let mut tasks = self.tasks.lock();
        let record = tasks.entry(task.name).or_insert_with(|| Arc::new(Record::new(task, self.life.clone())));
        Instance::new(record.clone())
    }

    /// Each task by name: state, restarts, last start, last success, last failure.
    pub fn state(&self) -> BTreeMap<&'static str, Json> {
        self.tasks.lock().iter().map(|(name, record)| (*name, record.state())).collect()
    }
}

/// What follows an end: `None` when nothing does, else the pause before the restart. `Err` outside: it panicked.
fn after(
    instance: &Instance,
    ended: std::result::Result<Outcome, String>,
    began: Instant,
    pauses: &mut Pauses,
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

/// The pauses between restarts.
#[derive(Default)]
struct Pauses(Option<ExponentialBackoff>);

impl Pauses {
    /// The next, after a task that ran for `ran`.
    fn next(&mut self, ran: Duration) -> Duration {
        if ran >= STEADY_AFTER {
            self.0 = None;
        }
        let pauses = self.0.get_or_insert_with(|| {
            let first = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_factor(2.0);
            first.with_max_delay(LONGEST_PAUSE).with_jitter().without_max_times().build()
        });
        pauses.next().unwrap_or(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_of_failures_in_a_row_double_and_begin_anew_after_a_steady_run() {
        let mut pauses = Pauses::default();
        let first = pauses.next(Duration::ZERO);
        assert!((FIRST_PAUSE..FIRST_PAUSE * 2).contains(&first), "{first:?}");
        let later: Vec<Duration> = (0..12).map(|_| pauses.next(Duration::from_secs(1))).collect();
        assert!(later[1] >= FIRST_PAUSE * 4 && later.iter().all(|pause| *pause <= LONGEST_PAUSE * 2), "{later:?}");
        assert!(*later.last().expect("some") >= LONGEST_PAUSE, "{later:?}");
        assert!(pauses.next(STEADY_AFTER) < FIRST_PAUSE * 2);
    }

    #[test]
    fn thread_that_panics_is_restarted_on_the_same_thread_and_counted() {
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
        assert_eq!((&state["restarts"], &state["state"]), (&2.into(), &"finished".into()), "{state}");
        assert!(
            state["last_failure"]["reason"].as_str().is_some_and(|reason| reason.contains("on purpose")),
            "{state}"
        );
        assert!(supervisor.life.impairments().is_empty(), "it recovered");
    }
}
