//! Command-line options of the cache and of Redis.

use std::path::PathBuf;

use clap::Args;

use crate::base::options::{OptionErrors, Secret, switch};

/// The Redis that the cache and the rate limiter share.
#[derive(Args, Clone, Debug)]
pub struct RedisArgs {
    /// Redis (shared cache tier); the service works without it
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<Secret>,
    /// PEM file with the authorities that the certificate of a `rediss://` server is verified by, instead of the system's
    #[arg(long, env = "RAPPORT_REDIS_CA")]
    pub redis_ca: Option<PathBuf>,
    /// Begins every key in Redis
    #[arg(long, env = "RAPPORT_CACHE_PREFIX", default_value = "rapport:")]
    pub cache_prefix: String,
    /// Longest wait for Redis, in milliseconds
    #[arg(long, env = "RAPPORT_REDIS_TIMEOUT_MS", default_value_t = 30)]
    pub redis_timeout_ms: u64,
}

impl RedisArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        errors.check(
            self.cache_prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_-".contains(&byte)),
            "RAPPORT_CACHE_PREFIX may have letters, digits, `:`, `_` and `-`",
        );
        errors.check(self.redis_timeout_ms >= 1, "RAPPORT_REDIS_TIMEOUT_MS must be at least 1");
        let url = self.redis_url.as_ref().map(Secret::expose);
        let is_tls = url.is_some_and(|url| url.starts_with("rediss:"));
        errors.check(
            url.is_none_or(|url| ["redis://", "rediss://", "unix://"].iter().any(|scheme| url.starts_with(scheme))),
            "REDIS_URL must start with redis://, rediss:// or unix://",
        );
        errors.check(cfg!(feature = "tls") || !is_tls, "REDIS_URL asks for TLS, and this program was built without it");
        errors.check(
            url.is_none_or(|url| !url.ends_with("#insecure")),
            "REDIS_URL ends in #insecure, which verifies nothing; name the authority with RAPPORT_REDIS_CA",
        );
        errors
            .check(self.redis_ca.is_none() || is_tls, "RAPPORT_REDIS_CA is for a REDIS_URL that starts with rediss://");
    }
}

/// Limit of `RAPPORT_CACHE_MAX_STALE_SECONDS`: an hour, as access tokens of other services live.
const MAX_STALE_SECONDS: u64 = 3_600;

/// Options of the cache of this process.
#[derive(Args, Clone, Debug)]
pub struct CacheArgs {
    /// `off` answers everything from the database
    #[arg(id = "cache", long, env = "RAPPORT_CACHE", value_name = "CACHE", default_value = "on", value_parser = switch, action = clap::ArgAction::Set)]
    pub enabled: bool,
    /// Memory of the cache in this process, in bytes; 0 keeps answers in Redis only
    #[arg(long, env = "RAPPORT_CACHE_BYTES", default_value_t = 64 * 1024 * 1024)]
    pub cache_bytes: u64,
    /// Longest wait for a validation round, in milliseconds
    #[arg(long, env = "RAPPORT_CACHE_VALIDATION_TIMEOUT_MS", default_value_t = 2_000)]
    pub cache_validation_timeout_ms: u64,
    /// Oldest answer, in seconds, that a request may accept without a validation round (`Cache-Control: max-stale=N`); it may
    /// also be one to a credential revoked since. 0 validates every answer
    #[arg(long, env = "RAPPORT_CACHE_MAX_STALE_SECONDS", default_value_t = 0)]
    pub cache_max_stale_seconds: u64,
    /// One in so many hits is computed again and compared; 0 for none
    #[arg(long, env = "RAPPORT_CACHE_SAMPLE", default_value_t = 1_000)]
    pub cache_sample: u64,
}

impl CacheArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        errors.check(
            self.cache_bytes == 0 || self.cache_bytes >= 1024 * 1024,
            "RAPPORT_CACHE_BYTES must be 0 (Redis only) or at least 1048576",
        );
        errors.check(
            self.cache_max_stale_seconds <= MAX_STALE_SECONDS,
            "RAPPORT_CACHE_MAX_STALE_SECONDS must be at most 3600: a revoked credential could be used for as long",
        );
    }
}
