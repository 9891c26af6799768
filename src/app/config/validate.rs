//! Validates the configuration: ranges of options and rules between them.

use super::log_filter::log_filter_faults;
use super::values::is_origin;
use super::{Config, Metrics};

/// Largest rate limit: one request in a microsecond, the unit in which replicas synchronise.
const MAX_PER_MINUTE: u32 = 60_000_000;
const MAX_BURST: u32 = 1_000_000;

impl Config {
    /// Returns all errors of the configuration, each with what to do.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |good: bool, text: &str| {
            if !good {
                faults.push(text.to_owned());
            }
        };
        check((1..=256).contains(&self.db_connections), "RAPPORT_DB_CONNECTIONS must be 1 to 256");
        check(self.db_queue >= 1, "RAPPORT_DB_QUEUE must be at least 1");
        check((1..=100).contains(&self.db_tenant_share_percent), "RAPPORT_DB_TENANT_SHARE_PERCENT must be 1 to 100");
        check(self.db_prepared <= 10_000, "RAPPORT_DB_PREPARED must be 0 to 10000");
        check(self.http_workers != Some(0), "RAPPORT_HTTP_WORKERS must be at least 1");
        check(self.body_limit >= 1024, "RAPPORT_BODY_LIMIT must be at least 1024 bytes");
        check((2..=64).contains(&self.body_depth), "RAPPORT_BODY_DEPTH must be 2 to 64");
        check(
            self.statement_timeout_ms >= 1 && self.statement_timeout_ms <= self.request_timeout_ms,
            "RAPPORT_STATEMENT_TIMEOUT_MS must be at least 1 and not above RAPPORT_REQUEST_TIMEOUT_MS",
        );
        check(
            self.lock_wait_ms <= self.request_timeout_ms,
            "RAPPORT_LOCK_WAIT_MS must not be above RAPPORT_REQUEST_TIMEOUT_MS",
        );
        check(
            self.cache_bytes == 0 || self.cache_bytes >= 1024 * 1024,
            "RAPPORT_CACHE_BYTES must be 0 (Redis only) or at least 1048576",
        );
        check(
            self.cache_validation_timeout_ms >= 1 && self.cache_validation_timeout_ms <= self.request_timeout_ms,
            "RAPPORT_CACHE_VALIDATION_TIMEOUT_MS must be at least 1 and not above RAPPORT_REQUEST_TIMEOUT_MS",
        );
        check(
            self.cache_prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_-".contains(&byte)),
            "RAPPORT_CACHE_PREFIX may have letters, digits, `:`, `_` and `-`",
        );
        check(self.redis_timeout_ms >= 1, "RAPPORT_REDIS_TIMEOUT_MS must be at least 1");
        check(
            self.token_secret.as_ref().is_none_or(|secret| secret.expose().len() >= 32),
            "RAPPORT_TOKEN_SECRET must have at least 32 characters",
        );
        check((30..=86_400).contains(&self.token_seconds), "RAPPORT_TOKEN_SECONDS must be 30 to 86400");
        check((1..=3650).contains(&self.session_days), "RAPPORT_SESSION_DAYS must be 1 to 3650");
        check((1..=64).contains(&self.password_threads), "RAPPORT_PASSWORD_THREADS must be 1 to 64");
        check(self.password_queue >= 1, "RAPPORT_PASSWORD_QUEUE must be at least 1");
        check(self.sign_in_attempts >= 1, "RAPPORT_SIGN_IN_ATTEMPTS must be at least 1");
        check(
            self.rate_limit.max(self.rate_limit_address) <= MAX_PER_MINUTE,
            "RAPPORT_RATE_LIMIT and RAPPORT_RATE_LIMIT_ADDRESS must be 0 to 60000000",
        );
        check(
            self.rate_burst.is_none_or(|burst| (1..=MAX_BURST).contains(&burst)),
            "RAPPORT_RATE_BURST must be 1 to 1000000",
        );
        check(
            self.oidc_issuer.is_none() == self.oidc_client_id.is_none()
                && self.oidc_issuer.is_none() == self.oidc_redirect_url.is_none(),
            "RAPPORT_OIDC_ISSUER, RAPPORT_OIDC_CLIENT_ID and RAPPORT_OIDC_REDIRECT_URL are set together",
        );
        for url in [&self.oidc_issuer, &self.oidc_redirect_url].into_iter().flatten() {
            check(
                is_base(url),
                "RAPPORT_OIDC_ISSUER and RAPPORT_OIDC_REDIRECT_URL must be addresses such as https://id.example.com",
            );
        }
        check(
            cfg!(feature = "tls") || self.oidc_issuer.as_ref().is_none_or(|url| !url.starts_with("https:")),
            "RAPPORT_OIDC_ISSUER asks for TLS, and this program was built without it",
        );
        check((5..=1440).contains(&self.password_reset_minutes), "RAPPORT_PASSWORD_RESET_MINUTES must be 5 to 1440");
        check((1..=90).contains(&self.invitation_days), "RAPPORT_INVITATION_DAYS must be 1 to 90");
        check(
            self.smtp_url.is_none() || (self.mail_from.is_some() && self.app_url.is_some()),
            "RAPPORT_SMTP_URL needs RAPPORT_MAIL_FROM and RAPPORT_APP_URL",
        );
        check(
            self.app_url.as_ref().is_none_or(|url| is_base(url)),
            "RAPPORT_APP_URL must be an address such as https://app.example.com, without `?` and `#`",
        );
        check(
            self.smtp_url.as_ref().is_none_or(|url| is_smtp(url.expose())),
            "RAPPORT_SMTP_URL must be smtps://host, smtp://host?tls=required, or smtp://host for a server that takes no TLS",
        );
        check(
            cfg!(feature = "tls") || self.smtp_url.as_ref().is_none_or(|url| !asks_for_tls(url.expose())),
            "RAPPORT_SMTP_URL asks for TLS, and this program was built without it",
        );
        check((1..=3650).contains(&self.events_retention_days), "RAPPORT_EVENTS_RETENTION_DAYS must be 1 to 3650");
        check(
            self.max_event_streams_per_business >= 1 && self.max_event_streams_per_business <= self.max_event_streams,
            "RAPPORT_MAX_EVENT_STREAMS_PER_BUSINESS must be at least 1 and not above RAPPORT_MAX_EVENT_STREAMS",
        );
        check((1..=300).contains(&self.stream_heartbeat_seconds), "RAPPORT_STREAM_HEARTBEAT_SECONDS must be 1 to 300");
        check((1..=1440).contains(&self.stream_minutes), "RAPPORT_STREAM_MINUTES must be 1 to 1440");
        check((10..=10_000).contains(&self.stream_poll_ms), "RAPPORT_STREAM_POLL_MS must be 10 to 10000");
        check((1..=60).contains(&self.webhook_timeout_seconds), "RAPPORT_WEBHOOK_TIMEOUT_SECONDS must be 1 to 60");
        check(
            self.webhook_retry_schedule.len() <= 50
                && self.webhook_retry_schedule.iter().all(|pause| *pause <= 7 * 86_400),
            "RAPPORT_WEBHOOK_RETRY_SCHEDULE may have 50 pauses of at most 604800 seconds",
        );
        check(
            self.webhook_concurrency_each >= 1 && self.webhook_concurrency_each <= self.webhook_concurrency,
            "RAPPORT_WEBHOOK_CONCURRENCY_EACH must be at least 1 and not above RAPPORT_WEBHOOK_CONCURRENCY",
        );
        check(
            (1..=8760).contains(&self.webhook_disable_after_hours),
            "RAPPORT_WEBHOOK_DISABLE_AFTER_HOURS must be 1 to 8760",
        );
        check(self.db_wait_ms >= 1, "RAPPORT_DB_WAIT_MS must be at least 1");
        check(
            self.database.database_url.is_none() || self.dev_api_key.is_none(),
            "RAPPORT_DEV_API_KEY is for the private server only; with DATABASE_URL use `rapport api-key create`",
        );
        check(
            self.dev_api_key.as_ref().is_none_or(|key| key.expose().len() >= 16),
            "RAPPORT_DEV_API_KEY must have at least 16 characters",
        );
        check(
            Metrics::On(self.bind) != self.metrics_bind || self.bind.port() == 0,
            "RAPPORT_METRICS_BIND must differ from RAPPORT_BIND",
        );
        check((100..=600_000).contains(&self.write_timeout_ms), "RAPPORT_WRITE_TIMEOUT_MS must be 100 to 600000");
        check((1..=3600).contains(&self.keep_alive_seconds), "RAPPORT_KEEP_ALIVE_SECONDS must be 1 to 3600");
        check((50..=600_000).contains(&self.header_timeout_ms), "RAPPORT_HEADER_TIMEOUT_MS must be 50 to 600000");
        faults.extend(log_filter_faults(&self.log));
        for origin in &self.cors_origins {
            if !is_origin(origin) {
                faults.push(format!("RAPPORT_CORS_ORIGINS: `{origin}` is not an origin like https://app.example.com"));
            }
        }
        if let Some(url) = &self.database.database_url
            && !(url.expose().starts_with("postgres://") || url.expose().starts_with("postgresql://"))
        {
            faults.push("DATABASE_URL must start with postgres:// or postgresql://".to_owned());
        }
        if let Some(url) = &self.redis_url
            && !["redis://", "rediss://", "unix://"].iter().any(|scheme| url.expose().starts_with(scheme))
        {
            faults.push("REDIS_URL must start with redis://, rediss:// or unix://".to_owned());
        }
        if cfg!(not(feature = "tls")) && self.redis_url.as_ref().is_some_and(|url| url.expose().starts_with("rediss:"))
        {
            faults.push("REDIS_URL asks for TLS, and this program was built without it".to_owned());
        }
        if self.redis_url.as_ref().is_some_and(|url| url.expose().ends_with("#insecure")) {
            faults.push(
                "REDIS_URL ends in #insecure, which verifies nothing; name the authority with RAPPORT_REDIS_CA"
                    .to_owned(),
            );
        }
        let verified = self.redis_url.as_ref().is_some_and(|url| url.expose().starts_with("rediss:"));
        if self.redis_ca.is_some() && !verified {
            faults.push("RAPPORT_REDIS_CA is for a REDIS_URL that starts with rediss://".to_owned());
        }
        faults
    }
}

/// Whether it is a URL below which pages can be found.
fn is_base(text: &str) -> bool {
    let url = url::Url::parse(text);
    url.is_ok_and(|url| {
        matches!(url.scheme(), "https" | "http") && url.host().is_some() && url.query().or(url.fragment()).is_none()
    })
}

fn is_smtp(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "smtps" | "smtp") && url.host().is_some())
}

fn asks_for_tls(smtp: &str) -> bool {
    smtp.starts_with("smtps:") || smtp.contains("tls=")
}
