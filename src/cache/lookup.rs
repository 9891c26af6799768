//! Judges whether an entry is a hit: exactly when it has the versions that the validation round found.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::cache::Cache;
use super::counters::Counters;
use super::entry::{ComputedResponse, Entry, Key};
use super::response_source::Source;
use super::tags::VersionStamp;
use crate::base::error::Result;

impl Cache {
    /// Returns the local entry of `key`, whatever its versions.
    pub fn local(&self, key: &Key) -> Option<Arc<Entry>> {
        self.local.get(key)
    }

    /// Counts `entry`, which is valid, as a hit.
    pub fn count_hit(&self, key: &Key, entry: Arc<Entry>) -> Arc<Entry> {
        Counters::up(&self.counters.of(key.resource).hits_local);
        entry.hit();
        entry
    }

    /// Returns the response for `key` under `stamp`: the local entry passed in, an entry from Redis, or a computed one.
    /// `compute` runs at most once, after `stamp` was read.
    pub async fn get_or_compute<F>(
        self: &Arc<Self>,
        key: &Key,
        local: Option<Arc<Entry>>,
        ttl: Duration,
        stamp: VersionStamp,
        compute: impl FnOnce() -> F,
    ) -> Result<(Arc<Entry>, Source)>
    where
        F: Future<Output = Result<ComputedResponse>> + 'static,
    {
        if let Some(entry) = local {
            if entry.stamp == stamp {
                return Ok((self.count_hit(key, entry), Source::Local));
            }
            Counters::up(&self.counters.of(key.resource).invalidations);
        }
        self.fill(key, ttl, stamp, compute).await
    }

    /// Returns the entry of Redis for `key`, if it is a hit under `stamp`.
    pub(super) async fn look_up_in_redis(&self, key: &Key, ttl: Duration, stamp: &VersionStamp) -> Option<Arc<Entry>> {
        let entry = self.redis.as_ref()?.get(key, ttl).await?;
        let counters = self.counters.of(key.resource);
        if entry.stamp == *stamp {
            Counters::up(&counters.hits_redis);
            return Some(entry);
        }
        Counters::up(&counters.invalidations);
        None
    }

    /// Ensures that `key` has an entry under `stamp`, computing it if necessary; used ahead of readers.
    pub async fn refresh<F>(
        self: &Arc<Self>,
        key: &Key,
        ttl: Duration,
        stamp: VersionStamp,
        compute: impl FnOnce() -> F,
    ) -> Result<()>
    where
        F: Future<Output = Result<ComputedResponse>> + 'static,
    {
        let local = self.local(key);
        if local.as_ref().is_some_and(|entry| entry.stamp == stamp) {
            return Ok(());
        }
        Counters::up(&self.counters.of(key.resource).refreshed);
        self.get_or_compute(key, local, ttl, stamp, compute).await.map(|_| ())
    }
}
