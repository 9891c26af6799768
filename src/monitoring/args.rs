//! Command-line options of monitoring.

use clap::Args;

/// How the database is watched.
#[derive(Args, Clone, Debug)]
pub struct MonitoringArgs {
    /// How long the database may not answer until readiness fails, in seconds
    #[arg(long, env = "RAPPORT_READINESS_AFTER_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub readiness_after_seconds: u64,
    /// How often the database's catalogue is checked while the service runs (triggers, policies, grants, functions), in seconds
    #[arg(long, env = "RAPPORT_CATALOGUE_CHECK_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub catalogue_check_seconds: u64,
}
