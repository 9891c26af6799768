//! Command-line options of cached reads.

use clap::Args;

/// Options of cached reads.
#[derive(Args, Clone, Debug)]
pub struct ReadArgs {
    /// How long responses of a resource are cached at most, in seconds: `leads=600,messages=60` [default: 180 to 1800]
    #[arg(long, env = "RAPPORT_CACHE_TTL", value_delimiter = ',', value_parser = ttl)]
    pub cache_ttl: Vec<(String, u64)>,
    /// How often hot answers whose rows have changed are computed again ahead of readers, in milliseconds; 0 for never
    #[arg(long, env = "RAPPORT_CACHE_REFRESH_MS", default_value_t = 500)]
    pub cache_refresh_ms: u64,
    /// How many of the busiest queries of earlier processes are run when a process starts; 0 for none
    #[arg(long, env = "RAPPORT_CACHE_WARMUP_QUERIES", default_value_t = 200)]
    pub cache_warmup_queries: usize,
}

/// Parses `leads=600`.
fn ttl(text: &str) -> Result<(String, u64), String> {
    let (resource, seconds) = text.split_once('=').ok_or("a resource and seconds, such as leads=600")?;
    match seconds.parse() {
        Ok(seconds @ 1..) => Ok((resource.trim().to_owned(), seconds)),
        _ => Err(format!("`{seconds}` is not a number of seconds from 1 on")),
    }
}
