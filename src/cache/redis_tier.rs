//! The shared cache tier in Redis, used by all replicas. Its entries are never trusted (one counts only if its
//! snapshot saw all changes that concern it) and its failures never block: absent, slow, full or broken, it costs cache misses only.

use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Cmd, ConnectionInfo, FromRedisValue, IntoConnectionInfo, RedisResult, cmd};
use deadpool_redis::{Manager, Pool, Runtime};
use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore};
use utoipa::ToSchema;

use super::args::RedisArgs;
use super::codec::{self, StoredEntry};
use super::entry::{Entry, Key};
use crate::base::error::Error;
use crate::base::supervisor::{Outcome, Pulse, Supervisor, Task, detach};

/// Consecutive failures after which the circuit breaker opens: Redis is not used until it answers a PING.
const OPENS_AFTER: u32 = 5;
/// Time limit for connecting and for the answer to that PING.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Concurrent writes to Redis; entries beyond that are not stored.
const MAX_PENDING_WRITES: usize = 256;
/// Keys that one step of a purge scans.
const SCAN_STEP: usize = 1_000;

pub struct RedisTier {
    serves: &'static str,
    /// Name of the background task that keeps it connected.
    task: &'static str,
    pool: Pool,
    prefix: String,
    budget: Duration,
    /// One connection shared by all requests. A pooled connection per request, with its recycling, was a quarter as
    /// fast.
    link: RwLock<Option<MultiplexedConnection>>,
    failures: AtomicU32,
    lost: Notify,
    writes: Arc<Semaphore>,
    errors: AtomicU64,
    /// Why Redis cannot be reached.
    reason: RwLock<Option<String>>,
}

