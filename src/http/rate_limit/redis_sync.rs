//! Syncs rate limit buckets between replicas through Redis: each replica adds the requests it granted to a shared
//! bucket, and reads how full that one is.
//!
//! No request waits for it. A few times a second all changes go out in scripts, so that replicas do not overwrite each
//! other. The clock is that of Redis, and only time differences are sent, so the replicas' clocks do not matter.

use std::time::Duration;

use deadpool_redis::redis::cmd;

use super::bucket::MAX_DEPTH;
use super::bucket_map::{BucketMap, Numbered};
use crate::cache::RedisTier;

/// Period of the sync.
pub const EVERY: Duration = Duration::from_millis(200);
/// Buckets per command: it keeps Redis busy for less than a millisecond.
const MAX_SYNCED: usize = 500;
/// Timeout of a command.
const TIMEOUT: Duration = Duration::from_millis(150);

/// KEYS are the buckets. ARGV has the maximum debt, then what was taken from each bucket, in microseconds. Returns the
/// debt of each: the time until it is full. A shared bucket expires when it is full.
const SCRIPT: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local deepest = tonumber(ARGV[1])
local debts = {}
for place, key in ipairs(KEYS) do
  local full_at = math.max(tonumber(redis.call('GET', key) or now) or now, now)
  local debt = math.min(full_at - now + tonumber(ARGV[place + 1]), deepest)
  redis.call('SET', key, string.format('%.0f', now + debt), 'PX', math.max(math.ceil(debt / 1000), 1))
  debts[place] = math.floor(debt)
end
return debts";

/// Sends what was taken from `buckets` since the last sync, and applies what other replicas took. Without a response
/// nothing is applied, and nothing is sent again, because Redis may have processed it.
pub async fn exchange(remote: &RedisTier, prefix: &str, buckets: &BucketMap) {
    let active = buckets.active();
    for some in active.chunks(MAX_SYNCED) {
        tell(remote, prefix, buckets, some).await;
    }
}

async fn tell(remote: &RedisTier, prefix: &str, buckets: &BucketMap, some: &[Numbered]) {
    let rate = &buckets.rate;
    let mut eval = cmd("EVAL");
    eval.arg(SCRIPT).arg(some.len());
    for (id, _) in some {
        eval.arg(format!("{prefix}{id:032x}"));
    }
    eval.arg((MAX_DEPTH + rate.depth()) / 1_000);
    for (_, bucket) in some {
        eval.arg(u64::from(bucket.tell()) * rate.step / 1_000);
    }
    let debts: Vec<u64> = remote.ask(&eval, TIMEOUT).await.unwrap_or_default();
    let now = buckets.now();
    for ((_, bucket), debt) in some.iter().zip(debts) {
        bucket.learn(now, rate, debt.saturating_mul(1_000));
    }
}
