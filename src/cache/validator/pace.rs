//! Decides when a validation round is sent: at once, or after a short delay in which more readers join.
//!
//! A round costs the database about the same for one reader as for twenty. So readers that come at the same time share one. But a
//! client that reads alone, one response after the other, must not wait for others that do not come.

use std::time::{Duration, Instant};

/// Longest time between the starts of two rounds, while readers wait.
const GATHERING: Duration = Duration::from_millis(1);
/// Readers for which a round waits, at most: more would save little, and hold up clients that send their next request when they
/// have a response.
const ENOUGH: f64 = 20.0;
/// When as many readers wait as the last round had, so soon after its reply, they are probably the same: clients that have their
/// response and read on. Nobody else is to be expected.
const RETURN: Duration = Duration::from_micros(200);

/// How readers arrive, smoothed over several rounds.
#[derive(Default)]
pub(super) struct Pace {
    /// When the last round was sent, and for how many readers.
    sent: Option<(Instant, usize)>,
    /// Readers of a round.
    readers: f64,
    /// Readers per second.
    rate: f64,
}

/// How long the next round waits for readers.
pub(super) struct Gathering {
    pub(super) until: Instant,
    /// It is sent at once if so many wait until then.
    pub(super) returned: (usize, Instant),
}

impl Pace {
    /// Returns how long the next round waits, now that the last one is replied to: the longer, the more readers shared the last
    /// ones. `None`: not at all.
    pub(super) fn gathering(&self) -> Option<Gathering> {
        let (sent, readers) = self.sent?;
        let until = sent + self.window();
        let now = Instant::now();
        (until > now).then(|| Gathering { until, returned: (readers, until.min(now + RETURN)) })
    }

    /// Returns the time between the starts of two rounds, where readers wait.
    fn window(&self) -> Duration {
        let shared = GATHERING.as_secs_f64() * (1.0 - 1.0 / self.readers.max(1.0));
        Duration::from_secs_f64(shared.min(ENOUGH / self.rate.max(1.0)))
    }

    /// Notes that a round is sent for `readers`.
    pub(super) fn sends(&mut self, readers: usize) {
        let now = Instant::now();
        if let Some((sent, _)) = self.sent.replace((now, readers)) {
            let readers = readers as f64;
            let rate = readers / now.duration_since(sent).as_secs_f64().max(1e-6);
            self.readers += (readers - self.readers) / 8.0;
            self.rate += (rate - self.rate) / 8.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_is_open_only_where_readers_share_rounds() {
        let window = |readers: f64, rate: f64| Pace { sent: None, readers, rate }.window();
        assert_eq!(window(0.0, 0.0), Duration::ZERO, "no reader yet");
        assert_eq!(window(1.0, 3_000.0), Duration::ZERO, "a single reader");
        assert_eq!(window(4.0, 4_000.0), Duration::from_micros(750));
        assert_eq!(window(40.0, 100_000.0), Duration::from_micros(200), "twenty readers are enough");
    }
}
