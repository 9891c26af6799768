//! The local tier: entries in the memory of this process, and the thread that compresses the popular ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use uuid::Uuid;

use super::counters::{CounterRegistry, Counters};
use super::entry::{Coding, Entry, Key};
use crate::base::error::{Error, Result};
use crate::base::supervisor::{Pulse, Supervisor, Task};

/// One entry may take this fraction (1/n) of the local tier; larger ones are not stored.
const MAX_ENTRY_FRACTION: u64 = 16;
/// Parts of the tier with a lock of their own: few enough that the largest entry fits into one with both of its compressed forms.
const SHARDS: usize = 4;
/// How often entries that have expired are dropped, whether or not they are asked for.
const SWEEP: Duration = Duration::from_secs(60);
/// What an entry takes on average, roughly. It decides how many evicted keys are remembered: one for every two entries.
const AVERAGE_ENTRY_BYTES: u64 = 2 * 1024;
/// Entries that may wait for compression.
const MAX_PENDING_COMPRESSIONS: usize = 256;

type PendingCompression = (Key, Arc<Entry>, Coding);
type Entries = Cache<Key, Stored, StoredBytes, xxhash_rust::xxh3::Xxh3DefaultBuilder, KeepEvicted>;

/// An entry as it was stored. Its weight must not change meanwhile, which that of an entry does when it is compressed.
#[derive(Clone)]
struct Stored {
    entry: Arc<Entry>,
    bytes: u64,
    /// `None`: never.
    expires: Option<Instant>,
}

impl Stored {
    /// Expires with the entry's TTL, counted from now.
    fn new(key: &Key, entry: Arc<Entry>) -> Self {
        let expires = Instant::now().checked_add(entry.ttl);
        Self { bytes: (key.query.len() + 100 + entry.bytes()) as u64, expires, entry }
    }

    fn has_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

#[derive(Clone)]
struct StoredBytes;

impl Weighter<Key, Stored> for StoredBytes {
    fn weight(&self, _: &Key, stored: &Stored) -> u64 {
        stored.bytes
    }
}

#[derive(Clone)]
struct KeepEvicted;

impl Lifecycle<Key, Stored> for KeepEvicted {
    /// What had to go, the replaced entry of the same key included; dropped after the lock of its shard.
    type RequestState = Vec<(Key, Stored)>;

    fn on_evict(&self, evicted: &mut Self::RequestState, key: Key, stored: Stored) {
        evicted.push((key, stored));
    }
}

/// A cache in memory, bounded by the bytes of its entries; each expires after its own TTL, and is dropped within a minute.
pub struct LocalTier {
    entries: Arc<Entries>,
    max_entry_bytes: usize,
    counters: Arc<CounterRegistry>,
    to_compress: crossbeam_channel::Sender<PendingCompression>,
}

impl LocalTier {
    /// Starts with no entries; `capacity` is in bytes. Errors: 500 when the compressing thread cannot be started.
    pub fn start(capacity: u64, counters: Arc<CounterRegistry>, supervisor: &Supervisor) -> Result<Self> {
        let mut options = OptionsBuilder::new();
        options.shards(SHARDS).weight_capacity(capacity);
        // Below 32 entries for each shard there would be fewer shards.
        let estimate = (capacity / AVERAGE_ENTRY_BYTES).max(32 * SHARDS as u64);
        options.estimated_items_capacity(usize::try_from(estimate).unwrap_or(usize::MAX));
        let options = options.build().map_err(|error| Error::Internal(error.to_string()))?;
        let hashes = xxhash_rust::xxh3::Xxh3DefaultBuilder::new();
        let entries = Arc::new(Cache::with_options(options, StoredBytes, hashes, KeepEvicted));
        let to_compress = start_compressor(entries.clone(), counters.clone(), supervisor)?;
        Ok(Self { entries, max_entry_bytes: (capacity / MAX_ENTRY_FRACTION) as usize, counters, to_compress })
    }

    /// Returns the entry of `key`, valid or not.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        let stored = self.entries.get(key)?;
        if stored.has_expired(Instant::now()) {
            self.entries.remove_if(key, |known| Arc::ptr_eq(&known.entry, &stored.entry));
            Counters::up(&self.counters.of(key.resource).evictions);
            return None;
        }
        Some(stored.entry)
    }

    /// Stores `entry`, unless it is too large.
    pub fn store(&self, key: &Key, entry: &Arc<Entry>) {
        if entry.bytes() <= self.max_entry_bytes {
            let mut evicted = Vec::new();
            self.entries.insert_with_lifecycle(key.clone(), Stored::new(key, entry.clone()), &mut evicted);
            count_evictions(&self.counters, key, &evicted);
            Counters::up(&self.counters.of(key.resource).sets);
        }
    }

    pub fn invalidate(&self, key: &Key) {
        self.entries.remove(key);
    }

    pub fn invalidate_all(&self) {
        self.entries.clear();
    }

