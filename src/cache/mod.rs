//! A two-tier response cache (process memory and Redis) that never serves stale data.
//!
//! Every entry carries the versions of the data it was computed from ([`VersionStamp`]). Versions live in PostgreSQL
//! and are bumped in the transaction that changes the rows. A reader first gets the current versions in the next
//! validation round ([`validator`]). An entry with exactly these versions is the response; otherwise the response is
//! computed *after* the round and stored under them. So an entry is never older than its versions say, and a reader
//! never gets one older than the round, which began after the read did. It does not matter where the entry came from:
//! this process, Redis or another reader's computation. docs/CACHE.md describes the protocol and proves it.

mod args;
mod codec;
mod counters;
mod entry;
mod metrics;
mod pace;
mod redis_tier;
mod single_flight;
mod tags;
mod validator;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use uuid::Uuid;

pub use self::args::{CacheArgs, RedisArgs};
pub use self::counters::{Counters, Counts};
pub use self::entry::{Coding, ComputedResponse, Entry, Key, brotli, gzip};
pub use self::redis_tier::{RedisState, RedisTier};
use self::single_flight::{FlightRole, SingleFlight};
pub use self::tags::{CacheTag, VersionStamp};
use self::validator::Validator;
pub use self::validator::{ValidationResult, ValidatorStats};
use crate::base::error::{Error, Result};
use crate::base::request_context::{self, CONTEXT, RequestContext};
use crate::base::supervisor::{Pulse, Supervisor, Task, detach};
use crate::db::DatabaseGate;

/// One entry may take this fraction (1/n) of the local tier; larger ones are not stored.
const MAX_ENTRY_FRACTION: u64 = 16;
/// Entries that may wait for compression.
const MAX_PENDING_COMPRESSIONS: usize = 256;

type PendingCompression = (Key, Arc<Entry>, Coding);
type Local = moka::sync::Cache<Key, Arc<Entry>, xxhash_rust::xxh3::Xxh3DefaultBuilder>;

pub struct Cache {
    validator: Validator,
    local: Local,
    largest: usize,
    single_flight: SingleFlight,
    redis: Option<Arc<RedisTier>>,
    counters: Arc<counters::CounterRegistry>,
    to_compress: crossbeam_channel::Sender<PendingCompression>,
    sample_every: u64,
    hits: AtomicU64,
    /// Versions cannot be trusted: nothing is read from either tier, and nothing is stored.
    bypassed: AtomicBool,
}

/// Where a response came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Local,
    Redis,
    /// Computed for this request.
    Miss,
    /// Computed for another request that was first.
    Collapsed,
    /// Computed because the request asked to bypass the cache.
    Bypass,
}

impl Source {
    /// The value of `Cache-Status` (RFC 9211).
    pub fn status(self) -> &'static str {
        match self {
            Source::Local => "rapport; hit; detail=local",
            Source::Redis => "rapport; hit; detail=redis",
            Source::Miss => "rapport; fwd=miss",
            Source::Collapsed => "rapport; fwd=miss; collapsed",
            Source::Bypass => "rapport; fwd=bypass",
        }
    }
}

