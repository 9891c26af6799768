//! Logs and metrics.

mod log_filter;
pub mod log_limiter;
pub mod log_writer;
pub mod logging;
pub mod metrics;
