//! The foundation: what needs no other room and every room may use.

pub mod concurrency_slots;
pub mod egress;
pub mod email;
pub mod error;
pub mod http_client;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod opening_hours;
pub mod options;
pub mod phone;
pub mod phone_variants;
pub mod request_context;
pub mod suggest;
pub mod supervisor;
pub mod telemetry;
pub mod timestamp;
pub mod zones;
