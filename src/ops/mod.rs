//! What operators see: probes, metrics, logs.

pub mod access;
pub mod cache;
pub mod catalogue;
pub mod health;
pub mod heartbeat;
pub mod jobs;
pub mod log_limiter;
mod log_writer;
pub mod metrics;
pub mod telemetry;