    /// Drops the entries of a business, of a resource, or all. Returns how many.
    pub fn purge(&self, business: Option<Uuid>, resource: Option<&str>) -> u64 {
        let purged = AtomicU64::new(0);
        self.entries.retain(|key, _| {
            let is_other = business.is_some_and(|id| key.business != id)
                || resource.is_some_and(|resource| key.resource != resource);
            purged.fetch_add(u64::from(!is_other), Ordering::Relaxed);
            is_other
        });
        purged.into_inner()
    }

    /// Returns the number of entries, and their bytes.
    pub fn size(&self) -> (u64, u64) {
        (self.entries.len() as u64, self.entries.weight())
    }

    /// Queues `entry` for compression in `coding`, if it has enough hits. Returns at once.
    pub fn compress_if_popular(&self, key: &Key, entry: &Arc<Entry>, coding: Coding) {
        if entry.wants_compression(coding) {
            // Queue full: the entry stays uncompressed until it is computed again.
            let _ = self.to_compress.try_send((key.clone(), entry.clone(), coding));
        }
    }
}

/// Counts what had to go for the entry of `key`; one of the same key was replaced.
fn count_evictions(counters: &CounterRegistry, key: &Key, evicted: &[(Key, Stored)]) {
    for (other, _) in evicted.iter().filter(|(other, _)| other != key) {
        Counters::up(&counters.of(other.resource).evictions);
    }
}

/// Starts the thread that compresses entries, and drops those that have expired.
fn start_compressor(
    entries: Arc<Entries>,
    counters: Arc<CounterRegistry>,
    supervisor: &Supervisor,
) -> Result<crossbeam_channel::Sender<PendingCompression>> {
    let (sender, receiver) = crossbeam_channel::bounded::<PendingCompression>(MAX_PENDING_COMPRESSIONS);
    let compress = move |pulse: &Pulse| {
        let mut swept = Instant::now();
        loop {
            match receiver.recv_timeout(SWEEP.saturating_sub(swept.elapsed())) {
                Ok((key, entry, coding)) => {
                    entry.compress(coding);
                    // Stored again with its new weight, unless another entry has replaced it.
                    if let Some(known) = entries.peek(&key).filter(|known| Arc::ptr_eq(&known.entry, &entry)) {
                        let heavier = Stored { expires: known.expires, ..Stored::new(&key, entry) };
                        let mut evicted = Vec::new();
                        // Refused where it has been dropped meanwhile.
                        let _ = entries.replace_with_lifecycle(key.clone(), heavier, true, &mut evicted);
                        count_evictions(&counters, &key, &evicted);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                entries.retain(|key, stored| {
                    let has_expired = stored.has_expired(swept);
                    if has_expired {
                        Counters::up(&counters.of(key.resource).evictions);
                    }
                    !has_expired
                });
            }
            pulse.succeeded();
        }
    };
    supervisor.spawn_thread(Task::named("cache compression"), "compression", compress)?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::super::entry::ComputedResponse;
    use super::*;

    #[test]
    fn entries_are_evicted_by_space_and_by_ttl_and_replaced_without() {
        let counters = Arc::new(CounterRegistry::default());
        let tier = LocalTier::start(1 << 20, counters.clone(), &Supervisor::default()).expect("a tier");
        let key = |number: usize| Key {
            business: Uuid::nil(),
            role: "agent",
            restricted_to: None,
            resource: "leads",
            query: number.to_string().into(),
        };
        let entry = |bytes: usize, ttl: Duration| {
            let response = ComputedResponse { body: vec![b'x'; bytes], etag: "\"1\"".into(), tags: Vec::new() };
            Arc::new(Entry::new(&[], Arc::default(), response, ttl))
        };
        let evictions = || counters.of("leads").evictions.load(Ordering::Relaxed);
        for _ in 0..10 {
            tier.store(&key(0), &entry(1_000, Duration::MAX));
        }
        assert!(tier.get(&key(0)).is_some(), "a lifetime that the clock cannot count never ends");
        assert_eq!((tier.size().0, evictions()), (1, 0), "replaced, not evicted");
        tier.store(&key(1), &entry(1_000, Duration::ZERO));
        assert!(tier.get(&key(1)).is_none());
        assert_eq!((tier.size().0, evictions()), (1, 1), "expired");
        tier.store(&key(2), &entry(1 << 17, Duration::MAX));
        assert!(tier.get(&key(2)).is_none(), "an eighth of the tier is too large");
        (3..500).for_each(|number| tier.store(&key(number), &entry(60_000, Duration::MAX)));
        let (entries, bytes) = tier.size();
        assert!(bytes <= 1 << 20, "{bytes} bytes");
        assert_eq!(entries + evictions(), 499, "all others were evicted");
        assert_eq!(tier.purge(Some(Uuid::nil()), Some("companies")), 0);
        assert_eq!(tier.purge(None, Some("leads")), entries);
    }
}
