//! How often one may ask: a bucket for each credential, and one for each address that comes without a good one.
//!
//! Whether a request may go on is decided here, in this process and without waiting for anything. With Redis the buckets
//! of all replicas are kept together afterwards ([`share`]); without it each replica gives the whole quota.

mod bucket;
mod buckets;
pub mod share;

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix_web::http::header::HeaderValue;
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use self::bucket::{Drawn, Rate};
use self::buckets::Buckets;
use crate::cache::Remote;
use crate::config::Config;
use crate::context::Counted;
use crate::error::{Error, Result};
use crate::jobs::{Outcome, Pulse, Supervisor, Task};
use crate::ops::metrics;

/// Requests that may wait to have an unknown credential looked up after their address had too many bad ones.
const MOST_DOUBTED: usize = 256;
/// Full buckets are forgotten once in so many exchanges.
const SWEPT_EVERY: u64 = 25;

pub struct Limits {
    credentials: Option<Buckets>,
    addresses: Option<Buckets>,
    policies: [HeaderValue; 3],
    remote: Option<Arc<Remote>>,
    prefix: String,
    doubted: Semaphore,
    looked_up: Semaphore,
}

impl Limits {
    /// Nothing is connected yet. Errors: 500 when the URL of Redis is wrong.
    pub fn open(config: &Config) -> Result<Self> {
        // A tenth of a minute's requests at once: a page that asks for much is served, and a loop is soon noticed.
        let burst = config.rate_burst.unwrap_or((config.rate_limit / 10).max(10));
        let credentials = Rate::new(config.rate_limit, burst);
        // All of a minute's: many people may share an address, and come in at the same hour.
        let addresses = Rate::new(config.rate_limit_address, config.rate_limit_address);
        let budget = Duration::from_millis(config.redis_timeout_ms);
        let remote = match &config.redis_url {
            Some(url) if credentials.or(addresses).is_some() => {
                // A connection of its own: the cache may be off, and neither should wait for the other.
                let remote = Remote::new(
                    ("the count of requests", "rate limit connection to Redis"),
                    url.expose(),
                    config.redis_ca.as_deref(),
                    String::new(),
                    budget,
                )
                .map_err(Error::Internal)?;
                Some(Arc::new(remote))
            }
            _ => None,
        };
        let policy = |of: Counted, rate: Option<Rate>| {
            let text = rate.map(|rate| format!("\"{}\";q={};w=60", of.name(), rate.each_minute));
            text.and_then(|text| HeaderValue::from_maybe_shared(text).ok()).unwrap_or(HeaderValue::from_static(""))
        };
        let shared = remote.is_some();
        Ok(Self {
            policies: Counted::ALL.map(|of| policy(of, if of == Counted::Address { addresses } else { credentials })),
            credentials: credentials.map(|rate| Buckets::new(rate, shared)),
            addresses: addresses.map(|rate| Buckets::new(rate, shared)),
            remote,
            prefix: format!("{}limits:", config.cache_prefix),
            doubted: Semaphore::new(MOST_DOUBTED),
            looked_up: Semaphore::new(1),
        })
    }

    /// Counts a request of the credential `id`. Errors: 429 when its quota is used up.
    pub fn credential(&self, of: Counted, id: Uuid) -> Result<()> {
        let Some(buckets) = &self.credentials else { return Ok(()) };
        settle(buckets.take(id.as_u128(), of), &buckets.rate)
    }

    /// Counts a request without a good credential from `network`. Errors: 429 when its quota is used up.
    pub fn stranger(&self, network: IpAddr) -> Result<()> {
        let Some(buckets) = &self.addresses else { return Ok(()) };
        settle(buckets.take(number(network), Counted::Address), &buckets.rate)
    }

    /// Before an unknown credential from `network` is looked up. Whoever sends nonsense from there must not cost the
    /// database more than one query at a time, and a good credential that comes from there must still be recognised: so
    /// past its quota it waits in line, until what it is given is dropped. Errors: 429 when the line is too long.
    pub async fn doubt(&self, network: IpAddr) -> Result<Option<Doubt<'_>>> {
        let Some(buckets) = self.addresses.as_ref().filter(|buckets| buckets.is_empty(number(network))) else {
            return Ok(None);
        };
        let full =
            || settle(buckets.take(number(network), Counted::Address), &buckets.rate).err().unwrap_or(Error::busy());
        let place = self.doubted.try_acquire().map_err(|_| full())?;
        let turn = self.looked_up.acquire().await.map_err(|_| full())?;
        Ok(Some(Doubt { _place: place, _turn: turn }))
    }

    /// The value of `RateLimit-Policy`.
    pub fn policy(&self, of: Counted) -> HeaderValue {
        self.policies[of as usize].clone()
    }

    /// Keeps the buckets together with those of other replicas, and forgets the full ones, as long as the limits live.
    pub fn keep_up(this: &Arc<Self>, supervisor: &Supervisor) {
        if this.credentials.is_none() && this.addresses.is_none() {
            return;
        }
        if let Some(remote) = &this.remote {
            Remote::keep_connected(remote, supervisor);
        }
        let this = Arc::downgrade(this);
        supervisor.spawn(Task::named("rate limits"), move |pulse| Self::exchange(this.clone(), pulse));
    }

    async fn exchange(this: Weak<Self>, pulse: Pulse) -> Outcome {
        let mut ticks = tokio::time::interval(share::EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for number in 1u64.. {
            ticks.tick().await;
            let Some(limits) = this.upgrade() else { break };
            limits.tend(number.is_multiple_of(SWEPT_EVERY)).await;
            pulse.succeeded();
        }
        Ok(())
    }

    async fn tend(&self, sweep: bool) {
        for (name, buckets) in [("c:", &self.credentials), ("a:", &self.addresses)] {
            let Some(buckets) = buckets else { continue };
            if let Some(remote) = &self.remote {
                share::exchange(remote, &format!("{}{name}", self.prefix), buckets).await;
            }
            if sweep {
                buckets.sweep();
            }
        }
    }
}

/// A turn in the line of credentials that are looked up although their address had too many bad ones.
pub struct Doubt<'l> {
    _place: SemaphorePermit<'l>,
    _turn: SemaphorePermit<'l>,
}

fn number(network: IpAddr) -> u128 {
    match network {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn settle(drawn: Drawn, rate: &Rate) -> Result<()> {
    crate::context::counted(drawn.quota);
    let Some(wait) = drawn.wait else { return Ok(()) };
    let of = drawn.quota.of;
    metrics::refused(of.name());
    let after = u32::try_from(wait.div_ceil(1_000_000_000)).unwrap_or(u32::MAX);
    let whose = match of {
        Counted::Key => "This API key",
        Counted::Session => "This session",
        Counted::Address => "Your address, without a good credential,",
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
