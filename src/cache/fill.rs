//! Fills a miss: one of the requests that miss the same entry reads it from Redis or computes it, and stores it.

use std::future::Future;
use std::sync::Arc;

use super::cache::Cache;
use super::counters::Counters;
use super::entry::{ComputedResponse, Entry, Key};
use super::lookup::CacheQuery;
use super::response_source::Source;
use super::single_flight::{FlightRole, may_look_away};
use super::validator::Round;
use crate::base::error::Result;
use crate::base::request_context::{self, CONTEXT, RequestContext};
use crate::base::supervisor::detach;

impl Cache {
    /// Returns the response to `query` for a request that has missed the local tier, as of `round` or newer. If the request's own
    /// round comes later, it judges by that what it has not computed.
    pub(super) async fn fill<F>(
        self: &Arc<Self>,
        query: CacheQuery<'_>,
        round: Arc<Round>,
        compute: impl FnOnce() -> F,
    ) -> Result<(Arc<Entry>, Source)>
    where
        F: Future<Output = Result<ComputedResponse>> + 'static,
    {
        let CacheQuery { key, tags, ttl } = query;
        // What its query says has not changed since the base of a computation that it joins.
        let is_current = |base| may_look_away() || self.validator.changes().is_current(tags, base);
        match self.single_flight.enter(key, round.number, is_current) {
            FlightRole::Follow(answered) => match answered.await {
                Ok(Some(entry)) if self.may_share(&entry, tags.len()) => Ok((entry, Source::Collapsed)),
                // The leader failed (this request may succeed, and otherwise reports its own error), or its entry is outdated.
                _ => Ok((Arc::new(Entry::new(tags, round, compute().await?, ttl)), Source::Miss)),
            },
            FlightRole::Lead(flight) => {
                // Where the request is cancelled meanwhile, its followers compute by themselves.
                if let Some(entry) = self.look_up_in_redis(key, ttl, &round).await {
                    self.local.store(key, &entry);
                    flight.complete(&entry);
                    return Ok((entry, Source::Redis));
                }
                let (cache, key, tags, computing) = (self.clone(), key.clone(), tags.to_vec(), compute());
                // In a detached task: the request may be cancelled, and what takes longer must not be lost for its followers.
                let own = RequestContext::new(request_context::request_id().into());
                let led = detach(
                    "cache computation",
                    CONTEXT.scope(own, async move {
                        let found = cache.compute(CacheQuery { key: &key, tags: &tags, ttl }, round, computing).await;
                        if let Ok(entry) = &found {
                            flight.complete(entry);
                        }
                        (found, request_context::spent())
                    }),
                );
                let (found, (time, statements)) = led.outcome().await?;
                request_context::spent_in_database(time, statements);
                Ok((found?, Source::Miss))
            }
        }
    }

    /// Whether a request may use the entry that another computed: no round, its own among them, has found a change of what the
    /// entry's rows refer to. The entry's first `compared` tags were compared before.
    fn may_share(&self, entry: &Entry, compared: usize) -> bool {
        let referred = entry.tags.get(compared..).unwrap_or(&entry.tags);
        may_look_away() || self.is_current(referred, &entry.base)
    }

    /// Computes the entry, and stores it.
    async fn compute(
        &self,
        CacheQuery { key, tags, ttl }: CacheQuery<'_>,
        round: Arc<Round>,
        computing: impl Future<Output = Result<ComputedResponse>>,
    ) -> Result<Arc<Entry>> {
        let fresh = computing.await?;
        #[cfg(feature = "mutants")]
        crate::base::mutants::delay().await;
        #[cfg(feature = "mutants")]
        let round = if crate::base::mutants::is(crate::base::mutants::Mutant::BaseAfterData) {
            self.round().await?
        } else {
            round
        };
        let entry = Arc::new(Entry::new(tags, round, fresh, ttl));
        Counters::up(&self.counters.of(key.resource).misses);
        self.keep(key, &entry);
        Ok(entry)
    }

    /// Stores an entry in both tiers. Changes meanwhile do not matter: it is compared with them when it is looked up.
    fn keep(&self, key: &Key, entry: &Arc<Entry>) {
        if self.is_bypassed() {
            return;
        }
        self.local.store(key, entry);
        if let Some(redis) = &self.redis {
            redis.set(key.clone(), entry.clone());
        }
    }
}
