//! What the cache counts, for each noun and in all.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use serde::Serialize;

macro_rules! counters {
    ($(#[doc = $about:literal] $name:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        pub struct Counters { $(#[doc = $about] pub $name: AtomicU64),* }

        /// [`Counters`] at one moment.
        #[derive(Clone, Copy, Debug, Default, Serialize)]
        pub struct Counts { $(#[doc = $about] pub $name: u64),* }

        impl Counters {
            pub fn read(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }

        impl Counts {
            pub fn add(&mut self, other: &Counts) {
                $(self.$name += other.$name;)*
            }

            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// What each of them counts.
            pub const HELP: &'static [&'static str] = &[$($about.trim_ascii()),*];

            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$name),*]
            }
        }
    };
}

counters! {
    /// Answers that the process had.
    hits_local,
    /// Answers that another process, or this one's past, left in Redis.
    hits_redis,
    /// Answers that had to be computed.
    misses,
    /// Misses that waited for another's computation.
    collapsed,
    /// Requests that asked not to be answered from the cache.
    bypassed,
    /// Answers computed again ahead of readers; misses as well.
    refreshed,
    /// Answers stored.
    sets,
    /// Stored answers found superseded.
    invalidations,
    /// Answers that had to go for want of room, or because their time was over.
    evictions,
    /// Hits that were computed again and compared.
    sampled,
    /// Sampled hits that were not what the database said. Must stay 0.
    inconsistent,
}

impl Counters {
    pub fn up(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The counters of each noun.
#[derive(Default)]
pub struct Ledger(RwLock<Vec<(&'static str, &'static Counters)>>);

impl Ledger {
    /// The counters of `noun`. There are as many as nouns, and they live as long as the process.
    pub fn of(&self, noun: &'static str) -> &'static Counters {
        let find = |known: &[(&'static str, &'static Counters)]| {
            known.iter().find(|(name, _)| *name == noun).map(|(_, counters)| *counters)
        };
        if let Some(counters) = find(&self.0.read()) {
            return counters;
        }
        let mut known = self.0.write();
        if let Some(counters) = find(&known) {
            return counters;
        }
        let counters: &'static Counters = Box::leak(Box::default());
        known.push((noun, counters));
        counters
    }

    pub fn read(&self) -> Vec<(&'static str, Counts)> {
        self.0.read().iter().map(|(noun, counters)| (*noun, counters.read())).collect()
    }
}