impl Cache {
    /// Opens the cache. `shape` identifies the response format of this binary: entries of another format are never
    /// read. `guard` is notified when the validator connects.
    /// Errors: 500 when threads cannot be started or the URL of Redis is invalid.
    pub fn open(
        args: &CacheArgs,
        redis: &RedisArgs,
        url: &str,
        shape: u64,
        supervisor: &Supervisor,
        guard: Arc<DatabaseGate>,
    ) -> Result<Self> {
        let rounds = Validator::start(url, Duration::from_millis(args.cache_validation_timeout_ms), supervisor, guard)?;
        let ledger = Arc::new(counters::CounterRegistry::default());
        let evicted = ledger.clone();
        let local = moka::sync::Cache::builder()
            .max_capacity(args.cache_bytes)
            .weigher(|key: &Key, entry: &Arc<Entry>| {
                (key.query.len() + 100 + entry.bytes()).try_into().unwrap_or(u32::MAX)
            })
            .expire_after(Lifetime)
            .eviction_listener(move |key: Arc<Key>, _, cause| {
                if cause.was_evicted() {
                    Counters::up(&evicted.of(key.resource).evictions);
                }
            })
            .build_with_hasher(xxhash_rust::xxh3::Xxh3DefaultBuilder::new());
        let prefix = format!("{}{shape:016x}:", redis.cache_prefix);
        let budget = Duration::from_millis(redis.redis_timeout_ms);
        let remote = match &redis.redis_url {
            None => None,
            Some(url) => Some(Arc::new(
                RedisTier::new(
                    ("the cache", "cache connection to Redis"),
                    url.expose(),
                    redis.redis_ca.as_deref(),
                    prefix,
                    budget,
                )
                .map_err(Error::Internal)?,
            )),
        };
        let to_pack = start_compressor(local.clone(), supervisor)?;
        Ok(Self {
            validator: rounds,
            local,
            largest: (args.cache_bytes / MAX_ENTRY_FRACTION) as usize,
            single_flight: SingleFlight::default(),
            redis: remote,
            counters: ledger,
            to_compress: to_pack,
            sample_every: args.cache_sample,
            hits: AtomicU64::new(0),
            bypassed: AtomicBool::new(false),
        })
    }

    /// Keeps Redis connected as long as the cache lives. Must be called on a runtime that outlives requests.
    pub fn keep_connected(&self, supervisor: &Supervisor) {
        if let Some(remote) = &self.redis {
            RedisTier::keep_connected(remote, supervisor);
        }
    }

    /// Disables both tiers until [`Cache::trust`]: the database does not bump versions reliably.
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

    /// Returns the versions of cache tags, read after this call began. Errors: 503 when validation fails or times out.
    pub async fn validate(&self, scopes: &Arc<[CacheTag]>) -> Result<VersionStamp> {
        // No validation round has generation 0.
        self.check(scopes, 0).await?.stamp.ok_or_else(|| Error::Internal("a round without versions".into()))
    }

    /// As [`Cache::validate`], for a caller whose data was confirmed by rounds of the generation `since`: if nothing
    /// was committed since then, the result has no versions, because they are unchanged.
    pub async fn check(&self, scopes: &Arc<[CacheTag]>, since: u64) -> Result<ValidationResult> {
        if self.is_bypassed() {
            return Err(Error::Unavailable {
                code: "validation_unavailable",
                detail: "The database does not say what has changed. Try again shortly.".into(),
                after: 1,
            });
        }
        let began = Instant::now();
        let found = self.validator.validate(scopes, since).await;
        request_context::spent_in_cache(began.elapsed());
        found
    }

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

    /// Queues `entry` for compression in `coding`, if it has enough hits. Returns at once.
    pub fn compress_if_popular(&self, key: &Key, entry: &Arc<Entry>, coding: Coding) {
        if entry.wants_compression(coding) {
            // Queue full: the entry stays uncompressed until it is computed again.
            let _ = self.to_compress.try_send((key.clone(), entry.clone(), coding));
        }
    }

