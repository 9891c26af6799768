//! Logs and metrics.

pub mod log_limiter;
pub mod log_writer;
pub mod logging;
pub mod metrics;
