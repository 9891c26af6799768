//! The application: what every request shares.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::config::Config;
use crate::db::Db;
use crate::error::Result;

pub struct App {
    pub config: Config,
    pub db: Db,
    pub redis: Option<deadpool_redis::Pool>,
    pub life: Life,
}

impl App {
    /// Opens what the service needs; nothing is connected yet. Errors: 500 when threads cannot be started.
    pub fn open(config: Config, database_url: &str) -> Result<Self> {
        let db = Db::open(&config, database_url)?;
        let redis = config.redis_url.as_ref().and_then(|url| {
            let pool =
                deadpool_redis::Config::from_url(url.expose()).create_pool(Some(deadpool_redis::Runtime::Tokio1));
            pool.inspect_err(|error| tracing::warn!(%error, "Redis is configured but cannot be used")).ok()
        });
        Ok(Self { db, redis, life: Life::default(), config })
    }
}

/// Where the process is between start and stop; what the probes tell.
#[derive(Debug)]
pub struct Life {
    pub began: Instant,
    ready: AtomicBool,
    draining: AtomicBool,
}

impl Default for Life {
    fn default() -> Self {
        Self { began: Instant::now(), ready: AtomicBool::new(false), draining: AtomicBool::new(false) }
    }
}

impl Life {
    /// The schema is this binary's: requests may come.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The process was told to stop: no new requests, please.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub fn is_started(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub fn is_ready(&self) -> bool {
        self.is_started() && !self.is_draining()
    }
}
