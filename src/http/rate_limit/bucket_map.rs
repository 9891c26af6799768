//! Sharded map of the rate limit buckets of one kind, by id. Buckets are created on first use and removed once they are
//! full.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};

use super::bucket::{Bucket, Decision, Rate};
use crate::base::request_context::RateLimitKind;

/// Shards of the map, each with its own lock, to reduce contention.
const SHARDS: usize = 16;
/// Maximum number of buckets per shard: some 100,000 in all 16, about 10 MB. Beyond it a new bucket evicts an arbitrary
/// one, whose client starts with a full bucket again.
const MAX_BUCKETS: usize = 6_250;

/// A bucket with its id.
pub type Numbered = (u128, Arc<Bucket>);
type Shard = RwLock<HashMap<u128, Arc<Bucket>>>;

pub struct BucketMap {
    pub rate: Rate,
    shards: [Shard; SHARDS],
    began: Instant,
    /// Buckets taken from since the last sync; only if they are shared with other replicas.
    active: Option<Mutex<Vec<Numbered>>>,
}

impl BucketMap {
    /// `shared`: the buckets are synced with other replicas.
    pub fn new(rate: Rate, shared: bool) -> Self {
        Self {
            rate,
            shards: std::array::from_fn(|_| Shard::default()),
            began: Instant::now(),
            active: shared.then(Mutex::default),
        }
    }

    /// Takes one request from the bucket of `id`.
    pub fn take(&self, id: u128, of: RateLimitKind) -> Decision {
        let now = self.now();
        // The common case stays under the read lock, so no reference count moves between processors.
        let drawn = self.shard(id).read().get(&id).map(|bucket| self.drawn(id, bucket, now, of));
        drawn.unwrap_or_else(|| {
            let bucket = self.make(id);
            self.drawn(id, &bucket, now, of)
        })
    }

    fn drawn(&self, id: u128, bucket: &Arc<Bucket>, now: u64, of: RateLimitKind) -> Decision {
        let drawn = bucket.take(now, &self.rate, of);
        if drawn.first
            && let Some(active) = &self.active
        {
            active.lock().push((id, bucket.clone()));
        }
        drawn
    }

    /// Whether no request is left for `id`.
    pub fn is_empty(&self, id: u128) -> bool {
        self.shard(id).read().get(&id).is_some_and(|bucket| bucket.is_empty(self.now(), &self.rate))
    }

    /// Returns the buckets taken from since the last call.
    pub fn active(&self) -> Vec<Numbered> {
        self.active.as_ref().map(|active| std::mem::take(&mut *active.lock())).unwrap_or_default()
    }

    /// Removes the buckets which are full, because new ones are too.
    pub fn sweep(&self) {
        let now = self.now();
        self.shards.iter().for_each(|shard| shard.write().retain(|_, bucket| !bucket.is_full(now)));
    }

    /// Nanoseconds since the start; never 0, which is the time at which new buckets became full.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64 + 1
    }

    fn shard(&self, id: u128) -> &Shard {
        // Version 7 ids and addresses differ most in their last bits, except IPv6 networks, whose last bits are masked.
        &self.shards[(id ^ (id >> 64)) as usize % SHARDS]
    }

    fn make(&self, id: u128) -> Arc<Bucket> {
        let mut shard = self.shard(id).write();
        if shard.len() >= MAX_BUCKETS
            && !shard.contains_key(&id)
            && let Some(any) = shard.keys().next().copied()
        {
            shard.remove(&any);
        }
        shard.entry(id).or_default().clone()
    }
}
