//! Guessing, slowed down: how often something went wrong lately, by account or by address.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How long a failure counts.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Accounts and addresses that are remembered; past it those seen longest ago are forgotten.
const MOST: u64 = 100_000;

/// Failures by a hash of whom they are of; of this process.
pub struct Throttle {
    failures: moka::sync::Cache<u64, Arc<(Instant, AtomicU32)>>,
    most: u32,
}

impl Throttle {
    /// `most` failures of one within the window, and it must wait until the window is over.
    pub fn new(most: u32) -> Self {
        Self { failures: moka::sync::Cache::builder().max_capacity(MOST).time_to_live(WINDOW).build(), most }
    }

    /// Errors: 429 where `of` has failed too often.
    pub fn admit(&self, of: &str) -> Result<()> {
        let known = self.failures.get(&key(of));
        match known.filter(|known| known.1.load(Ordering::Relaxed) >= self.most) {
            None => Ok(()),
            Some(known) => {
                let left = WINDOW.saturating_sub(known.0.elapsed()).as_secs().max(1);
                Err(Error::TooMany {
                    code: "too_many_attempts",
                    detail: format!("Too many wrong passwords. Wait {} minutes and try again.", left.div_ceil(60)),
                    after: u32::try_from(left).unwrap_or(u32::MAX),
                })
            }
        }
    }

    pub fn failed(&self, of: &str) {
        let fresh = || Arc::new((Instant::now(), AtomicU32::new(0)));
        self.failures.get_with(key(of), fresh).1.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets the failures of `of`.
    pub fn succeeded(&self, of: &str) {
        self.failures.invalidate(&key(of));
    }
}

/// Not the address itself: what people typed is not kept in mind.
fn key(of: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(of.as_bytes())
}
