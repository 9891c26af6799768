//! Supervision of background work. `supervisor` runs tasks and threads and restarts those that fail, `task_status` has
//! the state they report, `panics` catches panics of work that is not restarted, `lifecycle` is the state of the process.

#[cfg(feature = "mutants")]
mod failpoint;
mod lifecycle;
mod panics;
mod supervisor;
mod task;
mod task_status;

pub use self::lifecycle::Lifecycle;
pub use self::panics::{Detached, PANICS, Panics, detach, guarded, panics};
pub use self::supervisor::{RESTARTS, Supervisor};
pub use self::task::{Outcome, Task};
pub use self::task_status::{Pulse, TaskPhase, TaskState};
