//! Rate limiter: a bucket for each credential, and one for each address which sends requests without a valid one.
//!
//! A request is admitted or refused by this process alone, without waiting. With Redis the buckets of all replicas are
//! synced afterwards ([`super::redis_sync`]); without it each replica grants the whole quota.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use actix_web::http::header::HeaderValue;
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use crate::background::{Outcome, Pulse, Supervisor, Task};
use crate::base::error::{Error, Result};
use crate::base::request_context::RateLimitKind;
use crate::base::telemetry::metrics;
use crate::cache::{RedisArgs, RedisTier};
use crate::http::rate_limit::args::RateLimitArgs;
use crate::http::rate_limit::bucket::{Decision, Rate};
use crate::http::rate_limit::bucket_map::BucketMap;

/// Lookups of unknown credentials which may wait, of addresses whose quota is used up.
const MAX_LOOKUPS: usize = 256;
/// Syncs between two removals of full buckets.
const SWEEP_PERIOD: u64 = 25;

pub struct RateLimiter {
    credentials: Option<BucketMap>,
    addresses: Option<BucketMap>,
    policies: [HeaderValue; 3],
    remote: Option<Arc<RedisTier>>,
    prefix: String,
    doubted: Semaphore,
    looked_up: Semaphore,
}

impl RateLimiter {
    /// Connects to nothing yet. Errors: 500 when the URL of Redis is invalid.
    pub fn open(args: &RateLimitArgs, redis: &RedisArgs) -> Result<Self> {
        // By default a tenth of a minute's requests at once: enough for a page with many requests, and a loop is
        // noticed soon.
        let burst = args.rate_burst.unwrap_or((args.rate_limit / 10).max(10));
        let credentials = Rate::new(args.rate_limit, burst);
        // A whole minute's requests at once: many people may share an address, and sign in at the same hour.
        let addresses = Rate::new(args.rate_limit_address, args.rate_limit_address);
        let remote = match credentials.or(addresses) {
            // A connection of its own: the cache may be off, and neither should wait for the other.
            Some(_) => {
                RedisTier::open(redis, String::new(), ("the count of requests", "rate limit connection to Redis"))?
            }
            None => None,
        };
        let policy = |of: RateLimitKind, rate: Option<Rate>| {
            let text = rate.map(|rate| format!("\"{}\";q={};w=60", of.name(), rate.each_minute));
            text.and_then(|text| HeaderValue::from_maybe_shared(text).ok()).unwrap_or(HeaderValue::from_static(""))
        };
        let shared = remote.is_some();
        Ok(Self {
            policies: RateLimitKind::ALL
                .map(|of| policy(of, if of == RateLimitKind::Address { addresses } else { credentials })),
            credentials: credentials.map(|rate| BucketMap::new(rate, shared)),
            addresses: addresses.map(|rate| BucketMap::new(rate, shared)),
            remote,
            prefix: format!("{}limits:", redis.cache_prefix),
            doubted: Semaphore::new(MAX_LOOKUPS),
            looked_up: Semaphore::new(1),
        })
    }

    /// Counts a request of the credential `id`. Errors: 429 when its quota is used up.
    pub fn credential(&self, of: RateLimitKind, id: Uuid) -> Result<()> {
        let Some(buckets) = &self.credentials else { return Ok(()) };
        settle(buckets.take(id.as_u128(), of), &buckets.rate)
    }

    /// Counts a request without a valid credential from `network`. Errors: 429 when its quota is used up.
    pub fn address(&self, network: IpAddr) -> Result<()> {
        let Some(buckets) = &self.addresses else { return Ok(()) };
        settle(buckets.take(number(network), RateLimitKind::Address), &buckets.rate)
    }

    /// Waits for permission to look up an unknown credential from `network`. Lookups from networks whose quota is used
    /// up run one at a time, each until its permit is dropped: invalid credentials cost the database at most one query
    /// at a time, and a valid one is still recognised. Errors: 429 when too many lookups wait.
    pub async fn lookup_permit(&self, network: IpAddr) -> Result<Option<LookupPermit<'_>>> {
        let Some(buckets) = self.addresses.as_ref().filter(|buckets| buckets.is_empty(number(network))) else {
            return Ok(None);
        };
        let full = || {
            settle(buckets.take(number(network), RateLimitKind::Address), &buckets.rate).err().unwrap_or(Error::busy())
        };
        let place = self.doubted.try_acquire().map_err(|_| full())?;
        let turn = self.looked_up.acquire().await.map_err(|_| full())?;
        Ok(Some(LookupPermit { _place: place, _turn: turn }))
    }

    /// The value of `RateLimit-Policy`.
    pub fn policy(&self, of: RateLimitKind) -> HeaderValue {
        self.policies[of as usize].clone()
    }

    /// Starts the background task which syncs the buckets with other replicas and removes full ones, until the limiter
    /// is dropped.
    pub fn keep_up(this: &Arc<Self>, supervisor: &Supervisor) {
        if this.credentials.is_none() && this.addresses.is_none() {
            return;
        }
        if let Some(remote) = &this.remote {
            RedisTier::keep_connected(remote, supervisor);
        }
        let this = Arc::downgrade(this);
        supervisor.spawn(Task::named("rate limits"), move |pulse| Self::exchange(this.clone(), pulse));
    }

    async fn exchange(this: Weak<Self>, pulse: Pulse) -> Outcome {
        let mut ticks = tokio::time::interval(super::redis_sync::EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for number in 1u64.. {
            ticks.tick().await;
            let Some(limits) = this.upgrade() else { break };
            limits.tend(number.is_multiple_of(SWEEP_PERIOD)).await;
            pulse.succeeded();
        }
        Ok(())
    }

    async fn tend(&self, sweep: bool) {
        for (name, buckets) in [("c:", &self.credentials), ("a:", &self.addresses)] {
            let Some(buckets) = buckets else { continue };
            if let Some(remote) = &self.remote {
                super::redis_sync::exchange(remote, &format!("{}{name}", self.prefix), buckets).await;
            }
            if sweep {
                buckets.sweep();
            }
        }
    }
}

/// Permit to look up a credential although the quota of its network is used up.
pub struct LookupPermit<'l> {
    _place: SemaphorePermit<'l>,
    _turn: SemaphorePermit<'l>,
}

fn number(network: IpAddr) -> u128 {
    match network {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn settle(drawn: Decision, rate: &Rate) -> Result<()> {
    crate::base::request_context::counted(drawn.quota);
    let Some(wait) = drawn.wait else { return Ok(()) };
    let of = drawn.quota.of;
    metrics::refused(of.name());
    let after = u32::try_from(wait.div_ceil(1_000_000_000)).unwrap_or(u32::MAX);
    let whose = match of {
        RateLimitKind::Key => "This API key",
        RateLimitKind::Session => "This session",
        RateLimitKind::Address => "Your address, without a good credential,",
    };
    Err(Error::TooMany {
        code: "rate_limited",
        detail: format!(
            "{whose} may send {} requests a minute, and {} at once. Wait {after} s and try again; `RateLimit` says how many \
             are left.",
            rate.each_minute, rate.burst
        ),
        after,
    })
}
