//! The state of a process: what is opened once, before anything serves or runs.

use std::sync::Arc;
use std::time::Duration;

use crate::app::config::Config;
use crate::background::{JobWaker, Lifecycle, Supervisor, Waker};
use crate::base::egress::{self, EgressClient, EgressPolicy};
use crate::base::error::{Error, Result};
use crate::base::telemetry::metrics;
use crate::cache::Cache;
use crate::channels::directory::ChannelDirectory;
use crate::channels::inbound::receiver::InboundReceiver;
use crate::channels::secrets::{SealingKeys, SecretStore};
use crate::channels::sending::loopback::Loopback;
use crate::channels::sending::outbound::Adapters;
use crate::channels::sending::sender::SendWaker;
use crate::channels::whatsapp::cloud_api::CloudApi;
use crate::channels::whatsapp::graph::GraphClient;
use crate::db::{Db, connection_options};
use crate::http::rate_limit::limiter::RateLimiter;
use crate::integrations::webhooks::DeliveryWaker;

/// Only `app/` knows it: it hands each component what that needs.
pub struct AppState {
    pub config: Config,
    pub db: Db,
    /// `None` when the cache is off.
    pub cache: Option<Arc<Cache>>,
    pub rate_limiter: Arc<RateLimiter>,
    pub lifecycle: Arc<Lifecycle>,
    /// Runs the background tasks of this process.
    pub supervisor: Supervisor,
    pub egress: Arc<EgressClient>,
    pub job_waker: JobWaker,
    pub delivery_waker: DeliveryWaker,
    /// Wakes the reader for event streams: events were sequenced.
    pub event_waker: Waker,
    pub channel_secrets: SecretStore,
    pub channel_directory: Arc<ChannelDirectory>,
    pub inbound: Arc<InboundReceiver>,
    pub graph: GraphClient,
    /// Hand over what goes out through channels.
    pub adapters: Adapters,
    pub send_waker: SendWaker,
}

impl AppState {
    /// Creates what the service needs, without connecting. `shape` identifies the format of its responses. Errors: 500
    /// when threads cannot be started.
    pub fn open(config: Config, database_url: &str, shape: u64) -> Result<Self> {
        // First: what is counted before the recorder is installed is lost.
        metrics::install();
        let lifecycle = Arc::new(Lifecycle::default());
        let supervisor = Supervisor::new(lifecycle.clone());
        let database_url = &connection_options::with_timeouts(database_url);
        let db = Db::open(&config.pool, database_url, &supervisor)?;
        let cache = match config.cache.enabled {
            true => Some(Arc::new(Cache::open(
                &config.cache,
                &config.redis,
                // One server has all rows.
                std::slice::from_ref(database_url),
                shape,
                &supervisor,
                db.guard().clone(),
            )?)),
            false => None,
        };
        let rate_limiter = Arc::new(RateLimiter::open(&config.rate_limit, &config.redis)?);
        let egress_policy = EgressPolicy::new(&config.webhooks.webhook_allowed_networks);
        let timeout = Duration::from_secs(config.webhooks.webhook_timeout_seconds);
        let egress = Arc::new(EgressClient::new(egress_policy, timeout, egress::system()));
        let sealing_keys =
            config.channels.sealing_key.as_ref().map(|keys| SealingKeys::parse(keys.expose())).transpose();
        let sealing_keys = sealing_keys.map_err(Error::Internal)?;
        let channel_secrets = SecretStore::new(sealing_keys, config.channels.secrets_dir.clone());
        let trust = Duration::from_millis(config.credentials.credential_cache_ms);
        let channel_directory =
            Arc::new(ChannelDirectory::new(db.clone(), cache.clone(), channel_secrets.clone(), trust));
        let inbound = Arc::new(InboundReceiver::new(db.clone(), channel_directory.clone()));
        let graph = GraphClient::new(&config.channels.whatsapp_api_url);
        Ok(Self {
            config,
            db,
            cache,
            rate_limiter,
            lifecycle,
            supervisor,
            egress,
            job_waker: JobWaker::default(),
            delivery_waker: DeliveryWaker::default(),
            event_waker: Waker::default(),
            channel_secrets,
            channel_directory,
            adapters: Adapters {
                whatsapp: Arc::new(CloudApi::new(graph.clone())),
                loopback: Arc::new(Loopback::new(inbound.clone())),
            },
            inbound,
            graph,
            send_waker: SendWaker::default(),
        })
    }
}
