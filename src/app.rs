//! The application: what every request shares.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use crate::cache::Cache;
use crate::config::Config;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::jobs::{Bells, Slots};
use crate::limits::Limits;
use crate::outbound::{self, Outbound};

pub struct App {
    pub config: Config,
    pub db: Db,
    /// None when it is switched off.
    pub cache: Option<Arc<Cache>>,
    pub limits: Arc<Limits>,
    pub life: Life,
    pub bells: Bells,
    pub outbound: Outbound,
    /// Webhooks' deliveries that are under way.
    pub sending: Arc<Slots>,
}

impl App {
    /// Opens what the service needs; nothing is connected yet. `shape` identifies the form of its answers.
    /// Errors: 500 when threads cannot be started.
    pub fn open(config: Config, database_url: &str, shape: u64) -> Result<Self> {
        let db = Db::open(&config, database_url)?;
        let cache = match config.cache {
            true => Some(Arc::new(Cache::open(&config, database_url, shape)?)),
            false => None,
        };
        let limits = Arc::new(Limits::open(&config)?);
        let patience = Duration::from_secs(config.webhook_timeout_seconds);
        let bounds = outbound::Bounds::new(&config.webhook_networks);
        let outbound = Outbound::open(bounds, patience, outbound::system()).map_err(Error::Internal)?;
        let sending = Arc::new(Slots::new(config.webhook_concurrency, config.webhook_concurrency_each));
        Ok(Self { outbound, sending, db, cache, limits, life: Life::default(), bells: Bells::default(), config })
    }
}

/// Where the process is between start and stop; what the probes tell.
#[derive(Debug)]
pub struct Life {
    pub began: Instant,
    ready: AtomicBool,
    draining: AtomicBool,
    /// Why requests should not come although it has started, by the component that says so.
    impaired: RwLock<BTreeMap<&'static str, String>>,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            impaired: RwLock::default(),
        }
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

    /// `component` cannot serve, for `reason`, until [`Life::recovered`] is called: readiness fails and tells it.
    /// Logged where it is new.
    pub fn impair(&self, component: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        let before = self.impaired.write().insert(component, reason.clone());
        if before.as_deref() != Some(&reason) {
            tracing::error!(component, reason, "not ready");
        }
    }

    /// `component` serves again.
    pub fn recovered(&self, component: &'static str) {
        if self.impaired.read().contains_key(component) && self.impaired.write().remove(component).is_some() {
            tracing::info!(component, "recovered");
        }
    }

    /// The components that cannot serve, each with the reason.
    pub fn impairments(&self) -> BTreeMap<&'static str, String> {
        self.impaired.read().clone()
    }

    pub fn is_ready(&self) -> bool {
        self.is_started() && !self.is_draining() && self.impaired.read().is_empty()
    }
}
