//! The application: what every request shares.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::config::Config;
use crate::db::{Db, connection_options};
use crate::error::Result;
pub use crate::jobs::Life;
use crate::jobs::{Bells, Slots, Supervisor};
use crate::limits::Limits;
use crate::ops::metrics;
use crate::outbound::{self, Outbound};

pub struct App {
    pub config: Config,
    pub db: Db,
    /// None when it is switched off.
    pub cache: Option<Arc<Cache>>,
    pub limits: Arc<Limits>,
    pub life: Arc<Life>,
    /// Runs the background tasks of this process.
    pub supervisor: Supervisor,
    pub bells: Bells,
    pub outbound: Outbound,
    /// Webhooks' deliveries that are under way.
    pub sending: Arc<Slots>,
}

impl App {
    /// Opens what the service needs; nothing is connected yet. `shape` identifies the form of its answers.
    /// Errors: 500 when threads cannot be started.
    pub fn open(config: Config, database_url: &str, shape: u64) -> Result<Self> {
        // First: what is counted before there is a recorder is lost.
        metrics::install();
        let life = Arc::new(Life::default());
        let supervisor = Supervisor::new(life.clone());
        let database_url = &connection_options::with_timeouts(database_url);
        let db = Db::open(&config, database_url, &supervisor)?;
        let cache = match config.cache {
            true => Some(Arc::new(Cache::open(&config, database_url, shape, &supervisor, db.guard().clone())?)),
            false => None,
        };
        let limits = Arc::new(Limits::open(&config)?);
        let patience = Duration::from_secs(config.webhook_timeout_seconds);
        let bounds = outbound::Bounds::new(&config.webhook_networks);
        let outbound = Outbound::new(bounds, patience, outbound::system());
        let sending = Arc::new(Slots::new(config.webhook_concurrency, config.webhook_concurrency_each));
        Ok(Self { outbound, sending, db, cache, limits, life, supervisor, bells: Bells::default(), config })
    }
}
