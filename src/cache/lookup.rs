//! Judges whether an entry is a hit: exactly when no change that concerns it has been found since its base.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::maybe_done;

use super::cache::Cache;
use super::codec::StoredEntry;
use super::counters::Counters;
use super::entry::{ComputedResponse, Entry, Key};
use super::response_source::Source;
use super::single_flight::may_look_away;
use super::tags::CacheTag;
use super::validator::Round;
use crate::base::error::Result;

/// How long ago a round may have been sent that is the base of a computation beside the next round. Under load rounds follow each
/// other within two milliseconds; after an older one, changes that the computation has seen would still outdate its entry.
const MAX_BASE_AGE: Duration = Duration::from_millis(10);

/// What a request has found before its round: to be judged after it, unless the request has computed it.
pub type Found = (Arc<Entry>, Source);

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

    /// Joins the next round for a request, and looks `query` up meanwhile. If the local tier has no entry that was valid in the last
    /// round, it is probably a miss: then that round, if it is not old, is the base of a computation beside the next one.
    /// Errors: those of [`Cache::round`].
    pub async fn look_up_beside_round<F>(
        self: &Arc<Self>,
        query: CacheQuery<'_>,
        compute: impl FnOnce() -> F,
    ) -> Result<(Arc<Round>, Option<Result<Found>>)>
    where
        F: Future<Output = Result<ComputedResponse>> + 'static,
    {
        let known = self.local.get(query.key);
        let is_outdated = known.as_ref().is_some_and(|entry| !self.is_current(&entry.tags, &entry.base));
        if let Some(entry) = known.filter(|_| !is_outdated) {
            return Ok((self.round().await?, Some(Ok((entry, Source::Local)))));
        }
        let Some((base, _)) = self.validator.recent_round(MAX_BASE_AGE) else {
            return Ok((self.round().await?, None));
        };
        if is_outdated {
            Counters::up(&self.counters.of(query.key.resource).invalidations);
        }
        // In a box, so that hits do not carry the space of a miss.
        Box::pin(async {
            let mut found = pin!(maybe_done(self.fill(query, base, compute)));
            let mut round = pin!(self.round());
            let joined = poll_fn(|context| {
                let _ = found.as_mut().poll(context);
                round.as_mut().poll(context)
            });
            let round = joined.await?;
            found.as_mut().await;
            Ok((round, found.take_output()))
        })
        .await
    }

    /// Returns the response to `query` for a request that joined `round`: what it has `found` before, an entry of either tier, or a
    /// computed one. `compute` runs at most once.
    pub async fn get_or_compute<F>(
        self: &Arc<Self>,
        query: CacheQuery<'_>,
        round: Arc<Round>,
        found: Option<Result<Found>>,
        compute: impl FnOnce() -> F,
    ) -> Result<(Arc<Entry>, Source)>
    where
        F: Future<Output = Result<ComputedResponse>> + 'static,
    {
        let counters = self.counters.of(query.key.resource);
        let local = || self.local.get(query.key).map(|entry| (entry, Source::Local));
        if let Some((entry, source)) = found.transpose()?.or_else(local) {
            let is_valid = match source {
                // Its own computation began after the request.
                Source::Miss => true,
                Source::Collapsed if may_look_away() => true,
                _ => self.is_current(&entry.tags, &entry.base),
            };
            if is_valid {
                if source == Source::Local {
                    Counters::up(&counters.hits_local);
                    entry.hit();
                }
                return Ok((entry, source));
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
