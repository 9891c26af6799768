//! A two-tier response cache (process memory and Redis) that never serves stale data.
//!
//! Every entry carries tags (what it depends on, [`CacheTag`]) and its base: the validation round after which it was
//! computed. A transaction that changes rows logs the change. A reader first joins the next validation round,
//! which finds out what has changed since the last one. An entry is the response if no round after its base has found a change
//! of its tags; otherwise the reader computes the response, beside its round or after it. So a reader never gets a
//! response that is older than its beginning. It does not matter where the entry came from: this process,
//! Redis or another reader's computation. docs/CACHE.md describes the protocol and proves it.
//!
//! `cache` is the cache itself, `lookup` judges hits, `fill` computes misses. `local_tier` and `redis_tier` hold entries
//! (`entry`, `codec`), `validator` sends the rounds, `last_changes` remembers what they found; `tags` names what responses
//! depend on, `snapshot` what a transaction sees.

mod args;
mod cache;
mod codec;
mod counters;
mod entry;
mod fill;
mod last_changes;
mod local_tier;
mod lookup;
mod metrics;
mod redis_tier;
mod response_source;
mod single_flight;
mod snapshot;
mod tags;
mod validator;

pub use self::args::{CacheArgs, RedisArgs};
pub use self::cache::Cache;
pub use self::counters::{Counters, Counts};
pub use self::entry::{Coding, ComputedResponse, Entry, Key, brotli, gzip};
pub use self::lookup::CacheQuery;
pub use self::redis_tier::{RedisState, RedisTier};
pub use self::response_source::Source;
pub use self::tags::CacheTag;
pub use self::validator::{Round, ValidatorStats};
