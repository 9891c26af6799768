//! Options of the process as a whole: where it listens, how it starts and stops.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::base::options::{OptionErrors, Secret};

/// Where the process listens, and how it starts and stops.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Address of the API
    #[arg(long, env = "RAPPORT_BIND", default_value = "127.0.0.1:8080")]
    pub bind: SocketAddr,
    /// Address of Prometheus' `/metrics`, or `off`
    #[arg(long, env = "RAPPORT_METRICS_BIND", default_value = "127.0.0.1:9090", value_parser = metrics_bind)]
    pub metrics_bind: Metrics,
    /// Fixes the API key of the demo business; honoured on the private server only
    #[arg(long, env = "RAPPORT_DEV_API_KEY", hide_env_values = true)]
    pub dev_api_key: Option<Secret>,
    /// Migrate before serving [default: only on the private server]
    #[arg(long, env = "RAPPORT_MIGRATE_ON_START")]
    pub migrate_on_start: Option<bool>,
    /// After SIGTERM: how long readiness fails while requests are still served, in seconds
    #[arg(long, env = "RAPPORT_SHUTDOWN_DRAIN_SECONDS", default_value_t = 5)]
    pub shutdown_drain_seconds: u64,
    /// Directory of compiled time zones that replaces the data in the program, such as /usr/share/zoneinfo
    #[arg(long, env = "RAPPORT_TZDIR")]
    pub tzdir: Option<PathBuf>,
}

impl ServerArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        errors.check(
            self.dev_api_key.as_ref().is_none_or(|key| key.expose().len() >= 16),
            "RAPPORT_DEV_API_KEY must have at least 16 characters",
        );
        errors.check(
            Metrics::On(self.bind) != self.metrics_bind || self.bind.port() == 0,
            "RAPPORT_METRICS_BIND must differ from RAPPORT_BIND",
        );
    }
}

/// Where `/metrics` is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metrics {
    Off,
    On(SocketAddr),
}

fn metrics_bind(text: &str) -> Result<Metrics, String> {
    match text {
        "off" => Ok(Metrics::Off),
        address => address.parse().map(Metrics::On).map_err(|_| "an address like 127.0.0.1:9090, or `off`".to_owned()),
    }
}
