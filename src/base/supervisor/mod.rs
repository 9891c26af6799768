//! Supervision of background work: tasks and threads that are restarted after a panic, and the state they report.

pub mod lifecycle;
pub mod panics;
pub mod supervisor;
pub mod task_status;
