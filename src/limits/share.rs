//! What replicas tell each other about their buckets, by way of Redis: each adds what was taken from it to a common bucket,
//! and learns how full that one is.
//!
//! No request waits for this. A few times a second all that is new goes in one command, as a script, so that replicas do
//! not overwrite each other. Times are those of Redis and only ever differences of them are sent, so clocks do not matter.

use std::time::Duration;

use deadpool_redis::redis::cmd;

use super::bucket::DEEPEST;
use super::buckets::{Buckets, Numbered};
use crate::cache::Remote;

/// How often the others are told.
pub const EVERY: Duration = Duration::from_millis(200);
/// Buckets in one command: it keeps Redis busy for less than a millisecond.
const MOST_AT_ONCE: usize = 500;
/// Longest wait for Redis.
const PATIENCE: Duration = Duration::from_millis(150);

/// KEYS are the buckets; ARGV says how far below full one may come, then for each what was taken, all in microseconds.
/// Answers how far below full each is. A common bucket that is full again is gone: it expires at that time.
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

/// Tells the others what was taken from `buckets` since the last time, and learns what they took. Without an answer
/// nothing is learned and what was taken is not told again: it may have been heard.
pub async fn exchange(remote: &Remote, prefix: &str, buckets: &Buckets) {
    let active = buckets.active();
    for some in active.chunks(MOST_AT_ONCE) {
        tell(remote, prefix, buckets, some).await;
    }
}

async fn tell(remote: &Remote, prefix: &str, buckets: &Buckets, some: &[Numbered]) {
    let rate = &buckets.rate;
    let mut eval = cmd("EVAL");
    eval.arg(SCRIPT).arg(some.len());
    for (id, _) in some {
        eval.arg(format!("{prefix}{id:032x}"));
    }
    eval.arg((DEEPEST + rate.depth()) / 1_000);
    for (_, bucket) in some {
        eval.arg(u64::from(bucket.tell()) * rate.step / 1_000);
    }
    let debts: Vec<u64> = remote.ask(&eval, PATIENCE).await.unwrap_or_default();
    let now = buckets.now();
    for ((_, bucket), debt) in some.iter().zip(debts) {
        bucket.learn(now, rate, debt.saturating_mul(1_000));
    }
}
