//! [`Cache`]: its tiers, whether it is trusted, and what operators see of it. Lookups are in `lookup`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::args::{CacheArgs, RedisArgs};
use super::counters::{CounterRegistry, Counters, Counts};
use super::entry::{Coding, ComputedResponse, Entry, Key};
use super::local_tier::LocalTier;
use super::redis_tier::RedisTier;
use super::single_flight::SingleFlight;
use super::validator::{Round, Validator, ValidatorStats};
use crate::base::error::{Error, Result};
use crate::base::request_context;
use crate::base::supervisor::Supervisor;
use crate::db::DatabaseGate;

/// The response cache.
pub struct Cache {
    pub(super) validator: Validator,
    pub(super) local: LocalTier,
    pub(super) single_flight: SingleFlight,
    pub(super) redis: Option<Arc<RedisTier>>,
    pub(super) counters: Arc<CounterRegistry>,
    sample_every: u64,
    max_stale: Duration,
    hits: AtomicU64,
    /// The log of changes cannot be trusted: nothing is read from either tier, and nothing is stored.
    bypassed: AtomicBool,
}

impl Cache {
    /// Opens the cache. `shape` identifies the response format of this binary: entries of another format are never
    /// read. `nodes` are the URLs of the database's nodes. `guard` is notified when the validator connects.
    /// Errors: 500 when threads cannot be started or the URL of Redis is invalid.
    pub fn open(
        args: &CacheArgs,
        redis: &RedisArgs,
        nodes: &[String],
        shape: u64,
        supervisor: &Supervisor,
        guard: Arc<DatabaseGate>,
    ) -> Result<Self> {
        let timeout = Duration::from_millis(args.cache_validation_timeout_ms);
        let validator = Validator::start(nodes, timeout, supervisor, guard)?;
        let counters = Arc::new(CounterRegistry::default());
        let prefix = format!("{}{shape:016x}:", redis.cache_prefix);
        Ok(Self {
            validator,
            local: LocalTier::start(args.cache_bytes, counters.clone(), supervisor)?,
            single_flight: SingleFlight::default(),
            redis: RedisTier::open(redis, prefix, ("the cache", "cache connection to Redis"))?,
            counters,
            sample_every: args.cache_sample,
            max_stale: Duration::from_secs(args.cache_max_stale_seconds),
            hits: AtomicU64::new(0),
            bypassed: AtomicBool::new(false),
        })
    }

    /// Keeps Redis connected as long as the cache lives. Must be called on a runtime that outlives requests.
    pub fn keep_connected(&self, supervisor: &Supervisor) {
        if let Some(redis) = &self.redis {
            RedisTier::keep_connected(redis, supervisor);
        }
    }

    /// Disables both tiers until [`Cache::trust`]: the database does not log all changes.
    pub fn bypass(&self) {
        self.bypassed.store(true, Ordering::Release);
    }

    /// Ends the bypass with an empty cache. The caller has begun a new epoch in the database.
    pub fn trust(&self) {
        self.invalidate_all();
        self.bypassed.store(false, Ordering::Release);
    }

    /// Drops the local entries and has the next validation round identify the database again. Older entries, in Redis
    /// too, belong to another epoch unless that identity is unchanged.
    pub fn invalidate_all(&self) {
        self.validator.reconnect();
        self.local.invalidate_all();
    }

    pub fn is_bypassed(&self) -> bool {
        self.bypassed.load(Ordering::Acquire)
    }

    /// Returns the next validation round: what a request uses after it is at least as new. Errors: 503 when it fails or
    /// times out.
    pub async fn round(&self) -> Result<Arc<Round>> {
        if self.is_bypassed() {
            return Err(Error::Unavailable {
                code: "validation_unavailable",
                detail: "The database does not say what has changed. Try again shortly.".into(),
                after: 1,
            });
        }
        let began = Instant::now();
        let round = self.validator.round().await;
        request_context::spent_in_cache(began.elapsed());
        round
    }

    /// Returns the last round for a request that accepts a response as old as `accepted`, and the round's age; `None` if it is
    /// older than that, or than the configuration allows.
    pub fn recent_round(&self, accepted: Duration) -> Option<(Arc<Round>, Duration)> {
        let allowed = accepted.min(self.max_stale);
        if allowed.is_zero() || self.is_bypassed() {
            return None;
        }
        self.validator.recent_round(allowed)
    }

    /// Queues `entry` for compression in `coding`, if it has enough hits. Returns at once.
    pub fn compress_if_popular(&self, key: &Key, entry: &Arc<Entry>, coding: Coding) {
        self.local.compress_if_popular(key, entry, coding);
    }

    pub fn count_bypass(&self, resource: &'static str) {
        Counters::up(&self.counters.of(resource).bypassed);
    }

    /// Whether this hit is one of the samples that are recomputed.
    pub fn should_sample(&self) -> bool {
        self.sample_every > 0 && self.hits.fetch_add(1, Ordering::Relaxed) % self.sample_every == self.sample_every - 1
    }

    /// Compares a hit with a recomputed response; the entry was still valid afterwards.
    pub fn compare_sample(&self, key: &Key, entry: &Entry, again: &ComputedResponse) {
        let counters = self.counters.of(key.resource);
        Counters::up(&counters.sampled);
        // A weak ETag names what is the same but for when it was computed (RFC 9110, section 8.8.1).
        let is_same = match again.etag.starts_with("W/") {
            true => entry.etag == again.etag,
            false => entry.body[..] == again.body[..],
        };
        if !is_same {
            Counters::up(&counters.inconsistent);
            self.local.invalidate(key);
            // Only a hash of the query, which may contain personal data.
            let question = xxhash_rust::xxh3::xxh3_64(key.query.as_bytes());
            tracing::error!(resource = key.resource, question, "a cached answer was not what the database says");
        }
    }

    /// Drops an entry known to be superseded, here and in Redis. Only saves memory.
    pub fn invalidate(&self, key: &Key) {
        self.local.invalidate(key);
        if let Some(redis) = &self.redis {
            redis.invalidate(key);
        }
    }

    /// Drops the entries of a business, of a resource, or all; here and in Redis. Other processes keep theirs, which
    /// stay correct. Returns how many of each tier; `None` when Redis does not respond.
    pub async fn purge(&self, business: Option<Uuid>, resource: Option<&str>) -> (u64, Option<u64>) {
        let purged = self.local.purge(business, resource);
        let purged_in_redis = match &self.redis {
            Some(redis) => redis.purge(business, resource).await,
            None => Some(0),
        };
        (purged, purged_in_redis)
    }

    /// Returns the number of entries and bytes in the local tier.
    pub fn size(&self) -> (u64, u64) {
        self.local.size()
    }

    pub fn counts(&self) -> Vec<(&'static str, Counts)> {
        self.counters.read()
    }

    /// Returns the time since the database last answered a validation round.
    pub fn last_answer(&self) -> Duration {
        self.validator.last_answer()
    }

    pub fn validator_stats(&self) -> ValidatorStats {
        self.validator.counts()
    }

    pub fn redis(&self) -> Option<&Arc<RedisTier>> {
        self.redis.as_ref()
    }
}
