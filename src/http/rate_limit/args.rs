//! Command-line options of rate limits.

use clap::Args;

use crate::base::options::OptionErrors;

/// Largest rate limit: one request in a microsecond, the unit in which replicas synchronise.
const MAX_PER_MINUTE: u32 = 60_000_000;
const MAX_BURST: u32 = 1_000_000;

/// Rates of requests.
#[derive(Args, Clone, Debug)]
pub struct RateLimitArgs {
    /// Requests a minute of one API key or session; 0 for no limit
    #[arg(long, env = "RAPPORT_RATE_LIMIT", default_value_t = 0)]
    pub rate_limit: u32,
    /// Of these, how many may come at once [default: a tenth, at least 10]
    #[arg(long, env = "RAPPORT_RATE_BURST")]
    pub rate_burst: Option<u32>,
    /// Requests a minute without a good credential from one address; 0 for no limit
    #[arg(long, env = "RAPPORT_RATE_LIMIT_ADDRESS", default_value_t = 600)]
    pub rate_limit_address: u32,
}

impl RateLimitArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        errors.check(
            self.rate_limit.max(self.rate_limit_address) <= MAX_PER_MINUTE,
            "RAPPORT_RATE_LIMIT and RAPPORT_RATE_LIMIT_ADDRESS must be 0 to 60000000",
        );
        errors.check(
            self.rate_burst.is_none_or(|burst| (1..=MAX_BURST).contains(&burst)),
            "RAPPORT_RATE_BURST must be 1 to 1000000",
        );
    }
}
