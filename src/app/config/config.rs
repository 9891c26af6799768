//! The options of `rapport serve` and `rapport worker`: those of all components, and the rules between them.

use clap::Args;

use super::server_args::ServerArgs;
use crate::auth::CredentialArgs;
use crate::background::args::BackgroundArgs;
use crate::base::email::EmailArgs;
use crate::base::options::OptionErrors;
use crate::base::telemetry::logging::LogArgs;
use crate::cache::{CacheArgs, RedisArgs};
use crate::channels::args::ChannelArgs;
use crate::crm::privacy::args::PrivacyArgs;
use crate::db::{DatabaseArgs, PoolArgs};
use crate::http::args::HttpArgs;
use crate::http::rate_limit::args::RateLimitArgs;
use crate::identity::args::{OidcArgs, SignInArgs};
use crate::integrations::events::args::EventArgs;
use crate::integrations::import::args::ImportArgs;
use crate::integrations::webhooks::args::WebhookArgs;
use crate::monitoring::args::MonitoringArgs;
use crate::resource::args::ReadArgs;

/// Every option of the service, by component; the field of an option is named as its flag.
#[derive(Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub reads: ReadArgs,
    #[command(flatten)]
    pub pool: PoolArgs,
    #[command(flatten)]
    pub monitoring: MonitoringArgs,
    #[command(flatten)]
    pub http: HttpArgs,
    #[command(flatten)]
    pub rate_limit: RateLimitArgs,
    #[command(flatten)]
    pub credentials: CredentialArgs,
    #[command(flatten)]
    pub sign_in: SignInArgs,
    #[command(flatten)]
    pub oidc: OidcArgs,
    #[command(flatten)]
    pub email: EmailArgs,
    #[command(flatten)]
    pub privacy: PrivacyArgs,
    #[command(flatten)]
    pub background: BackgroundArgs,
    #[command(flatten)]
    pub events: EventArgs,
    #[command(flatten)]
    pub webhooks: WebhookArgs,
    #[command(flatten)]
    pub imports: ImportArgs,
    #[command(flatten)]
    pub channels: ChannelArgs,
}

impl Config {
    /// Returns all errors of the configuration, each with what to do.
    pub fn errors(&self) -> Vec<String> {
        let mut errors = OptionErrors::default();
        self.database.validate(&mut errors);
        self.server.validate(&mut errors);
        self.log.validate(&mut errors);
        self.redis.validate(&mut errors);
        self.cache.validate(&mut errors);
        self.pool.validate(&mut errors);
        self.http.validate(&mut errors);
        self.rate_limit.validate(&mut errors);
        self.credentials.validate(&mut errors);
        self.sign_in.validate(&mut errors);
        self.oidc.validate(&mut errors);
        self.email.validate(&mut errors);
        self.events.validate(&mut errors);
        self.webhooks.validate(&mut errors);
        self.channels.validate(&mut errors);
        self.validate_together(&mut errors);
        errors.into_vec()
    }

    /// Checks the rules between options of several components.
    fn validate_together(&self, errors: &mut OptionErrors) {
        let request_ms = self.http.request_timeout_ms;
        errors.check(
            (1..=request_ms).contains(&self.pool.statement_timeout_ms),
            "RAPPORT_STATEMENT_TIMEOUT_MS must be at least 1 and not above RAPPORT_REQUEST_TIMEOUT_MS",
        );
        errors.check(
            self.pool.lock_wait_ms <= request_ms,
            "RAPPORT_LOCK_WAIT_MS must not be above RAPPORT_REQUEST_TIMEOUT_MS",
        );
        errors.check(
            (1..=request_ms).contains(&self.cache.cache_validation_timeout_ms),
            "RAPPORT_CACHE_VALIDATION_TIMEOUT_MS must be at least 1 and not above RAPPORT_REQUEST_TIMEOUT_MS",
        );
        errors.check(
            self.database.database_url.is_none() || self.server.dev_api_key.is_none(),
            "RAPPORT_DEV_API_KEY is for the private server only; with DATABASE_URL use `rapport api-key create`",
        );
    }
}
