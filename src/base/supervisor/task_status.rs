//! The status of supervised tasks, for `/health/detailed`, and for readiness where a task is required.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

#[cfg(feature = "mutants")]
use super::failpoint;
use super::lifecycle::Lifecycle;
use super::task::Task;

/// A task and its instances: several where each thread has its own.
pub(super) struct Record {
    task: Task,
    lifecycle: Arc<Lifecycle>,
    /// Time of the last success, in milliseconds since 1970; 0: none yet.
    succeeded: AtomicI64,
    /// Whether it is required and has not succeeded since it failed.
    impairs: AtomicBool,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    running: usize,
    /// Instances that wait for their restart.
    pausing: usize,
    restarts: u64,
    started: Option<DateTime<Utc>>,
    failed: Option<(DateTime<Utc>, String)>,
}

/// The state of a background task.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskState {
    pub state: TaskPhase,
    /// Whether the service is not ready without it.
    pub required: bool,
    /// How many of it run: several where each thread has its own.
    #[schema(value_type = u32)]
    pub instances: usize,
    /// Restarts after it failed.
    pub restarts: u64,
    #[schema(required = true, format = DateTime)]
    pub last_started_at: Option<String>,
    #[schema(required = true, format = DateTime)]
    pub last_succeeded_at: Option<String>,
    #[schema(required = true)]
    pub last_failure: Option<TaskFailure>,
}

/// What a background task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskPhase {
    Running,
    Restarting,
    Finished,
}

/// The last failure of a background task.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskFailure {
    #[schema(format = DateTime)]
    pub at: String,
    pub reason: String,
}

impl Record {
    pub(super) fn new(task: Task, lifecycle: Arc<Lifecycle>) -> Self {
        Self {
            task,
            lifecycle,
            succeeded: AtomicI64::new(0),
            impairs: AtomicBool::new(false),
            counts: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> TaskState {
        let counts = self.counts.lock();
        let state = match (counts.pausing, counts.running) {
            (1.., _) => TaskPhase::Restarting,
            (0, 1..) => TaskPhase::Running,
            (0, 0) => TaskPhase::Finished,
        };
        let succeeded = DateTime::from_timestamp_millis(self.succeeded.load(Ordering::Relaxed));
        let failure = counts.failed.as_ref();
        TaskState {
            state,
            required: self.task.required,
            instances: counts.running + counts.pausing,
            restarts: counts.restarts,
            last_started_at: counts.started.map(written),
            last_succeeded_at: succeeded.filter(|at| at.timestamp() > 0).map(written),
            last_failure: failure.map(|(at, reason)| TaskFailure { at: written(*at), reason: reason.clone() }),
        }
    }
}

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The handle by which a task reports its status.
#[derive(Clone)]
pub struct Pulse(Arc<Record>);

impl Pulse {
    /// Reports a success. Cheap enough for each turn of a loop.
    pub fn succeeded(&self) {
        #[cfg(feature = "mutants")]
        failpoint::pass(self.0.task.name);
        self.0.succeeded.store(Utc::now().timestamp_millis(), Ordering::Relaxed);
        if self.0.impairs.load(Ordering::Relaxed) && self.0.impairs.swap(false, Ordering::AcqRel) {
            self.0.lifecycle.recovered(self.0.task.name);
        }
    }

    /// Reports a failure after which the task continues by itself.
    pub fn failed(&self, reason: impl Into<String>) {
        self.0.counts.lock().failed = Some((Utc::now(), reason.into()));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Pausing,
    Over,
}

/// A run of a task with its restarts; when it is dropped with its runtime, it counts no longer.
pub(super) struct Instance {
    record: Arc<Record>,
    phase: Mutex<Phase>,
}

impl Instance {
    pub(super) fn new(record: Arc<Record>) -> Self {
        Self { record, phase: Mutex::new(Phase::Over) }
    }

    pub(super) fn task(&self) -> Task {
        self.record.task
    }

    pub(super) fn pulse(&self) -> Pulse {
        Pulse(self.record.clone())
    }

    pub(super) fn begins(&self) -> Instant {
        self.enter(Phase::Running);
        self.record.counts.lock().started = Some(Utc::now());
        Instant::now()
    }

    pub(super) fn finished(&self) {
        self.enter(Phase::Over);
    }

    /// Records an unexpected end.
    pub(super) fn broke(&self, what: &str, reason: &str) {
        self.enter(Phase::Pausing);
        {
            let mut counts = self.record.counts.lock();
            counts.restarts += 1;
            counts.failed = Some((Utc::now(), format!("{what}: {reason}")));
        }
        let Task { name, required } = self.record.task;
        if required {
            // In this order: a success in between is followed by another, a lost one would impair readiness for ever.
            self.record
                .lifecycle
                .impair(name, "This background task failed and is being restarted. The log has the reason.");
            self.record.impairs.store(true, Ordering::Release);
        }
    }

    fn enter(&self, phase: Phase) {
        let mut own = self.phase.lock();
        let mut counts = self.record.counts.lock();
        match *own {
            Phase::Running => counts.running -= 1,
            Phase::Pausing => counts.pausing -= 1,
            Phase::Over => {}
        }
        match phase {
            Phase::Running => counts.running += 1,
            Phase::Pausing => counts.pausing += 1,
            Phase::Over => {}
        }
        *own = phase;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.enter(Phase::Over);
    }
}
