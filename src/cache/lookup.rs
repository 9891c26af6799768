//! Judges whether an entry is a hit: exactly when no change that concerns it has been found since its base.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{MaybeDone, maybe_done};

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

/// An entry, and where it comes from.
pub type Found = (Arc<Entry>, Source);

type Computing = Pin<Box<MaybeDone<Pin<Box<dyn Future<Output = Result<Found>>>>>>>;

/// What a request has begun before the reply of its round, to be judged after it.
pub enum Ahead {
    /// An entry of the local tier.
    Entry(Arc<Entry>),
    /// A look into Redis, or a computation, its own or another request's.
    Computing(Computing),
}

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
    /// round, it is probably a miss: then that round, if it is recent, is the base of a computation beside the next one.
    /// Errors: those of [`Cache::round`].
    pub async fn look_up_beside_round<F>(
        self: &Arc<Self>,
        query: CacheQuery<'_>,
        compute: impl FnOnce() -> F,
    ) -> Result<(Arc<Round>, Option<Ahead>)>
    where
        F: Future<Output = Result<ComputedResponse>> + 'static,
    {
        let known = self.local.get(query.key);
        let is_outdated = known.as_ref().is_some_and(|entry| !self.is_current(&entry.tags, &entry.base));
        if let Some(entry) = known.filter(|_| !is_outdated) {
            return Ok((self.round().await?, Some(Ahead::Entry(entry))));
        }
        let Some(base) = self.validator.recent_base(MAX_BASE_AGE) else {
            return Ok((self.round().await?, None));
        };
        if is_outdated {
            Counters::up(&self.counters.of(query.key.resource).invalidations);
        }
        let CacheQuery { key, tags, ttl } = query;
        let (cache, key, tags, computing) = (self.clone(), key.clone(), tags.to_vec(), compute());
        // In a box, so that hits do not carry the space of a miss.
        let fill = async move {
            let query = CacheQuery { key: &key, tags: &tags, ttl };
            cache.fill(query, base, || computing).await
        };
        let mut ahead: Computing = Box::pin(maybe_done(Box::pin(fill)));
        let mut round = Box::pin(self.round());
        let joined = poll_fn(|context| {
            let _ = ahead.as_mut().poll(context);
            round.as_mut().poll(context)
        });
        Ok((joined.await?, Some(Ahead::Computing(ahead))))
    }

    /// Returns the response to `query` for a request that joined `round`: what it has found `ahead` of it, an entry of either tier,
    /// or a computed one. `compute` runs at most once.
    pub async fn get_or_compute<F>(
        self: &Arc<Self>,
        query: CacheQuery<'_>,
        round: Arc<Round>,
        ahead: Option<Ahead>,
        compute: impl FnOnce() -> F,
    ) -> Result<Found>
    where
        F: Future<Output = Result<ComputedResponse>> + 'static,
    {
        let key = query.key;
        let known = match ahead {
            Some(Ahead::Entry(entry)) => Some((entry, Source::Local)),
            Some(Ahead::Computing(mut computing)) => {
                computing.as_mut().await;
                computing.as_mut().take_output().transpose()?
            }
            None => self.local.get(key).map(|entry| (entry, Source::Local)),
        };
        let counters = self.counters.of(key.resource);
        let is_valid = |(entry, source): &Found| match source {
            // Its own computation began after the request.
            Source::Miss => true,
            Source::Collapsed if may_look_away() => true,
            _ => self.is_current(&entry.tags, &entry.base),
        };
        let found = match known {
            Some(known) if is_valid(&known) => known,
            known => {
                if known.is_some() {
                    Counters::up(&counters.invalidations);
                }
                // In a box, so that hits do not carry the space of a miss.
                Box::pin(self.fill(query, round, compute)).await?
            }
        };
        match found.1 {
            Source::Local => {
                Counters::up(&counters.hits_local);
                found.0.hit();
            }
            Source::Redis => Counters::up(&counters.hits_redis),
            Source::Collapsed => Counters::up(&counters.collapsed),
            Source::Miss | Source::Bypass => {}
        }
        Ok(found)
    }

    /// Returns the entry of Redis for `key`, if it is a hit for a request that joined `round`, which becomes its base.
    pub(super) async fn look_up_in_redis(&self, key: &Key, ttl: Duration, round: &Arc<Round>) -> Option<Arc<Entry>> {
        let StoredEntry { nodes, tags, response } = self.redis.as_ref()?.get(key).await?;
        let changes = self.validator.changes();
        let is_known = nodes.len() == round.nodes.len()
            && nodes
                .iter()
                .zip(&round.nodes)
                .all(|((epoch, snapshot), now)| *epoch == now.epoch && snapshot.includes(&now.known_since));
        let snapshots = nodes.iter().map(|(_, snapshot)| snapshot);
        // Compared last: a round of another epoch raises the floor before it empties the slots.
        if is_known && changes.all_seen_by(&tags, snapshots) && changes.is_current(&[], round.number) {
            return Some(Arc::new(Entry::new(&tags, round.clone(), response, ttl)));
        }
        Counters::up(&self.counters.of(key.resource).invalidations);
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
