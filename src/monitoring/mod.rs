//! What operators and orchestrators see: probes ([`health`]), the state of the cache ([`cache`]), and the checks of the
//! database that readiness follows ([`heartbeat`], [`catalogue_check`], [`pooler_watch`]). Bodies and responses are in
//! `dto.rs`.

pub mod args;
pub mod cache;
pub mod catalogue_check;
mod dto;
pub mod health;
pub mod heartbeat;
pub mod metrics_page;
pub mod openapi;
pub mod pooler_watch;
