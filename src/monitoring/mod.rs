//! What operators and orchestrators see: probes, the state of the cache and of jobs, checks of the database.

pub mod args;
pub mod cache;
pub mod catalogue_check;
pub mod health;
pub mod heartbeat;
pub mod jobs;
pub mod metrics_page;
