//! Command-line options of webhooks.

use clap::Args;
use ipnet::IpNet;

use crate::base::options::{OptionErrors, network};

/// Options of webhook deliveries.
#[derive(Args, Clone, Debug)]
pub struct WebhookArgs {
    /// Networks that webhooks may lead to although they are not public, comma-separated: `127.0.0.0/8,10.1.0.0/16`
    #[arg(long, env = "RAPPORT_WEBHOOK_ALLOWED_NETWORKS", value_delimiter = ',', value_parser = network)]
    pub webhook_allowed_networks: Vec<IpNet>,
    /// Longest wait for a webhook's answer, in seconds
    #[arg(long, env = "RAPPORT_WEBHOOK_TIMEOUT_SECONDS", default_value_t = 30)]
    pub webhook_timeout_seconds: u64,
    /// Pauses before a delivery is tried again, in seconds, comma-separated; after the last it is dead
    #[arg(
        long,
        env = "RAPPORT_WEBHOOK_RETRY_SCHEDULE",
        value_delimiter = ',',
        default_value = "5,300,1800,7200,18000,36000,50400,72000,86400"
    )]
    pub webhook_retry_schedule: Vec<u64>,
    /// Deliveries that are under way at once in this process
    #[arg(long, env = "RAPPORT_WEBHOOK_CONCURRENCY", default_value_t = 64)]
    pub webhook_concurrency: usize,
    /// Of these, those of one webhook
    #[arg(long, env = "RAPPORT_WEBHOOK_CONCURRENCY_EACH", default_value_t = 8)]
    pub webhook_concurrency_each: usize,
    /// After so many hours in which no delivery has arrived a webhook is paused
    #[arg(long, env = "RAPPORT_WEBHOOK_DISABLE_AFTER_HOURS", default_value_t = 120)]
    pub webhook_disable_after_hours: u32,
}

impl WebhookArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        errors
            .check((1..=60).contains(&self.webhook_timeout_seconds), "RAPPORT_WEBHOOK_TIMEOUT_SECONDS must be 1 to 60");
        errors.check(
            self.webhook_retry_schedule.len() <= 50
                && self.webhook_retry_schedule.iter().all(|pause| *pause <= 7 * 86_400),
            "RAPPORT_WEBHOOK_RETRY_SCHEDULE may have 50 pauses of at most 604800 seconds",
        );
        errors.check(
            self.webhook_concurrency_each >= 1 && self.webhook_concurrency_each <= self.webhook_concurrency,
            "RAPPORT_WEBHOOK_CONCURRENCY_EACH must be at least 1 and not above RAPPORT_WEBHOOK_CONCURRENCY",
        );
        errors.check(
            (1..=8760).contains(&self.webhook_disable_after_hours),
            "RAPPORT_WEBHOOK_DISABLE_AFTER_HOURS must be 1 to 8760",
        );
    }
}
