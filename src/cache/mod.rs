//! The cache that is never stale.
//!
//! Every answer carries the versions of what it was made of ([`Stamp`]). Versions live in PostgreSQL and move in the
//! transaction that changes the rows. A reader asks for them first, in the next validation round ([`rounds`]); an entry
//! with exactly these versions is the answer, and otherwise it is computed *after* the round and stored under them. So an
//! entry is never older than its versions say, and a reader never takes one that is older than the round, which began
//! after the read did. Where the entry came from (this process, Redis, another reader's computation) does not matter.
//! docs/CACHE.md tells the whole, with the proof.

mod codec;
mod counters;
mod entry;
mod flight;
#[cfg(feature = "mutants")]
pub mod mutants;
mod pace;
mod remote;
mod rounds;
mod scope;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use uuid::Uuid;

pub use self::counters::{Counters, Counts};
pub use self::entry::{Coding, Entry, Fresh, Key, brotli, gzip};
use self::flight::{Boarding, Flights};
pub use self::remote::{Remote, RemoteState};
use self::rounds::Rounds;
pub use self::rounds::{Found, RoundCounts};
pub use self::scope::{Scope, Stamp};
use crate::config::Config;
use crate::context::{self, CONTEXT, Context};
use crate::db::Guard;
use crate::error::{Error, Result};
use crate::jobs::{Pulse, Supervisor, Task, detach};

/// Part of the local tier that one entry may take; larger ones are not kept.
const LARGEST_SHARE: u64 = 16;
/// Entries that wait to be compressed.
const MOST_TO_PACK: usize = 256;

type ToPack = (Key, Arc<Entry>, Coding);
type Local = moka::sync::Cache<Key, Arc<Entry>, xxhash_rust::xxh3::Xxh3DefaultBuilder>;

pub struct Cache {
    rounds: Rounds,
    local: Local,
    largest: usize,
    flights: Flights,
    remote: Option<Arc<Remote>>,
    ledger: Arc<counters::Ledger>,
    to_pack: crossbeam_channel::Sender<ToPack>,
    sample_every: u64,
    hits: AtomicU64,
    /// Versions cannot be believed: nothing is taken from either tier, and nothing is kept.
    bypassed: AtomicBool,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Local,
    Redis,
    /// Computed now.
    Miss,
    /// Computed now, by a reader that was there first.
    Collapsed,
    /// Computed now, because the request asked for it.
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
    /// `shape` identifies the form of this binary's answers: entries of another form are never read. `guard` hears when
    /// rounds connect.
    /// Errors: 500 when threads cannot be started or the URL of Redis is wrong.
    pub fn open(config: &Config, url: &str, shape: u64, supervisor: &Supervisor, guard: Arc<Guard>) -> Result<Self> {
        let rounds = Rounds::start(url, Duration::from_millis(config.cache_round_ms), supervisor, guard)?;
        let ledger = Arc::new(counters::Ledger::default());
        let evicted = ledger.clone();
        let local = moka::sync::Cache::builder()
            .max_capacity(config.cache_bytes)
            .weigher(|key: &Key, entry: &Arc<Entry>| {
                (key.question.len() + 100 + entry.bytes()).try_into().unwrap_or(u32::MAX)
            })
            .expire_after(Lifetime)
            .eviction_listener(move |key: Arc<Key>, _, cause| {
                if cause.was_evicted() {
                    Counters::up(&evicted.of(key.noun).evictions);
                }
            })
            .build_with_hasher(xxhash_rust::xxh3::Xxh3DefaultBuilder::new());
        let prefix = format!("{}{shape:016x}:", config.cache_prefix);
        let budget = Duration::from_millis(config.redis_timeout_ms);
        let remote = match &config.redis_url {
            None => None,
            Some(url) => Some(Arc::new(
                Remote::new(
                    ("the cache", "cache connection to Redis"),
                    url.expose(),
                    config.redis_ca.as_deref(),
                    prefix,
                    budget,
                )
                .map_err(Error::Internal)?,
            )),
        };
        let to_pack = start_packing(local.clone(), supervisor)?;
        Ok(Self {
            rounds,
            local,
            largest: (config.cache_bytes / LARGEST_SHARE) as usize,
            flights: Flights::default(),
            remote,
            ledger,
            to_pack,
            sample_every: config.cache_sample,
            hits: AtomicU64::new(0),
            bypassed: AtomicBool::new(false),
        })
    }

    /// Keeps Redis connected, as long as the cache lives. Must be called on a runtime that outlives requests.
    pub fn keep_connected(&self, supervisor: &Supervisor) {
        if let Some(remote) = &self.remote {
            Remote::keep_connected(remote, supervisor);
        }
    }

