//! The local tier: entries in the memory of this process, and the thread that compresses the popular ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use uuid::Uuid;

use super::counters::{CounterRegistry, Counters};
use super::entry::{Coding, Entry, Key};
use crate::base::error::{Error, Result};
use crate::base::supervisor::{Pulse, Supervisor, Task};

/// One entry may take this fraction (1/n) of the local tier; larger ones are not stored.
const MAX_ENTRY_FRACTION: u64 = 16;
/// Parts of the tier with a lock of their own: few enough that the largest entry fits into one.
const SHARDS: usize = 8;
/// What an entry takes on average, roughly. It decides how many evicted keys are remembered: one for every two entries.
const AVERAGE_ENTRY_BYTES: u64 = 2 * 1024;
/// Entries that may wait for compression.
const MAX_PENDING_COMPRESSIONS: usize = 256;

type PendingCompression = (Key, Arc<Entry>, Coding);
type Entries = Cache<Key, Stored, StoredBytes, xxhash_rust::xxh3::Xxh3DefaultBuilder, CountEvictions>;

/// An entry as it was stored. Its weight must not change meanwhile, which that of an entry does when it is compressed.
#[derive(Clone)]
struct Stored {
    entry: Arc<Entry>,
    bytes: u64,
    expires: Instant,
}

impl Stored {
    /// Expires with the entry's TTL, counted from `since`.
    fn new(key: &Key, entry: Arc<Entry>, since: Instant) -> Self {
        Self { bytes: (key.query.len() + 100 + entry.bytes()) as u64, expires: since + entry.ttl, entry }
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
struct CountEvictions(Arc<CounterRegistry>);

impl Lifecycle<Key, Stored> for CountEvictions {
    /// What was evicted is dropped after the lock of its shard.
    type RequestState = Option<Stored>;

    fn on_evict(&self, evicted: &mut Option<Stored>, key: Key, stored: Stored) {
        Counters::up(&self.0.of(key.resource).evictions);
        *evicted = Some(stored);
    }
}

/// A cache in memory, bounded by the bytes of its entries; each expires after its own TTL. An entry that has expired is dropped when
/// it is asked for or when its space is needed.
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
        let entries = Arc::new(Cache::with_options(options, StoredBytes, hashes, CountEvictions(counters.clone())));
        let to_compress = start_compressor(entries.clone(), supervisor)?;
        Ok(Self { entries, max_entry_bytes: (capacity / MAX_ENTRY_FRACTION) as usize, counters, to_compress })
    }

    /// Returns the entry of `key`, valid or not.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        let stored = self.entries.get(key)?;
        if stored.expires <= Instant::now() {
            self.entries.remove_if(key, |known| Arc::ptr_eq(&known.entry, &stored.entry));
            return None;
        }
        Some(stored.entry)
    }

    /// Stores `entry`, unless it is too large.
    pub fn store(&self, key: &Key, entry: &Arc<Entry>) {
        if entry.bytes() <= self.max_entry_bytes {
            self.entries.insert(key.clone(), Stored::new(key, entry.clone(), Instant::now()));
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

/// Starts the thread that compresses entries.
fn start_compressor(
    entries: Arc<Entries>,
    supervisor: &Supervisor,
) -> Result<crossbeam_channel::Sender<PendingCompression>> {
    let (sender, receiver) = crossbeam_channel::bounded::<PendingCompression>(MAX_PENDING_COMPRESSIONS);
    let compress = move |pulse: &Pulse| {
        while let Ok((key, entry, coding)) = receiver.recv() {
            entry.compress(coding);
            // Stored again with its new weight, unless another entry has replaced it.
            if let Some(known) = entries.peek(&key).filter(|known| Arc::ptr_eq(&known.entry, &entry)) {
                let heavier = Stored { expires: known.expires, ..Stored::new(&key, entry, Instant::now()) };
                // Refused where it has been dropped meanwhile.
                let _ = entries.replace(key, heavier, true);
            }
            pulse.succeeded();
        }
        Ok(())
    };
    supervisor.spawn_thread(Task::named("cache compression"), "compression", compress)?;
    Ok(sender)
}
