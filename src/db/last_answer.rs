//! When the database last answered: what readiness asks, so that a database that is only busy is not taken for one that is
//! away.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Moments are counted from here.
static BASE: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The moment of the last answer on one way to the database.
#[derive(Debug)]
pub struct LastAnswer(AtomicU64);

impl Default for LastAnswer {
    /// As if it had answered now.
    fn default() -> Self {
        let new = Self(AtomicU64::new(0));
        new.note();
        new
    }
}

impl LastAnswer {
    /// It answers now.
    pub fn note(&self) {
        self.0.store(BASE.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long ago that was.
    pub fn age(&self) -> Duration {
        let now = BASE.elapsed().as_millis() as u64;
        Duration::from_millis(now.saturating_sub(self.0.load(Ordering::Relaxed)))
    }
}
