//! Metrics of the cache that are read off its state.

use metrics::{counter, describe_counter, describe_gauge, gauge};

use super::{Cache, Counts};

/// Describes the metrics to the recorder.
fn describe() {
    for (name, help) in Counts::NAMES.iter().zip(Counts::HELP) {
        describe_counter!(cache_counter(name), *help);
    }
    describe_gauge!("rapport_cache_entries", "Answers in the local tier of the cache");
    describe_gauge!("rapport_cache_bytes", "Size of the local tier of the cache");
    describe_counter!("rapport_cache_rounds_total", "Validation rounds of the cache");
    describe_counter!("rapport_cache_rounds_failed_total", "Validation rounds that failed");
    describe_counter!("rapport_cache_redis_errors_total", "Calls of Redis that failed or were late");
    describe_gauge!("rapport_cache_redis_connected", "Whether the Redis tier of the cache is connected");
}

impl Cache {
    /// Copies the cache's own counters into the recorder.
    pub fn publish_metrics(&self) {
        describe();
        for (resource, counts) in self.counts() {
            for (name, count) in Counts::NAMES.iter().zip(counts.values()) {
                counter!(cache_counter(name), "resource" => resource).absolute(count);
            }
        }
        let (entries, bytes) = self.size();
        gauge!("rapport_cache_entries").set(entries as f64);
        gauge!("rapport_cache_bytes").set(bytes as f64);
        let rounds = self.validator_stats();
        counter!("rapport_cache_rounds_total").absolute(rounds.rounds);
        counter!("rapport_cache_rounds_failed_total").absolute(rounds.failed);
        let connected = self.redis().is_some_and(|redis| redis.is_connected());
        counter!("rapport_cache_redis_errors_total").absolute(self.redis().map_or(0, |redis| redis.errors()));
        gauge!("rapport_cache_redis_connected").set(f64::from(u8::from(connected)));
    }
}

/// Returns the name of the metric of a counter of the cache.
fn cache_counter(name: &str) -> String {
    format!("rapport_cache_{name}_total")
}