    /// Returns the response for `key` under `stamp`: the local entry passed in, an entry from Redis, or a computed one.
    /// `compute` runs at most once, after `stamp` was read.
    pub async fn get_or_compute<F>(
        self: &Arc<Self>,
        key: &Key,
        kept: Option<Arc<Entry>>,
        ttl: Duration,
        stamp: VersionStamp,
        compute: impl FnOnce() -> F,
    ) -> Result<(Arc<Entry>, Source)>
    where
        F: Future<Output = Result<ComputedResponse>> + 'static,
    {
        let counters = self.counters.of(key.resource);
        if let Some(entry) = kept {
            if entry.stamp == stamp {
                return Ok((self.count_hit(key, entry), Source::Local));
            }
            Counters::up(&counters.invalidations);
        }
        match self.single_flight.enter(key, &stamp) {
            FlightRole::Follow(answered) => match answered.await {
                Ok(Some(entry)) => {
                    Counters::up(&counters.collapsed);
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
        let kept = self.local(key);
        if kept.as_ref().is_some_and(|entry| entry.stamp == stamp) {
            return Ok(());
        }
        Counters::up(&self.counters.of(key.resource).refreshed);
        self.get_or_compute(key, kept, ttl, stamp, compute).await.map(|_| ())
    }

    /// Reads the entry from Redis or computes it, and stores it.
    async fn fetch(
        &self,
        key: &Key,
        ttl: Duration,
        stamp: VersionStamp,
        computing: impl Future<Output = Result<ComputedResponse>>,
    ) -> Result<(Arc<Entry>, Source)> {
        let counters = self.counters.of(key.resource);
        if let Some(remote) = &self.redis
            && let Some(entry) = remote.get(key, ttl).await
        {
            if entry.stamp == stamp {
                Counters::up(&counters.hits_redis);
                self.store_local(key, &entry);
                return Ok((entry, Source::Redis));
            }
            Counters::up(&counters.invalidations);
        }
        let entry = Arc::new(Entry::new(stamp, computing.await?, ttl));
        #[cfg(feature = "mutants")]
        crate::base::mutants::delay().await;
        Counters::up(&counters.misses);
        if self.is_bypassed() {
            return Ok((entry, Source::Miss));
        }
        self.store_local(key, &entry);
        if let Some(remote) = &self.redis {
            remote.set(key.clone(), entry.clone());
        }
        Ok((entry, Source::Miss))
    }

    fn store_local(&self, key: &Key, entry: &Arc<Entry>) {
        if entry.bytes() <= self.largest {
            self.local.insert(key.clone(), entry.clone());
            Counters::up(&self.counters.of(key.resource).sets);
        }
    }

    pub fn count_bypass(&self, resource: &'static str) {
        Counters::up(&self.counters.of(resource).bypassed);
    }

    /// Whether this hit is one of the samples that are recomputed.
    pub fn should_sample(&self) -> bool {
        self.sample_every > 0 && self.hits.fetch_add(1, Ordering::Relaxed) % self.sample_every == self.sample_every - 1
    }

    /// Compares a hit with a recomputed response, under versions that were still the same afterwards.
    pub fn compare_sample(&self, key: &Key, entry: &Entry, again: &ComputedResponse) {
        let counters = self.counters.of(key.resource);
        Counters::up(&counters.sampled);
        if entry.body[..] != again.body[..] {
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
        if let Some(remote) = &self.redis {
            remote.invalidate(key);
        }
    }

    /// Drops the entries of a business, of a resource, or all; here and in Redis. Other processes keep theirs, which
    /// stay correct. Returns how many of each tier; `None` when Redis does not respond.
    pub async fn purge(&self, business: Option<Uuid>, resource: Option<&str>) -> (u64, Option<u64>) {
        let mut purged = 0;
        for (key, _) in &self.local {
            if business.is_none_or(|id| key.business == id) && resource.is_none_or(|resource| key.resource == resource)
            {
                self.local.invalidate(key.as_ref());
                purged += 1;
            }
        }
        let remote = match &self.redis {
            Some(remote) => remote.purge(business, resource).await,
            None => Some(0),
        };
        (purged, remote)
    }

    /// Returns the number of entries and bytes in the local tier.
    pub fn size(&self) -> (u64, u64) {
        (self.local.entry_count(), self.local.weighted_size())
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

/// Applies each entry's own TTL.
struct Lifetime;

impl moka::Expiry<Key, Arc<Entry>> for Lifetime {
    fn expire_after_create(&self, _: &Key, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(&self, _: &Key, entry: &Arc<Entry>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(entry.ttl)
    }
}

/// Starts the thread that compresses entries.
fn start_compressor(local: Local, supervisor: &Supervisor) -> Result<crossbeam_channel::Sender<PendingCompression>> {
    let (sender, receiver) = crossbeam_channel::bounded::<PendingCompression>(MAX_PENDING_COMPRESSIONS);
    let pack = move |pulse: &Pulse| {
        while let Ok((key, entry, coding)) = receiver.recv() {
            entry.compress(coding);
            // Inserted again to update its weight, unless another entry has replaced it.
            if local.get(&key).is_some_and(|known| Arc::ptr_eq(&known, &entry)) {
                local.insert(key, entry);
            }
            pulse.succeeded();
        }
        Ok(())
    };
    supervisor.spawn_thread(Task::named("cache compression"), "packing", pack)?;
    Ok(sender)
}
