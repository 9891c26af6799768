//! The buckets of all that is counted alike: found by a number, made when they are asked for, forgotten once they are full
//! again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};

use super::bucket::{Bucket, Drawn, Rate};
use crate::context::Counted;

/// Parts of the map, each with a lock of its own, so that threads rarely meet.
const SHARDS: usize = 16;
/// Buckets of a part; with all 16 some 100,000, about 10 MB. Past it one goes for each that comes, which forgives whoever
/// it was of.
const MOST: usize = 6_250;

/// A bucket with its number.
pub type Numbered = (u128, Arc<Bucket>);
type Shard = RwLock<HashMap<u128, Arc<Bucket>>>;

pub struct Buckets {
    pub rate: Rate,
    shards: [Shard; SHARDS],
    began: Instant,
    /// Those that were taken from since the other replicas were told; only where there may be others.
    active: Option<Mutex<Vec<Numbered>>>,
}

impl Buckets {
    /// `shared`: other replicas are to be told.
    pub fn new(rate: Rate, shared: bool) -> Self {
        Self {
            rate,
            shards: std::array::from_fn(|_| Shard::default()),
            began: Instant::now(),
            active: shared.then(Mutex::default),
        }
    }

    /// Takes one from the bucket of `id`.
    pub fn take(&self, id: u128, of: Counted) -> Drawn {
        let now = self.now();
        // The common case hands nothing out of the lock: no count of references goes up and down between processors.
        let drawn = self.shard(id).read().get(&id).map(|bucket| self.drawn(id, bucket, now, of));
        drawn.unwrap_or_else(|| {
            let bucket = self.make(id);
            self.drawn(id, &bucket, now, of)
        })
    }

    fn drawn(&self, id: u128, bucket: &Arc<Bucket>, now: u64, of: Counted) -> Drawn {
        let drawn = bucket.take(now, &self.rate, of);
        if drawn.first
            && let Some(active) = &self.active
        {
            active.lock().push((id, bucket.clone()));
        }
        drawn
    }

    /// Whether nothing is left for `id`.
    pub fn is_empty(&self, id: u128) -> bool {
        self.shard(id).read().get(&id).is_some_and(|bucket| bucket.is_empty(self.now(), &self.rate))
    }

    /// Those that were taken from since this was last asked.
    pub fn active(&self) -> Vec<Numbered> {
        self.active.as_ref().map(|active| std::mem::take(&mut *active.lock())).unwrap_or_default()
    }

    /// Forgets the buckets that are full, which is what a new one would be.
    pub fn sweep(&self) {
        let now = self.now();
        self.shards.iter().for_each(|shard| shard.write().retain(|_, bucket| !bucket.is_full(now)));
    }

    /// Nanoseconds since the start; never 0, at which new buckets were full.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64 + 1
    }

    fn shard(&self, id: u128) -> &Shard {
        // Ids of version 7 and addresses both differ most in their last bits, but for IPv6, whose last are cut off.
        &self.shards[(id ^ (id >> 64)) as usize % SHARDS]
    }

    fn make(&self, id: u128) -> Arc<Bucket> {
        let mut shard = self.shard(id).write();
        if shard.len() >= MOST
            && !shard.contains_key(&id)
            && let Some(any) = shard.keys().next().copied()
        {
            shard.remove(&any);
        }
        shard.entry(id).or_default().clone()
    }
}