    /// Takes nothing from either tier and keeps nothing, until [`Cache::trust`]: the database does not move versions as it
    /// should.
    pub fn bypass(&self) {
        self.bypassed.store(true, Ordering::Release);
    }

    /// Goes on with nothing of before: the caller has begun a new epoch in the database.
    pub fn trust(&self) {
        self.forget_all();
        self.bypassed.store(false, Ordering::Release);
    }

    /// Drops what this process has kept, and asks again which database it is: entries of before, in Redis too, are of
    /// another epoch unless it is the same in everything.
    pub fn forget_all(&self) {
        self.rounds.reconnect();
        self.local.invalidate_all();
    }

    pub fn is_bypassed(&self) -> bool {
        self.bypassed.load(Ordering::Acquire)
    }

    /// How `scopes` stand: read after this call began. Errors: 503 when it cannot be had in time.
    pub async fn validate(&self, scopes: &Arc<[Scope]>) -> Result<Stamp> {
        // No round is of generation 0.
        self.check(scopes, 0).await?.stamp.ok_or_else(|| Error::Internal("a round without versions".into()))
    }

    /// As [`Cache::validate`], for one who holds what rounds of the generation `since` have confirmed: if nothing at all was
    /// committed since then, no versions are told, because they are the same.
    pub async fn check(&self, scopes: &Arc<[Scope]>, since: u64) -> Result<Found> {
        if self.is_bypassed() {
            return Err(Error::Unavailable {
                code: "validation_unavailable",
                detail: "The database does not say what has changed. Try again shortly.".into(),
                after: 1,
            });
        }
        let began = Instant::now();
        let found = self.rounds.join(scopes, since).await;
        context::spent_in_cache(began.elapsed());
        found
    }

    /// What this process has for `key`, whatever its versions.
    pub fn kept(&self, key: &Key) -> Option<Arc<Entry>> {
        self.local.get(key)
    }

    /// Counts `entry`, which is right, as a hit.
    pub fn hit(&self, key: &Key, entry: Arc<Entry>) -> Arc<Entry> {
        Counters::up(&self.ledger.of(key.noun).hits_local);
        entry.hit();
        entry
    }

    /// Compresses `entry` for those who take `coding`, without anyone waiting for it, if it is asked for often.
    pub fn pack(&self, key: &Key, entry: &Arc<Entry>, coding: Coding) {
        if entry.asks_to_be_packed(coding) {
            // Full: it stays as it is until it is computed again.
            let _ = self.to_pack.try_send((key.clone(), entry.clone(), coding));
        }
    }

    /// The answer to `key` as of `stamp`: `kept`, from Redis, or computed. `compute` runs at most once, after `stamp` was
    /// read.
    pub async fn answer<F>(
        self: &Arc<Self>,
        key: &Key,
        kept: Option<Arc<Entry>>,
        ttl: Duration,
        stamp: Stamp,
        compute: impl FnOnce() -> F,
    ) -> Result<(Arc<Entry>, Source)>
    where
        F: Future<Output = Result<Fresh>> + 'static,
    {
        let counters = self.ledger.of(key.noun);
        if let Some(entry) = kept {
            if entry.stamp == stamp {
                return Ok((self.hit(key, entry), Source::Local));
            }
            Counters::up(&counters.invalidations);
        }
        match self.flights.board(key, &stamp) {
            Boarding::Follow(answered) => match answered.await {
                Ok(Some(entry)) => {
                    Counters::up(&counters.collapsed);
                    Ok((entry, Source::Collapsed))
                }
                // The one who led could not; perhaps we can, and otherwise this answer says why.
                _ => Ok((Arc::new(Entry::new(stamp, compute().await?, ttl)), Source::Miss)),
            },
            Boarding::Lead(flight) => {
                let (cache, key, computing) = (self.clone(), key.clone(), compute());
                // In a task of its own: whoever asked may go away, and those who follow must not.
                let own = Context::new(context::request_id().into());
                let led = detach(
                    "cache computation",
                    CONTEXT.scope(own, async move {
                        let found = cache.fetch(&key, ttl, stamp, computing).await;
                        if let Ok((entry, _)) = &found {
                            flight.land(entry);
                        }
                        (found, context::spent())
                    }),
                );
                let (found, (time, statements)) = led.outcome().await?;
                context::spent_in_database(time, statements);
                found
            }
        }
    }

    /// Computes the answer to `key` as of `stamp`, unless it is there; nobody waits for it.
    pub async fn refresh<F>(
        self: &Arc<Self>,
        key: &Key,
        ttl: Duration,
        stamp: Stamp,
        compute: impl FnOnce() -> F,
    ) -> Result<()>
    where
        F: Future<Output = Result<Fresh>> + 'static,
    {
        let kept = self.kept(key);
        if kept.as_ref().is_some_and(|entry| entry.stamp == stamp) {
            return Ok(());
        }
        Counters::up(&self.ledger.of(key.noun).refreshed);
        self.answer(key, kept, ttl, stamp, compute).await.map(|_| ())
    }

