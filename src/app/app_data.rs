//! What handlers, extractors and the middleware take as `Data<…>`.

use std::time::Duration;

use actix_web::web::{Data, ServiceConfig};

use crate::app::config::Config;
use crate::app::registry::RESOURCES;
use crate::app::state::AppState;
use crate::auth::Authenticator;
use crate::background::{JobWaker, Lifecycle, Supervisor};
use crate::base::email::Mailer;
use crate::base::error::Result;
use crate::channels::inbound::receiver::InboundReceiver;
use crate::channels::media::http::AttachmentSettings;
use crate::channels::receipts::typing_indicator::TypingIndicator;
use crate::channels::secrets::SecretStore;
use crate::channels::sending::sender::SendWaker;
use crate::channels::whatsapp::webhook::WhatsAppSecrets;
use crate::channels::worker_tasks::waiters::ClaimWaiters;
use crate::crm::privacy::PrivacySettings;
use crate::db::Db;
use crate::http::payload::BodyLimits;
use crate::http::rate_limit::limiter::RateLimiter;
use crate::http::settings::HttpSettings;
use crate::identity::services::IdentityServices;
use crate::integrations::events::{Broadcaster, EventRegistry, SignalRelay, StreamSettings};
use crate::integrations::import::ImportSettings;
use crate::integrations::webhooks::DeliveryWaker;
use crate::monitoring::cache::CacheSettings;
use crate::resource::{ReadOptions, ReadService};

/// The shared data of a server; every worker thread registers a clone.
#[derive(Clone)]
pub struct AppData {
    pub db: Data<Db>,
    pub lifecycle: Data<Lifecycle>,
    pub supervisor: Data<Supervisor>,
    pub rate_limiter: Data<RateLimiter>,
    pub authenticator: Data<Authenticator>,
    pub identity: IdentityServices,
    pub reads: Data<ReadService>,
    pub event_registry: Data<EventRegistry>,
    pub broadcaster: Data<Broadcaster>,
    pub signal_relay: Data<SignalRelay>,
    pub job_waker: Data<JobWaker>,
    pub delivery_waker: Data<DeliveryWaker>,
    pub http_settings: Data<HttpSettings>,
    pub body_limits: Data<BodyLimits>,
    pub cache_settings: Data<CacheSettings>,
    pub import_settings: Data<ImportSettings>,
    pub attachment_settings: Data<AttachmentSettings>,
    pub privacy_settings: Data<PrivacySettings>,
    pub channel_secrets: Data<SecretStore>,
    pub whatsapp_secrets: Data<WhatsAppSecrets>,
    pub inbound: Data<InboundReceiver>,
    pub send_waker: Data<SendWaker>,
    pub typing_indicator: Data<TypingIndicator>,
    pub claim_waiters: Data<ClaimWaiters>,
}

impl AppData {
    /// Creates it from the state of the process. Errors: signing in cannot be set up.
    pub fn open(app: &AppState) -> std::io::Result<Self> {
        let (config, db) = (&app.config, &app.db);
        let authenticator = Data::new(Authenticator::new(db.clone(), app.cache.clone(), &config.credentials));
        let identity = open_identity(app, authenticator.clone());
        let event_registry = EventRegistry::from_resources(&RESOURCES);
        let broadcaster = Data::new(Broadcaster::new(db.clone(), stream_settings(config)));
        let redis = app.cache.as_ref().and_then(|cache| cache.redis().cloned());
        let signal_relay = SignalRelay::new(broadcaster.clone(), event_registry, redis, &config.redis.cache_prefix);
        Ok(Self {
            db: Data::new(db.clone()),
            lifecycle: Data::from(app.lifecycle.clone()),
            supervisor: Data::new(app.supervisor.clone()),
            rate_limiter: Data::from(app.rate_limiter.clone()),
            authenticator,
            identity: identity.map_err(std::io::Error::other)?,
            reads: Data::new(ReadService::new(db.clone(), app.cache.clone(), read_options(config))),
            event_registry: Data::new(event_registry),
            broadcaster,
            signal_relay: Data::new(signal_relay),
            job_waker: Data::new(app.job_waker.clone()),
            delivery_waker: Data::new(app.delivery_waker.clone()),
            http_settings: Data::new(http_settings(app)),
            body_limits: Data::new(body_limits(config)),
            cache_settings: Data::new(CacheSettings {
                resources: &RESOURCES,
                capacity_bytes: config.cache.cache_bytes,
            }),
            import_settings: Data::new(ImportSettings {
                max_bytes: config.imports.import_bytes,
                retention_days: config.imports.import_retention_days,
            }),
            attachment_settings: Data::new(AttachmentSettings { max_bytes: config.channels.attachment_bytes }),
            privacy_settings: Data::new(privacy_settings(config)),
            channel_secrets: Data::new(app.channel_secrets.clone()),
            whatsapp_secrets: Data::new(WhatsAppSecrets {
                app_secrets: config.channels.whatsapp_app_secret.clone(),
                verify_tokens: config.channels.whatsapp_verify_token.clone(),
            }),
            inbound: Data::from(app.inbound.clone()),
            send_waker: Data::new(app.send_waker.clone()),
            typing_indicator: Data::new(TypingIndicator::new(
                db.clone(),
                app.channel_directory.clone(),
                app.adapters.clone(),
            )),
            claim_waiters: Data::new(ClaimWaiters::new(db.clone())),
        })
    }

