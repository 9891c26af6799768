//! A rate limit bucket: the time at which it will be full again (generic cell rate algorithm). Each request moves that
//! time on by one step. The passing of time refills the bucket, so no timer runs.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::base::request_context::{Quota, RateLimitKind};

/// A minute in nanoseconds, the unit of all times here.
const MINUTE: u64 = 60_000_000_000;
/// How far below empty the requests to other replicas can take a bucket. It bounds how long a client can be locked out,
/// whatever Redis returns.
pub const MAX_DEPTH: u64 = MINUTE;

/// Rate and capacity of buckets.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Requests per minute.
    pub each_minute: u32,
    /// Requests at once.
    pub burst: u32,
    /// Time which refills one request.
    pub step: u64,
}

impl Rate {
    /// `None`: no limit, for 0 requests per minute.
    pub fn new(each_minute: u32, burst: u32) -> Option<Self> {
        let step = MINUTE.checked_div(u64::from(each_minute))?;
        Some(Self { each_minute, burst: burst.max(1), step: step.max(1) })
    }

    /// Time which refills a whole bucket.
    pub fn depth(&self) -> u64 {
        self.step * u64::from(self.burst)
    }
}

#[derive(Debug, Default)]
pub struct Bucket {
    /// When the bucket will be full again; a time in the past: it is full.
    full_at: AtomicU64,
    /// Requests taken since the last sync with the other replicas.
    taken: AtomicU32,
}

/// Result of taking a request.
pub struct Decision {
    pub quota: Quota,
    /// The bucket was empty; time until it is not.
    pub wait: Option<u64>,
    /// Whether it is the first request since the last sync.
    pub first: bool,
}

impl Bucket {
    /// Takes one request, if one is left.
    pub fn take(&self, now: u64, rate: &Rate, of: RateLimitKind) -> Decision {
        let depth = rate.depth();
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now) + rate.step;
            let debt = next - now;
            if debt > depth {
                let quota = Quota { of, left: 0, full_in: debt - rate.step };
                return Decision { quota, wait: Some(debt - depth), first: false };
            }
            match self.full_at.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    let first = self.taken.fetch_add(1, Ordering::Relaxed) == 0;
                    return Decision {
                        quota: Quota { of, left: (depth - debt) / rate.step, full_in: debt },
                        wait: None,
                        first,
                    };
                }
                Err(seen) => full_at = seen,
            }
        }
    }

    /// Whether no request is left.
    pub fn is_empty(&self, now: u64, rate: &Rate) -> bool {
        self.full_at.load(Ordering::Relaxed).max(now) + rate.step > now + rate.depth()
    }

    /// Whether the bucket equals a new one.
    pub fn is_full(&self, now: u64) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now
    }

    /// Returns the requests taken since the last sync, and resets the count.
    pub fn tell(&self) -> u32 {
        self.taken.swap(0, Ordering::Relaxed)
    }

    /// Applies `debt`, the time until the bucket shared by all replicas is full, plus what was taken here since that
    /// sync. It only ever lowers the bucket, because Redis may have lost data.
    pub fn learn(&self, now: u64, rate: &Rate, debt: u64) {
        let since = u64::from(self.taken.load(Ordering::Relaxed)) * rate.step;
        self.full_at.fetch_max(now + (debt + since).min(rate.depth() + MAX_DEPTH), Ordering::Relaxed);
    }
}