    /// From Redis, or computed; and stored.
    async fn fetch(
        &self,
        key: &Key,
        ttl: Duration,
        stamp: Stamp,
        computing: impl Future<Output = Result<Fresh>>,
    ) -> Result<(Arc<Entry>, Source)> {
        let counters = self.ledger.of(key.noun);
        if let Some(remote) = &self.remote
            && let Some(entry) = remote.get(key, ttl).await
        {
            if entry.stamp == stamp {
                Counters::up(&counters.hits_redis);
                self.keep(key, &entry);
                return Ok((entry, Source::Redis));
            }
            Counters::up(&counters.invalidations);
        }
        let entry = Arc::new(Entry::new(stamp, computing.await?, ttl));
        #[cfg(feature = "mutants")]
        mutants::linger().await;
        Counters::up(&counters.misses);
        if self.is_bypassed() {
            return Ok((entry, Source::Miss));
        }
        self.keep(key, &entry);
        if let Some(remote) = &self.remote {
            remote.set(key.clone(), entry.clone());
        }
        Ok((entry, Source::Miss))
    }

    fn keep(&self, key: &Key, entry: &Arc<Entry>) {
        if entry.bytes() <= self.largest {
            self.local.insert(key.clone(), entry.clone());
            Counters::up(&self.ledger.of(key.noun).sets);
        }
    }

    pub fn bypassed(&self, noun: &'static str) {
        Counters::up(&self.ledger.of(noun).bypassed);
    }

    /// Whether this hit is one of those that are computed again.
    pub fn samples(&self) -> bool {
        self.sample_every > 0 && self.hits.fetch_add(1, Ordering::Relaxed) % self.sample_every == self.sample_every - 1
    }

    /// Compares a hit with what was computed again, under versions that were still the same afterwards.
    pub fn sampled(&self, key: &Key, entry: &Entry, again: &Fresh) {
        let counters = self.ledger.of(key.noun);
        Counters::up(&counters.sampled);
        if entry.body[..] != again.body[..] {
            Counters::up(&counters.inconsistent);
            self.local.invalidate(key);
            // Not the question itself, which may carry what people typed.
            let question = xxhash_rust::xxh3::xxh3_64(key.question.as_bytes());
            tracing::error!(noun = key.noun, question, "a cached answer was not what the database says");
        }
    }

    /// Forgets what is superseded for certain: a courtesy to memory, here and in Redis.
    pub fn forget(&self, key: &Key) {
        self.local.invalidate(key);
        if let Some(remote) = &self.remote {
            remote.forget(key);
        }
    }

    /// Forgets the answers of a business, of a noun, or all; here and in Redis. Other processes keep what they have,
    /// which is as right as ever. Returns how many of each tier; `None` when Redis does not answer.
    pub async fn purge(&self, business: Option<Uuid>, noun: Option<&str>) -> (u64, Option<u64>) {
        let mut purged = 0;
        for (key, _) in &self.local {
            if business.is_none_or(|id| key.business == id) && noun.is_none_or(|noun| key.noun == noun) {
                self.local.invalidate(key.as_ref());
                purged += 1;
            }
        }
        let remote = match &self.remote {
            Some(remote) => remote.purge(business, noun).await,
            None => Some(0),
        };
        (purged, remote)
    }

    /// Entries and bytes of the local tier.
    pub fn size(&self) -> (u64, u64) {
        (self.local.entry_count(), self.local.weighted_size())
    }

    pub fn counts(&self) -> Vec<(&'static str, Counts)> {
        self.ledger.read()
    }

    /// How long ago the database last answered a validation round.
    pub fn last_answer(&self) -> Duration {
        self.rounds.last_answer()
    }

    pub fn round_counts(&self) -> RoundCounts {
        self.rounds.counts()
    }

    pub fn remote(&self) -> Option<&Arc<Remote>> {
        self.remote.as_ref()
    }
}

/// Each entry's own time to live.
struct Lifetime;

impl moka::Expiry<Key, Arc<Entry>> for Lifetime {
    fn expire_after_create(&self, _: &Key, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(&self, _: &Key, entry: &Arc<Entry>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(entry.ttl)
    }
}

/// Compresses entries on a thread of its own.
fn start_packing(local: Local, supervisor: &Supervisor) -> Result<crossbeam_channel::Sender<ToPack>> {
    let (sender, receiver) = crossbeam_channel::bounded::<ToPack>(MOST_TO_PACK);
    let pack = move |pulse: &Pulse| {
        while let Ok((key, entry, coding)) = receiver.recv() {
            entry.pack(coding);
            // Put back, so that it is weighed again; unless another has its place by now.
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
