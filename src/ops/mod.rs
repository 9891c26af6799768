//! Monitoring: health probes, metrics, logs, and the operators' endpoints.

pub mod access_log;
pub mod cache;
pub mod catalogue;
pub mod health;
pub mod heartbeat;
pub mod jobs;
pub mod log_limiter;
mod log_writer;
pub mod logging;
pub mod metrics;
