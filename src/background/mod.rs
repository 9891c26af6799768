//! Work outside of requests: background tasks, and jobs that requests start.
//!
//! Each [`BackgroundTask`] (`task`) is a loop of its own in every process that runs them (`RAPPORT_BACKGROUND_TASKS`, or
//! `rapport worker`); database locks coordinate processes, so any number may run. A job's ([`JobType`], [`enqueue`])
//! steps are transactions that change rows and its checkpoint together: each is applied exactly once, even if the
//! process dies (docs/JOBS.md). [`store`] holds jobs and leases, `worker` runs them, `job_retry` decides what becomes of
//! one whose step failed, [`purge_jobs`] deletes old ones. Rows that a task claims and works on side by side, such as messages to
//! be sent, are [`ClaimedWork`]. [`analyze_tables`] is a task of its own.

pub mod analyze_tables;
pub mod args;
mod claiming;
mod job_retry;
mod job_type;
pub mod purge_jobs;
pub mod store;
mod task;
pub mod trim_change_log;
mod waker;
mod worker;

pub use self::claiming::ClaimedWork;
pub use self::job_type::{Job, JobType, Step};
pub use self::store::{LeaseConfig, enqueue};
pub use self::task::{BackgroundTask, TaskOutcome};
pub use self::waker::Waker;
pub use self::worker::{JobWaker, Worker};
pub use crate::base::concurrency_slots::{Slot, Slots};
pub use crate::base::supervisor::{Detached, Lifecycle, Outcome, Pulse, Supervisor, Task, detach, guarded};
pub use crate::base::telemetry::log_limiter::LogLimiter;
