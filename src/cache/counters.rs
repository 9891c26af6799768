//! Cache counters for each resource (hits, misses, evictions, ...) and their snapshots.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use serde::Serialize;
use utoipa::ToSchema;

macro_rules! counters {
    ($(#[doc = $about:literal] $name:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        pub struct Counters { $(#[doc = $about] pub $name: AtomicU64),* }

        /// A snapshot of [`Counters`].
        #[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
        #[schema(as = CacheCounts)]
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

            /// Description of each counter, in the order of `NAMES`.
            pub const HELP: &'static [&'static str] = &[$($about.trim_ascii()),*];

            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$name),*]
            }
        }
    };
}

counters! {
    /// Hits in this process's local tier.
    hits_local,
    /// Hits in Redis, stored by another process or earlier by this one.
    hits_redis,
    /// Responses that had to be computed.
    misses,
    /// Misses that waited for another request's computation.
    collapsed,
    /// Requests that asked to bypass the cache.
    bypassed,
    /// Entries recomputed ahead of readers; counted as misses as well.
    refreshed,
    /// Entries stored.
    sets,
    /// Entries found superseded.
    invalidations,
    /// Entries evicted for lack of space or because their TTL expired.
    evictions,
    /// Hits that were recomputed and compared.
    sampled,
    /// Sampled hits that differed from the database. Must stay 0.
    inconsistent,
}

impl Counters {
    pub fn up(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The counters of each resource.
#[derive(Default)]
pub struct CounterRegistry(RwLock<Vec<(&'static str, &'static Counters)>>);

impl CounterRegistry {
    /// Returns the counters of a resource. They are leaked: there are as many as resources, and they live as long as
    /// the process.
    pub fn of(&self, resource: &'static str) -> &'static Counters {
        let find = |known: &[(&'static str, &'static Counters)]| {
            known.iter().find(|(name, _)| *name == resource).map(|(_, counters)| *counters)
        };
        if let Some(counters) = find(&self.0.read()) {
            return counters;
        }
        let mut known = self.0.write();
        if let Some(counters) = find(&known) {
            return counters;
        }
        let counters: &'static Counters = Box::leak(Box::default());
        known.push((resource, counters));
        counters
    }

    pub fn read(&self) -> Vec<(&'static str, Counts)> {
        self.0.read().iter().map(|(resource, counters)| (*resource, counters.read())).collect()
    }
}
