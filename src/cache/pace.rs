//! When a validation round is sent: at once, or, while many readers come, after a moment in which others gather.

use std::time::{Duration, Instant};

/// Above so many readers in a second a round waits for others before it is sent: it costs much the same for one as for
/// twenty.
const BUSY: f64 = 24_000.0;
/// For so long, from the start of the round before.
const GATHERING: Duration = Duration::from_micros(300);

/// How fast readers come.
#[derive(Default)]
pub(super) struct Pace {
    /// When the last round was sent.
    sent: Option<Instant>,
    /// Readers in a second, smoothed over some rounds.
    rate: f64,
}

impl Pace {
    /// Lets others gather while there are many.
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
