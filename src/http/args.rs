//! Command-line options of HTTP: limits on connections and requests, proxies and origins.

use clap::Args;
use ipnet::IpNet;

use super::origin::{canonical_origin, is_origin};
use crate::base::options::{OptionErrors, network};

/// Limits on connections and requests, and whom the service trusts.
#[derive(Args, Clone, Debug)]
pub struct HttpArgs {
    /// Threads that serve HTTP [default: one per core]
    #[arg(long, env = "RAPPORT_HTTP_WORKERS")]
    pub http_workers: Option<usize>,
    /// Longest a request may take in all, in milliseconds
    #[arg(long, env = "RAPPORT_REQUEST_TIMEOUT_MS", default_value_t = 15_000)]
    pub request_timeout_ms: u64,
    /// Longest wait for the headers of a request, from its first byte or, for the first, from the connection on, in milliseconds
    #[arg(long, env = "RAPPORT_HEADER_TIMEOUT_MS", default_value_t = 5_000)]
    pub header_timeout_ms: u64,
    /// Longest a client may leave its answer unread, in milliseconds; then the connection is ended
    #[arg(long, env = "RAPPORT_WRITE_TIMEOUT_MS", default_value_t = 30_000)]
    pub write_timeout_ms: u64,
    /// How long a connection is kept open between two requests, in seconds; longer than the load balancer's own limit
    #[arg(long, env = "RAPPORT_KEEP_ALIVE_SECONDS", default_value_t = 75)]
    pub keep_alive_seconds: u64,
    /// Longest wait for the body of a request, in milliseconds
    #[arg(long, env = "RAPPORT_BODY_TIMEOUT_MS", default_value_t = 10_000)]
    pub body_timeout_ms: u64,
    /// Largest body of a request, in bytes
    #[arg(long, env = "RAPPORT_BODY_LIMIT", default_value_t = 1024 * 1024)]
    pub body_limit: usize,
    /// Largest body of a batch of writes, in bytes: 1,000 rows of 4 KiB; never below RAPPORT_BODY_LIMIT
    #[arg(long, env = "RAPPORT_BATCH_BODY_LIMIT", default_value_t = 4 * 1024 * 1024)]
    pub batch_body_limit: usize,
    /// Deepest nesting of a JSON body
    #[arg(long, env = "RAPPORT_BODY_DEPTH", default_value_t = 16)]
    pub body_depth: usize,
    /// Proxies whose word on a client's address counts, comma-separated: `10.0.0.0/8,192.0.2.7`
    #[arg(long, env = "RAPPORT_TRUSTED_PROXIES", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
    /// Origins that browsers may call from, comma-separated; `*` for any
    #[arg(long, env = "RAPPORT_CORS_ORIGINS", value_delimiter = ',', value_parser = canonical_origin)]
    pub cors_origins: Vec<String>,
    /// After the drain: how long requests in flight may take to finish, in seconds
    #[arg(long, env = "RAPPORT_SHUTDOWN_GRACE_SECONDS", default_value_t = 15)]
    pub shutdown_grace_seconds: u64,
}

impl HttpArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        errors.check(self.http_workers != Some(0), "RAPPORT_HTTP_WORKERS must be at least 1");
        errors.check(self.body_limit >= 1024, "RAPPORT_BODY_LIMIT must be at least 1024 bytes");
        errors.check((2..=64).contains(&self.body_depth), "RAPPORT_BODY_DEPTH must be 2 to 64");
        errors
            .check((100..=600_000).contains(&self.write_timeout_ms), "RAPPORT_WRITE_TIMEOUT_MS must be 100 to 600000");
        errors.check((1..=3600).contains(&self.keep_alive_seconds), "RAPPORT_KEEP_ALIVE_SECONDS must be 1 to 3600");
        errors
            .check((50..=600_000).contains(&self.header_timeout_ms), "RAPPORT_HEADER_TIMEOUT_MS must be 50 to 600000");
        for origin in self.cors_origins.iter().filter(|origin| !is_origin(origin)) {
            errors.push(format!("RAPPORT_CORS_ORIGINS: `{origin}` is not an origin like https://app.example.com"));
        }
    }
}
