//! One bucket: a number that says when it will be full again (the "generic cell rate algorithm" of ATM networks). Taking
//! from it moves that time on by one step; time itself refills it, so that nothing has to run.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::context::{Counted, Quota};

/// A minute, in the unit of all times here: nanoseconds.
const MINUTE: u64 = 60_000_000_000;
/// How far below empty a bucket may come by what other replicas took. It bounds how long one can be locked out, whatever
/// Redis says.
pub const DEEPEST: u64 = MINUTE;

/// How fast buckets fill, and how much they hold.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Requests in a minute.
    pub each_minute: u32,
    /// Requests at once.
    pub burst: u32,
    /// Time that refills one request.
    pub step: u64,
}

impl Rate {
    /// `None`: no limit.
    pub fn new(each_minute: u32, burst: u32) -> Option<Self> {
        let step = MINUTE.checked_div(u64::from(each_minute))?;
        Some(Self { each_minute, burst: burst.max(1), step: step.max(1) })
    }

    /// Time that refills all of it.
    pub fn depth(&self) -> u64 {
        self.step * u64::from(self.burst)
    }
}

#[derive(Debug, Default)]
pub struct Bucket {
    /// When it will be full again; a time that has passed: it is full.
    full_at: AtomicU64,
    /// Taken since the other replicas were told.
    taken: AtomicU32,
}

/// What came of a request for one.
pub struct Drawn {
    pub quota: Quota,
    /// Nothing was left; time until there is.
    pub wait: Option<u64>,
    /// It is the first since the others were told.
    pub first: bool,
}

impl Bucket {
    /// Takes one, if one is left.
    pub fn take(&self, now: u64, rate: &Rate, of: Counted) -> Drawn {
        let depth = rate.depth();
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now) + rate.step;
            let debt = next - now;
            if debt > depth {
                let quota = Quota { of, left: 0, full_in: debt - rate.step };
                return Drawn { quota, wait: Some(debt - depth), first: false };
            }
            match self.full_at.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    let first = self.taken.fetch_add(1, Ordering::Relaxed) == 0;
                    return Drawn {
                        quota: Quota { of, left: (depth - debt) / rate.step, full_in: debt },
                        wait: None,
                        first,
                    };
                }
                Err(seen) => full_at = seen,
            }
        }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self, now: u64, rate: &Rate) -> bool {
        self.full_at.load(Ordering::Relaxed).max(now) + rate.step > now + rate.depth()
    }

    /// Whether it is as good as a new one.
    pub fn is_full(&self, now: u64) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now
    }

    /// What was taken since the others were told; they are told now.
    pub fn tell(&self) -> u32 {
        self.taken.swap(0, Ordering::Relaxed)
    }

    /// All replicas together leave `debt` until it is full, without what was taken here since they were told. A bucket only
    /// ever learns that there is less: Redis may have forgotten.
    pub fn learn(&self, now: u64, rate: &Rate, debt: u64) {
        let since = u64::from(self.taken.load(Ordering::Relaxed)) * rate.step;
        self.full_at.fetch_max(now + (debt + since).min(rate.depth() + DEEPEST), Ordering::Relaxed);
    }
}
