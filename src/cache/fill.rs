//! Fills a miss: one of the requests that miss the same entry reads it from Redis or computes it, and stores it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::cache::Cache;
use super::counters::Counters;
use super::entry::{ComputedResponse, Entry, Key};
use super::response_source::Source;
use super::single_flight::FlightRole;
use super::tags::VersionStamp;
use crate::base::error::Result;
use crate::base::request_context::{self, CONTEXT, RequestContext};
use crate::base::supervisor::detach;

impl Cache {
    /// Returns the response for `key` under `stamp`, for a request that missed the local tier.
    pub(super) async fn fill<F>(
        self: &Arc<Self>,
        key: &Key,
        ttl: Duration,
        stamp: VersionStamp,
        compute: impl FnOnce() -> F,
    ) -> Result<(Arc<Entry>, Source)>
    where
        F: Future<Output = Result<ComputedResponse>> + 'static,
    {
        match self.single_flight.enter(key, &stamp) {
            FlightRole::Follow(answered) => match answered.await {
                Ok(Some(entry)) => {
                    Counters::up(&self.counters.of(key.resource).collapsed);
                    Ok((entry, Source::Collapsed))
                }
                // The leader failed; this request may succeed, and otherwise reports its own error.
                _ => Ok((Arc::new(Entry::new(stamp, compute().await?, ttl)), Source::Miss)),
            },
            FlightRole::Lead(flight) => {
                let (cache, key, computing) = (self.clone(), key.clone(), compute());
                // In a detached task: the request may be cancelled, and its followers must not be.
                let own = RequestContext::new(request_context::request_id().into());
                let led = detach(
                    "cache computation",
                    CONTEXT.scope(own, async move {
                        let found = cache.fetch(&key, ttl, stamp, computing).await;
                        if let Ok((entry, _)) = &found {
                            flight.complete(entry);
                        }
                        (found, request_context::spent())
                    }),
                );
                let (found, (time, statements)) = led.outcome().await?;
                request_context::spent_in_database(time, statements);
                found
            }
        }
    }

    /// Reads the entry from Redis or computes it, and stores it.
    async fn fetch(
        &self,
        key: &Key,
        ttl: Duration,
        stamp: VersionStamp,
        computing: impl Future<Output = Result<ComputedResponse>>,
    ) -> Result<(Arc<Entry>, Source)> {
        if let Some(entry) = self.look_up_in_redis(key, ttl, &stamp).await {
            self.local.store(key, &entry);
            return Ok((entry, Source::Redis));
        }
        let entry = Arc::new(Entry::new(stamp, computing.await?, ttl));
        #[cfg(feature = "mutants")]
        crate::base::mutants::delay().await;
        Counters::up(&self.counters.of(key.resource).misses);
        if self.is_bypassed() {
            return Ok((entry, Source::Miss));
        }
        self.local.store(key, &entry);
        if let Some(redis) = &self.redis {
            redis.set(key.clone(), entry.clone());
        }
        Ok((entry, Source::Miss))
    }
}
