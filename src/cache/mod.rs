//! A two-tier response cache (process memory and Redis) that never serves stale data.
//!
//! Every entry carries the versions of the data it was computed from ([`VersionStamp`]). Versions live in PostgreSQL
//! and are bumped in the transaction that changes the rows. A reader first gets the current versions in the next
//! validation round. An entry with exactly these versions is the response; otherwise the response is
//! computed *after* the round and stored under them. So an entry is never older than its versions say, and a reader
//! never gets one older than the round, which began after the read did. It does not matter where the entry came from:
//! this process, Redis or another reader's computation. docs/CACHE.md describes the protocol and proves it.
//!
//! `cache` is the cache itself, `lookup` judges hits, `fill` computes misses. `local_tier` and `redis_tier` hold entries
//! (`entry`, `codec`), `validator` sends the rounds, `tags` names what responses depend on.

mod args;
mod cache;
mod codec;
mod counters;
mod entry;
mod fill;
mod local_tier;
mod lookup;
mod metrics;
mod redis_tier;
mod response_source;
mod single_flight;
mod tags;
mod validator;

pub use self::args::{CacheArgs, RedisArgs};
pub use self::cache::Cache;
pub use self::counters::{Counters, Counts};
pub use self::entry::{Coding, ComputedResponse, Entry, Key, brotli, gzip};
pub use self::redis_tier::{RedisState, RedisTier};
pub use self::response_source::Source;
pub use self::tags::{CacheTag, VersionStamp};
pub use self::validator::{ValidationResult, ValidatorStats};
