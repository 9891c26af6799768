//! What operators see: probes, metrics, logs.

pub mod access;
pub mod cache;
pub mod health;
pub mod jobs;
mod log_writer;
pub mod metrics;
pub mod telemetry;
