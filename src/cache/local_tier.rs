//! The local tier: entries in the memory of this process, and the thread that compresses the popular ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::counters::{CounterRegistry, Counters};
use super::entry::{Coding, Entry, Key};
use crate::base::error::Result;
use crate::base::supervisor::{Pulse, Supervisor, Task};

/// One entry may take this fraction (1/n) of the local tier; larger ones are not stored.
const MAX_ENTRY_FRACTION: u64 = 16;
/// Entries that may wait for compression.
const MAX_PENDING_COMPRESSIONS: usize = 256;

type PendingCompression = (Key, Arc<Entry>, Coding);
type Entries = moka::sync::Cache<Key, Arc<Entry>, xxhash_rust::xxh3::Xxh3DefaultBuilder>;

/// A cache in memory, bounded by the bytes of its entries; each expires after its own TTL.
pub struct LocalTier {
    entries: Entries,
    max_entry_bytes: usize,
    counters: Arc<CounterRegistry>,
    to_compress: crossbeam_channel::Sender<PendingCompression>,
}

impl LocalTier {
    /// Starts with no entries; `capacity` is in bytes. Errors: 500 when the compressing thread cannot be started.
    pub fn start(capacity: u64, counters: Arc<CounterRegistry>, supervisor: &Supervisor) -> Result<Self> {
        let of_evictions = counters.clone();
        let entries = moka::sync::Cache::builder()
            .max_capacity(capacity)
            .weigher(|key: &Key, entry: &Arc<Entry>| {
                (key.query.len() + 100 + entry.bytes()).try_into().unwrap_or(u32::MAX)
            })
            .expire_after(Lifetime)
            .eviction_listener(move |key: Arc<Key>, _, cause| {
                if cause.was_evicted() {
                    Counters::up(&of_evictions.of(key.resource).evictions);
                }
            })
            .build_with_hasher(xxhash_rust::xxh3::Xxh3DefaultBuilder::new());
        let to_compress = start_compressor(entries.clone(), supervisor)?;
        Ok(Self { entries, max_entry_bytes: (capacity / MAX_ENTRY_FRACTION) as usize, counters, to_compress })
    }

    /// Returns the entry of `key`, valid or not.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    /// Stores `entry`, unless it is too large.
    pub fn store(&self, key: &Key, entry: &Arc<Entry>) {
        if entry.bytes() <= self.max_entry_bytes {
            self.entries.insert(key.clone(), entry.clone());
            Counters::up(&self.counters.of(key.resource).sets);
        }
    }

    pub fn invalidate(&self, key: &Key) {
        self.entries.invalidate(key);
    }

    pub fn invalidate_all(&self) {
        self.entries.invalidate_all();
    }

    /// Drops the entries of a business, of a resource, or all. Returns how many.
    pub fn purge(&self, business: Option<Uuid>, resource: Option<&str>) -> u64 {
        let mut purged = 0;
        for (key, _) in &self.entries {
            if business.is_none_or(|id| key.business == id) && resource.is_none_or(|resource| key.resource == resource)
            {
                self.entries.invalidate(key.as_ref());
                purged += 1;
            }
        }
        purged
    }

    /// Returns the number of entries, and their bytes.
    pub fn size(&self) -> (u64, u64) {
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    /// Queues `entry` for compression in `coding`, if it has enough hits. Returns at once.
    pub fn compress_if_popular(&self, key: &Key, entry: &Arc<Entry>, coding: Coding) {
        if entry.wants_compression(coding) {
            // Queue full: the entry stays uncompressed until it is computed again.
            let _ = self.to_compress.try_send((key.clone(), entry.clone(), coding));
        }
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
fn start_compressor(
    entries: Entries,
    supervisor: &Supervisor,
) -> Result<crossbeam_channel::Sender<PendingCompression>> {
    let (sender, receiver) = crossbeam_channel::bounded::<PendingCompression>(MAX_PENDING_COMPRESSIONS);
    let compress = move |pulse: &Pulse| {
        while let Ok((key, entry, coding)) = receiver.recv() {
            entry.compress(coding);
            // Inserted again to update its weight, unless another entry has replaced it.
            if entries.get(&key).is_some_and(|known| Arc::ptr_eq(&known, &entry)) {
                entries.insert(key, entry);
            }
            pulse.succeeded();
        }
        Ok(())
    };
    supervisor.spawn_thread(Task::named("cache compression"), "compression", compress)?;
    Ok(sender)
}