    /// Registers all of it.
    pub fn register(&self, config: &mut ServiceConfig) {
        self.identity.register(config);
        config
            .app_data(self.db.clone())
            .app_data(self.lifecycle.clone())
            .app_data(self.supervisor.clone())
            .app_data(self.rate_limiter.clone())
            .app_data(self.authenticator.clone())
            .app_data(self.reads.clone())
            .app_data(self.event_registry.clone())
            .app_data(self.broadcaster.clone())
            .app_data(self.signal_relay.clone())
            .app_data(self.job_waker.clone())
            .app_data(self.delivery_waker.clone())
            .app_data(self.http_settings.clone())
            .app_data(self.body_limits.clone())
            .app_data(self.cache_settings.clone())
            .app_data(self.import_settings.clone())
            .app_data(self.attachment_settings.clone())
            .app_data(self.privacy_settings.clone())
            .app_data(self.channel_secrets.clone())
            .app_data(self.whatsapp_secrets.clone())
            .app_data(self.inbound.clone())
            .app_data(self.send_waker.clone())
            .app_data(self.typing_indicator.clone())
            .app_data(self.claim_waiters.clone());
    }
}

fn read_options(config: &Config) -> ReadOptions {
    ReadOptions {
        db_wait: Duration::from_millis(config.pool.db_wait_ms),
        // Single reads wait for a batch, not for a connection each, so more of them may wait.
        max_pending_reads: config.pool.db_queue * 4,
        refreshes: config.reads.cache_refresh_ms > 0,
        warmup_queries: config.reads.cache_warmup_queries,
        body_depth: config.http.body_depth,
        cache_ttl: config.reads.cache_ttl.clone(),
    }
}

fn open_identity(app: &AppState, authenticator: Data<Authenticator>) -> Result<IdentityServices> {
    let config = &app.config;
    // Where the embedded server runs, the reader of the log is the developer.
    let mailer = Mailer::open(&config.email, config.database.database_url.is_none())?;
    IdentityServices::open(&app.db, authenticator, &config.sign_in, &config.oidc, mailer, &app.supervisor)
}

fn http_settings(app: &AppState) -> HttpSettings {
    HttpSettings {
        request_timeout: Duration::from_millis(app.config.http.request_timeout_ms),
        trusted_proxies: app.config.http.trusted_proxies.clone(),
        cors_origins: app.config.http.cors_origins.clone(),
        egress_policy: app.egress.policy.clone(),
    }
}

fn body_limits(config: &Config) -> BodyLimits {
    BodyLimits {
        max_bytes: config.http.body_limit,
        max_batch_bytes: config.http.batch_body_limit.max(config.http.body_limit),
        max_depth: config.http.body_depth,
        timeout: Duration::from_millis(config.http.body_timeout_ms),
    }
}

fn stream_settings(config: &Config) -> StreamSettings {
    StreamSettings {
        max_streams: config.events.max_event_streams,
        max_streams_per_business: config.events.max_event_streams_per_business,
        max_queued_events: config.events.stream_buffer,
        heartbeat: Duration::from_secs(config.events.stream_heartbeat_seconds),
        max_age: Duration::from_secs(config.events.stream_minutes * 60),
        poll_period: Duration::from_millis(config.events.stream_poll_ms),
    }
}

fn privacy_settings(config: &Config) -> PrivacySettings {
    let computed = config.http.request_timeout_ms + config.pool.db_wait_ms + config.pool.statement_timeout_ms;
    PrivacySettings {
        max_export_rows: config.privacy.export_rows,
        longest_read: Duration::from_millis(computed + 10 * config.redis.redis_timeout_ms),
    }
}
