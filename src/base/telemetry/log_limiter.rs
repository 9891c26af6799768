//! Limits the log lines of one kind of failure: one at once when it begins, then one a minute with the number of
//! suppressed lines, and one when it is over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::base::error::Error;

/// Least time between two lines of one kind.
const PERIOD: Duration = Duration::from_secs(60);

/// One kind of failure: a static, or a field beside what fails.
#[derive(Debug)]
pub struct LogLimiter {
    /// Checked first by [`LogLimiter::recovered`], which is called on each success.
    failing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the failure began.
    since: Option<Instant>,
    /// When the last line was logged; a failure that recurs gets no more lines than one that lasts.
    logged: Option<Instant>,
    /// Lines suppressed since then.
    suppressed: u64,
    /// Whether this failure was logged, so that its end is.
    told: bool,
}

/// The end of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    pub lasted: Duration,
    /// Lines suppressed since the last one.
    pub suppressed: u64,
}

impl Default for LogLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl LogLimiter {
    pub const fn new() -> Self {
        let state = State { since: None, logged: None, suppressed: 0, told: false };
        Self { failing: AtomicBool::new(false), state: Mutex::new(state) }
    }

    /// Records a failure. `Some`: log a line, with the number of lines suppressed since the last.
    pub fn failed(&self) -> Option<u64> {
        self.failed_at(Instant::now())
    }

    /// As [`LogLimiter::failed`], for a failure caused by `error`. Never `Some` for an unreachable database, which the
    /// pool logs once for all.
    pub fn failed_with(&self, error: &Error) -> Option<u64> {
        if error.is_outage() { None } else { self.failed() }
    }

    /// Records a success. `Some`: log a line, because the failure was logged.
    pub fn recovered(&self) -> Option<Recovery> {
        if !self.failing.load(Ordering::Relaxed) {
            return None;
        }
        self.recovered_at(Instant::now())
    }

    fn failed_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        self.failing.store(true, Ordering::Relaxed);
        state.since.get_or_insert(now);
        if state.logged.is_some_and(|logged| now.duration_since(logged) < PERIOD) {
            state.suppressed += 1;
            return None;
        }
        state.logged = Some(now);
        state.told = true;
        Some(std::mem::take(&mut state.suppressed))
    }

    fn recovered_at(&self, now: Instant) -> Option<Recovery> {
        let mut state = self.state.lock();
        self.failing.store(false, Ordering::Relaxed);
        let lasted = now.duration_since(state.since.take()?);
        std::mem::take(&mut state.told).then(|| Recovery { lasted, suppressed: std::mem::take(&mut state.suppressed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_failure_logs_at_once_then_each_minute_and_its_end_once() {
        let (limiter, began) = (LogLimiter::new(), Instant::now());
        let at = |tenths: u64| began + Duration::from_millis(tenths * 100);
        let logged: Vec<(u64, u64)> =
            (0..1500).filter_map(|tenths| Some((tenths, limiter.failed_at(at(tenths))?))).collect();
        assert_eq!(logged, [(0, 0), (600, 599), (1200, 599)]);
        let over = limiter.recovered_at(at(1500));
        assert_eq!(over, Some(Recovery { lasted: Duration::from_secs(150), suppressed: 299 }));
        assert_eq!((limiter.recovered(), limiter.recovered_at(at(1501))), (None, None));
    }

    #[test]
    fn intermittent_failure_logs_once_a_minute_each_way() {
        let (limiter, began) = (LogLimiter::new(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        let lines = (0..120).map(|second| {
            let failed = limiter.failed_at(at(second)).is_some();
            usize::from(failed) + usize::from(limiter.recovered_at(at(second)).is_some())
        });
        assert_eq!(lines.sum::<usize>(), 4);
    }
}
