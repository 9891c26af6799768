//! Throttling of password guessing: counts recent failures by account and by address.
//!
//! An attempt counts as a failure before it is checked, and is released if it succeeds; otherwise many concurrent
//! attempts would all find that nothing has failed yet. Each replica counts for itself.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use quick_cache::sync::{Cache, EntryAction, EntryResult};

use crate::base::error::{Error, Result};
use crate::base::telemetry::metrics;
use crate::http::client_ip;

/// How long a failure counts.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Accounts and addresses which are tracked; beyond it entries are evicted.
const MAX_TRACKED: usize = 100_000;

/// Failures by hash of the account or address, in this process.
pub struct Throttle {
    failures: Cache<u64, Arc<Failures>>,
    max_failures: u32,
    /// Seeded per process, so that hash collisions cannot be searched for.
    hasher: RandomState,
}

struct Failures {
    since: Instant,
    /// Includes the attempts in progress.
    count: AtomicU32,
}

/// An attempt which counts as a failure while it is in progress. Dropping it releases it: when it succeeds, and when it
/// cannot be checked for lack of time or capacity. A client which disconnects learns nothing from it.
#[must_use]
pub struct Attempt(Arc<Failures>);

impl Attempt {
    /// Keeps the attempt counted as a failure.
    pub fn failed(self) {
        // Balances the decrement on drop.
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Throttle {
    /// Allows `max_failures` failures of one account or address; after them it has to wait until the window is over.
    pub fn new(max_failures: u32) -> Self {
        Self { failures: Cache::new(MAX_TRACKED), max_failures, hasher: RandomState::new() }
    }

    /// Reserves an attempt of `of`. Errors: 429 after too many failures.
    pub fn reserve(&self, of: &str) -> Result<Attempt> {
        let known = self.recent_failures(of);
        let left = WINDOW.saturating_sub(known.since.elapsed()).as_secs().max(1);
        let before = known.count.fetch_add(1, Ordering::Relaxed);
        let attempt = Attempt(known);
        if before < self.max_failures {
            return Ok(attempt);
        }
        metrics::refused("sign_in");
        Err(Error::TooMany {
            code: "too_many_attempts",
            detail: format!("Too many wrong passwords. Wait {} minutes and try again.", left.div_ceil(60)),
            after: u32::try_from(left).unwrap_or(u32::MAX),
        })
    }

    /// Returns the failures of `of`, which begin anew after each window.
    fn recent_failures(&self, of: &str) -> Arc<Failures> {
        let fresh = || Arc::new(Failures { since: Instant::now(), count: AtomicU32::new(0) });
        // Not the name itself: what people enter is not kept in memory.
        let key = self.hasher.hash_one(of);
        let found = self.failures.entry(&key, None, |_, known| {
            if known.since.elapsed() >= WINDOW {
                *known = fresh();
            }
            EntryAction::<Arc<Failures>>::Retain(known.clone())
        });
        match found {
            EntryResult::Retained(known) => known,
            EntryResult::Vacant(place) | EntryResult::Replaced(place, _) => {
                let failures = fresh();
                // Refused only where the place was cleared meanwhile: the attempt succeeded elsewhere.
                let _ = place.insert(failures.clone());
                failures
            }
            // The entry is never removed here, nor is a limit set for the wait.
            EntryResult::Removed(..) | EntryResult::Timeout => fresh(),
        }
    }

    /// Clears the failures of `of`.
    pub fn succeeded(&self, of: &str) {
        self.failures.remove(&self.hasher.hash_one(of));
    }
}

/// Returns the network of a client's address, under which its failures count.
pub fn client_network(address: Option<&str>) -> String {
    let address: Option<IpAddr> = address.and_then(|address| address.parse().ok());
    address.map(|address| client_ip::network(address).to_string()).unwrap_or_default()
}
