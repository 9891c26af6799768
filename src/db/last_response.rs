//! Records when the database last answered, so that readiness does not mistake a busy database for an unreachable one.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Times are measured from here.
static BASE: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time of the last response on one path to the database.
#[derive(Debug)]
pub struct LastAnswer(AtomicU64);

impl Default for LastAnswer {
    /// As if the database had answered now.
    fn default() -> Self {
        let new = Self(AtomicU64::new(0));
        new.note();
        new
    }
}

impl LastAnswer {
    /// Records a response.
    pub fn note(&self) {
        self.0.store(BASE.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Returns the time since the last response.
    pub fn age(&self) -> Duration {
        let now = BASE.elapsed().as_millis() as u64;
        Duration::from_millis(now.saturating_sub(self.0.load(Ordering::Relaxed)))
    }
}
