//! What a supervised task is, and how it ends.

/// How a task ended: `Ok` when it has nothing more to do (the service stops, or its purpose is gone), else why.
pub type Outcome = std::result::Result<(), String>;

/// A background task, as logs, metrics and `/health/detailed` name it.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub name: &'static str,
    /// Whether readiness fails while it is down.
    pub required: bool,
}

impl Task {
    /// A task whose work can wait while it is down.
    pub const fn named(name: &'static str) -> Self {
        Self { name, required: false }
    }

    /// A task without which no request can be served. It must report
    /// [`Pulse::succeeded`](super::Pulse::succeeded) at least every few seconds: readiness recovers with that, not with
    /// the restart.
    pub const fn required(name: &'static str) -> Self {
        Self { name, required: true }
    }
}
