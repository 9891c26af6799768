//! Decides when a validation round is sent: at once, or under high load after a short delay in which more readers join.

use std::time::{Duration, Instant};

/// Readers per second above which a round is delayed so that others can join: a round costs about the same for one
/// reader as for twenty.
const BUSY: f64 = 24_000.0;
/// Time between the starts of two rounds under that load.
const GATHERING: Duration = Duration::from_micros(300);

/// The rate at which readers arrive.
#[derive(Default)]
pub(super) struct Pace {
    /// When the last round was sent.
    sent: Option<Instant>,
    /// Readers per second, smoothed over several rounds.
    rate: f64,
}

impl Pace {
    /// Delays the next round under high load.
    pub(super) fn gather(&self) {
        if let (Some(sent), true) = (self.sent, self.rate > BUSY) {
            std::thread::sleep(GATHERING.saturating_sub(sent.elapsed()));
        }
    }

    pub(super) fn sends(&mut self, readers: usize) {
        let now = Instant::now();
        if let Some(sent) = self.sent.replace(now) {
            let rate = readers as f64 / now.duration_since(sent).as_secs_f64().max(1e-6);
            self.rate += (rate - self.rate) / 8.0;
        }
    }
}
