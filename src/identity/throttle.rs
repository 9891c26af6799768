//! Guessing, slowed down: how often something went wrong lately, by account or by address.
//!
//! An attempt counts before it is looked at, and is given back if nothing was wrong with it; else many at once would all
//! find that nothing has failed yet. Each replica counts for itself.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::http::client;
use crate::ops::metrics;

/// How long a failure counts.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Accounts and addresses that are remembered; past it those seen longest ago are forgotten.
const MOST: u64 = 100_000;

/// Failures by a hash of whom they are of; of this process.
pub struct Throttle {
    failures: moka::sync::Cache<u64, Arc<Failures>>,
    most: u32,
    /// Of this process alone: nobody can look for two who share a number.
    hasher: RandomState,
}

struct Failures {
    since: Instant,
    /// With the attempts that are under way.
    count: AtomicU32,
}

/// An attempt that counts as a failure while it is under way. It is given back when it is dropped, as it is when the
/// attempt succeeds, and when there was no time or place to look at it; whoever hangs up learns nothing from it.
#[must_use]
pub struct Attempt(Arc<Failures>);

impl Attempt {
    /// It was wrong: it goes on counting.
    pub fn failed(self) {
        // Instead of giving it back.
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Throttle {
    /// `most` failures of one within the window, and it must wait until the window is over.
    pub fn new(most: u32) -> Self {
        let failures = moka::sync::Cache::builder().max_capacity(MOST).time_to_live(WINDOW).build();
        Self { failures, most, hasher: RandomState::new() }
    }

    /// An attempt of `of`. Errors: 429 where too many have failed.
    pub fn reserve(&self, of: &str) -> Result<Attempt> {
        let fresh = || Arc::new(Failures { since: Instant::now(), count: AtomicU32::new(0) });
        // Not the address itself: what people typed is not kept in mind.
        let known = self.failures.get_with(self.hasher.hash_one(of), fresh);
        let left = WINDOW.saturating_sub(known.since.elapsed()).as_secs().max(1);
        let before = known.count.fetch_add(1, Ordering::Relaxed);
        let attempt = Attempt(known);
        if before < self.most {
            return Ok(attempt);
        }
        metrics::refused("sign_in");
        Err(Error::TooMany {
            code: "too_many_attempts",
            detail: format!("Too many wrong passwords. Wait {} minutes and try again.", left.div_ceil(60)),
            after: u32::try_from(left).unwrap_or(u32::MAX),
        })
    }

    /// Forgets the failures of `of`.
    pub fn succeeded(&self, of: &str) {
        self.failures.invalidate(&self.hasher.hash_one(of));
    }
}

/// What the address of a device counts as.
pub fn place(address: Option<&str>) -> String {
    let address: Option<IpAddr> = address.and_then(|address| address.parse().ok());
    address.map(|address| client::network(address).to_string()).unwrap_or_default()
}