/// The state of Redis as operators see it.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct RedisState {
    pub connected: bool,
    /// `closed` while Redis is used, `open` while it is not, `off` where none is configured.
    pub breaker: &'static str,
    #[schema(required = true)]
    pub uptime_seconds: Option<u64>,
    #[schema(required = true)]
    pub used_memory_bytes: Option<u64>,
    /// Errors and timeouts since the process started.
    pub errors: u64,
    /// Why Redis cannot be reached, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl RedisTier {
    /// Connects to nothing yet; `None` without `REDIS_URL`. `prefix` begins every key. `serves` names, for the log, the
    /// component that works without Redis while it is away; `task` is the background task that keeps it connected.
    /// Errors: 500 with what is wrong with the URL or the file of certificate authorities.
    pub fn open(
        args: &RedisArgs,
        prefix: String,
        (serves, task): (&'static str, &'static str),
    ) -> Result<Option<Arc<Self>>, Error> {
        let Some(url) = &args.redis_url else { return Ok(None) };
        let address = address(url.expose(), args.redis_ca.as_deref()).map_err(Error::Internal)?;
        let manager = Manager::new(address).map_err(|error| Error::Internal(error.to_string()))?;
        let pool = Pool::builder(manager)
            .max_size(1)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .build()
            .map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Some(Arc::new(Self {
            serves,
            task,
            pool,
            prefix,
            budget: Duration::from_millis(args.redis_timeout_ms),
            link: RwLock::new(None),
            failures: AtomicU32::new(0),
            lost: Notify::new(),
            writes: Arc::new(Semaphore::new(MAX_PENDING_WRITES)),
            errors: AtomicU64::new(0),
            reason: RwLock::new(None),
        })))
    }

    /// Connects, and reconnects whenever the connection is lost, until the cache is dropped.
    pub fn keep_connected(this: &Arc<Self>, supervisor: &Supervisor) {
        let (task, this) = (Task::named(this.task), Arc::downgrade(this));
        supervisor.spawn(task, move |pulse| Self::connects(this.clone(), pulse));
    }

    async fn connects(this: Weak<Self>, pulse: Pulse) -> Outcome {
        let pauses = || {
            let least = ExponentialBuilder::default().with_min_delay(Duration::from_millis(50));
            least.with_max_delay(Duration::from_secs(5)).with_jitter().without_max_times().build()
        };
        let mut pause = pauses();
        loop {
            let Some(remote) = this.upgrade() else { return Ok(()) };
            match remote.connect().await {
                Ok(link) => {
                    *remote.link.write() = Some(link);
                    remote.failures.store(0, Ordering::Relaxed);
                    *remote.reason.write() = None;
                    tracing::info!("Redis is connected");
                    pulse.succeeded();
                    pause = pauses();
                    drop(remote);
                    if !Self::until_lost(&this).await {
                        return Ok(());
                    }
                    tracing::warn!("Redis does not answer and is left alone until it does");
                }
                Err(error) => {
                    remote.errors.fetch_add(1, Ordering::Relaxed);
                    pulse.failed(error.clone());
                    // Logged once for each reason: attempts go on as long as the process lives.
                    if remote.reason.write().replace(error.clone()).as_ref() != Some(&error) {
                        tracing::warn!(%error, "Redis cannot be reached; {} goes on without it", remote.serves);
                    }
                    drop(remote);
                }
            }
            tokio::time::sleep(pause.next().unwrap_or(CONNECT_TIMEOUT)).await;
        }
    }

    /// Waits until the connection is lost; `false` when the cache was dropped.
    async fn until_lost(this: &Weak<Self>) -> bool {
        loop {
            let Some(remote) = this.upgrade() else { return false };
            if tokio::time::timeout(CONNECT_TIMEOUT, remote.lost.notified()).await.is_ok() {
                return true;
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let connection = self.pool.get().await.map_err(|error| error.to_string())?;
        // Taken out of the pool, so that the next attempt makes a new one.
        let mut link = deadpool_redis::Connection::take(connection);
        let ping = cmd("PING");
        let answered = tokio::time::timeout(CONNECT_TIMEOUT, ping.query_async::<String>(&mut link)).await;
        answered.map_err(|_| "no answer to PING".to_owned())?.map_err(|error| error.to_string())?;
        Ok(link)
    }

    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub fn is_connected(&self) -> bool {
        self.link.read().is_some()
    }

    /// Returns the reply to `command`; `None` on an error, without a reply within `budget`, or while the breaker is
    /// open.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd, budget: Duration) -> Option<T> {
        let mut link = self.link.read().clone()?;
        match tokio::time::timeout(budget, command.query_async::<T>(&mut link)).await {
            Ok(Ok(answer)) => {
                self.failures.store(0, Ordering::Relaxed);
                Some(answer)
            }
            failed => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                // An error reply (out of memory, a wrong type) shows that Redis is reachable.
                let refused = matches!(&failed, Ok(Err(error)) if !error.is_io_error() && !error.is_timeout() && !error.is_connection_dropped());
                if !refused && self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= OPENS_AFTER {
                    let open = self.link.write().take();
                    if open.is_some() {
                        self.lost.notify_one();
                    }
                }
                None
            }
        }
    }

    /// Returns the entry of `key`, valid or not.
    pub async fn get(&self, key: &Key) -> Option<StoredEntry> {
        let name = self.name(key);
        let bytes: Option<Vec<u8>> = self.ask(cmd("GET").arg(name), self.budget).await?;
        codec::decode(key, &bytes?)
    }

    /// Stores `entry` in the background.
    pub fn set(self: &Arc<Self>, key: Key, entry: Arc<Entry>) {
        let Ok(permit) = self.writes.clone().try_acquire_owned() else { return };
        let remote = self.clone();
        detach("cache store in Redis", async move {
            let millis = entry.ttl.as_millis().max(1) as u64;
            let mut set = cmd("SET");
            set.arg(remote.name(&key)).arg(codec::encode(&key, &entry)).arg("PX").arg(millis);
            remote.ask::<()>(&set, remote.budget * 10).await;
            drop(permit);
        });
    }

    /// Deletes `key` in the background. Only saves memory in Redis.
    pub fn invalidate(self: &Arc<Self>, key: &Key) {
        let Ok(permit) = self.writes.clone().try_acquire_owned() else { return };
        let (remote, name) = (self.clone(), self.name(key));
        detach("cache purge in Redis", async move {
            remote.ask::<i64>(cmd("UNLINK").arg(name), remote.budget * 10).await;
            drop(permit);
        });
    }

    /// Deletes all entries of a business, of a resource, or all. Returns how many; `None` when Redis does not respond.
    pub async fn purge(&self, business: Option<uuid::Uuid>, resource: Option<&str>) -> Option<u64> {
        let business = business.map_or("*".to_owned(), |id| id.to_string());
        let pattern = format!("{}{business}:{}:*", self.prefix, resource.unwrap_or("*"));
        let (mut cursor, mut purged) = (0u64, 0);
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_STEP);
            let (next, names): (u64, Vec<Vec<u8>>) = self.ask(&scan, CONNECT_TIMEOUT).await?;
            if !names.is_empty() {
                purged += self.ask::<u64>(cmd("UNLINK").arg(names), CONNECT_TIMEOUT).await?;
            }
            if next == 0 {
                return Some(purged);
            }
            cursor = next;
        }
    }

    pub async fn state(&self) -> RedisState {
        let info: Option<String> = self.ask(&cmd("INFO"), CONNECT_TIMEOUT / 2).await;
        let line = |name: &str| {
            let lines = info.as_deref().unwrap_or_default().lines();
            lines
                .filter_map(|line| line.split_once(':'))
                .find(|(known, _)| *known == name)
                .and_then(|(_, v)| v.trim().parse().ok())
        };
        RedisState {
            connected: info.is_some(),
            breaker: if self.is_connected() { "closed" } else { "open" },
            uptime_seconds: line("uptime_in_seconds"),
            used_memory_bytes: line("used_memory"),
            errors: self.errors(),
            reason: self.reason.read().clone(),
        }
    }

    /// `rapport:<shape>:<business>:<resource>:<role>:<hash of the query>`, with the user after the role where the
    /// caller is restricted to their own rows. The entry repeats the query in full.
    fn name(&self, key: &Key) -> String {
        let hash = xxhash_rust::xxh3::xxh3_128(key.query.as_bytes());
        let person = key.restricted_to.map(|person| format!("-{person}")).unwrap_or_default();
        format!("{}{}:{}:{}{person}:{hash:032x}", self.prefix, key.business, key.resource, key.role)
    }
}

/// Parses the URL of Redis and sets how its certificate is verified.
fn address(url: &str, ca: Option<&Path>) -> Result<ConnectionInfo, String> {
    let explained = |info: RedisResult<ConnectionInfo>| info.map_err(|error| error.to_string());
    match ca {
        None => explained(url.into_connection_info()),
        Some(ca) => {
            let pem = std::fs::read(ca).map_err(|error| format!("RAPPORT_REDIS_CA: {}: {error}", ca.display()))?;
            explained(trusting(url, pem)).map_err(|error| format!("RAPPORT_REDIS_CA: {}: {error}", ca.display()))
        }
    }
}

#[cfg(feature = "tls")]
fn trusting(url: &str, pem: Vec<u8>) -> RedisResult<ConnectionInfo> {
    use deadpool_redis::redis::{Client, TlsCertificates};
    let client = Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert: Some(pem) })?;
    Ok(client.get_connection_info().clone())
}

/// Without TLS support such a URL is rejected at startup.
#[cfg(not(feature = "tls"))]
fn trusting(url: &str, _: Vec<u8>) -> RedisResult<ConnectionInfo> {
    url.into_connection_info()
}
