//! Decides whether and when a delivery is tried again.

use chrono::{DateTime, Utc};

use crate::base::egress::EgressResponse;

/// Longest pause that an endpoint may ask for (`Retry-After`), in seconds.
const MAX_PAUSE: u64 = 86_400;
/// Backoffs vary randomly by this fraction, so that deliveries that failed together are not retried together.
const JITTER: f64 = 0.2;

/// Pauses before a delivery is tried again, in seconds; after the last it is dead.
#[derive(Clone, Debug)]
pub struct RetrySchedule(pub Vec<u64>);

impl RetrySchedule {
    /// Returns the pause in seconds after a failure with `attempts` attempts before it, and at least what the endpoint
    /// asked for. `None`: it is not tried again.
    pub fn pause(&self, attempts: i64, asked: Option<u64>) -> Option<f64> {
        let pause = *self.0.get(attempts as usize)? as f64 * rand::random_range(1.0 - JITTER..1.0 + JITTER);
        Some(pause.max(asked.unwrap_or_default() as f64))
    }
}

/// Returns the seconds of `Retry-After`, which has seconds or a date (RFC 9110, section 10.2.3).
pub fn retry_after(response: &EgressResponse) -> Option<u64> {
    let text = response.headers.get("retry-after")?.to_str().ok()?.trim();
    let seconds = text.parse().ok().or_else(|| {
        let time = DateTime::parse_from_rfc2822(text).ok()?;
        u64::try_from((time.with_timezone(&Utc) - Utc::now()).num_seconds()).ok()
    });
    seconds.map(|seconds| seconds.min(MAX_PAUSE))
}
