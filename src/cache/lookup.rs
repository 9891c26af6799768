//! Judges whether an entry is a hit: exactly when no change that concerns it has been found since its base.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::cache::Cache;
use super::codec::StoredEntry;
use super::counters::Counters;
use super::entry::{ComputedResponse, Entry, Key};
use super::response_source::Source;
use super::tags::CacheTag;
use super::validator::Round;
use crate::base::error::Result;

/// A query as the cache sees it.
#[derive(Clone, Debug)]
pub struct CacheQuery<'q> {
    pub key: &'q Key,
    /// What its response depends on, as far as the query says.
    pub tags: &'q [CacheTag],
    pub ttl: Duration,
}

impl Cache {
    /// Whether no round up to now has found a change after `base` that concerns one of `tags`.
    pub fn is_current(&self, tags: &[CacheTag], base: &Round) -> bool {
        self.validator.changes().is_current(tags, base.number)
    }

    /// Returns the response to `query` for a request that joined `round`: an entry of either tier, or a computed one.
    /// `compute` runs at most once.
    pub async fn get_or_compute<F>(
        self: &Arc<Self>,
        query: CacheQuery<'_>,
        round: Arc<Round>,
        compute: impl FnOnce() -> F,
    ) -> Result<(Arc<Entry>, Source)>
    where
        F: Future<Output = Result<ComputedResponse>> + 'static,
    {
        let counters = self.counters.of(query.key.resource);
        if let Some(entry) = self.local.get(query.key) {
            if self.is_current(&entry.tags, &entry.base) {
                Counters::up(&counters.hits_local);
                entry.hit();
                return Ok((entry, Source::Local));
            }
            Counters::up(&counters.invalidations);
        }
        // In a box, so that hits do not carry the space of a miss.
        Box::pin(self.fill(query, round, compute)).await
    }

    /// Returns the entry of Redis for `key`, if it is a hit for a request that joined `round`, which becomes its base.
    pub(super) async fn look_up_in_redis(&self, key: &Key, ttl: Duration, round: &Arc<Round>) -> Option<Arc<Entry>> {
        let StoredEntry { nodes, tags, response } = self.redis.as_ref()?.get(key).await?;
        let counters = self.counters.of(key.resource);
        let changes = self.validator.changes();
        let is_known = nodes.len() == round.nodes.len()
            && nodes
                .iter()
                .zip(&round.nodes)
                .all(|((epoch, snapshot), now)| *epoch == now.epoch && snapshot.includes(&now.known_since));
        let snapshots = nodes.iter().map(|(_, snapshot)| snapshot);
        // Compared last: a round of another epoch raises the floor before it empties the slots.
        if is_known && changes.all_seen_by(&tags, snapshots) && changes.is_current(&[], round.number) {
            Counters::up(&counters.hits_redis);
            return Some(Arc::new(Entry::new(&tags, round.clone(), response, ttl)));
        }
        Counters::up(&counters.invalidations);
        None
    }

    /// Whether the local tier has a valid entry for `key`.
    pub fn has(&self, key: &Key) -> bool {
        self.local.get(key).is_some_and(|entry| self.is_current(&entry.tags, &entry.base))
    }

    /// Ensures that `query` has a valid entry, computing it if necessary; used ahead of readers.
    pub async fn refresh<F>(
        self: &Arc<Self>,
        query: CacheQuery<'_>,
        round: Arc<Round>,
        compute: impl FnOnce() -> F,
    ) -> Result<()>
    where
        F: Future<Output = Result<ComputedResponse>> + 'static,
    {
        if self.has(query.key) {
            return Ok(());
        }
        Counters::up(&self.counters.of(query.key.resource).refreshed);
        self.fill(query, round, compute).await.map(|_| ())
    }
}
