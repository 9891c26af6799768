//! The application state that all requests and background tasks share.

use std::sync::Arc;
use std::time::Duration;

use crate::app::config::Config;
pub use crate::background::Lifecycle;
use crate::background::{Slots, Supervisor, Wakers};
use crate::base::egress::{self, EgressClient};
use crate::base::error::Result;
use crate::base::telemetry::metrics;
use crate::cache::Cache;
use crate::db::{Db, connection_options};
use crate::http::rate_limit::limiter::RateLimiter;

pub struct AppState {
    pub config: Config,
    pub db: Db,
    /// `None` when the cache is off.
    pub cache: Option<Arc<Cache>>,
    pub rate_limiter: Arc<RateLimiter>,
    pub lifecycle: Arc<Lifecycle>,
    /// Runs the background tasks of this process.
    pub supervisor: Supervisor,
    pub wakers: Wakers,
    pub egress: EgressClient,
    /// Webhook deliveries in progress.
    pub delivery_slots: Arc<Slots>,
}

impl AppState {
    /// Creates what the service needs, without connecting. `shape` identifies the format of its responses. Errors: 500
    /// when threads cannot be started.
    pub fn open(config: Config, database_url: &str, shape: u64) -> Result<Self> {
        // First: what is counted before the recorder is installed is lost.
        metrics::install();
        let life = Arc::new(Lifecycle::default());
        let supervisor = Supervisor::new(life.clone());
        let database_url = &connection_options::with_timeouts(database_url);
        let db = Db::open(&config.pool, database_url, &supervisor)?;
        let cache = match config.cache.enabled {
            true => Some(Arc::new(Cache::open(
                &config.cache,
                &config.redis,
                database_url,
                shape,
                &supervisor,
                db.guard().clone(),
            )?)),
            false => None,
        };
        let limits = Arc::new(RateLimiter::open(&config.rate_limit, &config.redis)?);
        let patience = Duration::from_secs(config.webhooks.webhook_timeout_seconds);
        let bounds = egress::EgressPolicy::new(&config.webhooks.webhook_allowed_networks);
        let outbound = EgressClient::new(bounds, patience, egress::system());
        let sending =
            Arc::new(Slots::new(config.webhooks.webhook_concurrency, config.webhooks.webhook_concurrency_each));
        Ok(Self {
            egress: outbound,
            delivery_slots: sending,
            db,
            cache,
            rate_limiter: limits,
            lifecycle: life,
            supervisor,
            wakers: Wakers::default(),
            config,
        })
    }
}
