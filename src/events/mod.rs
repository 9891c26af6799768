//! Events: every change of a row, in an order that can be followed without missing anything.
//!
//! The audit log is the one source: its trigger puts each entry into a queue, in the change's own transaction. What is
//! committed is given numbers here ([`order`]), 1, 2, 3 … in each business, by one process at a time; so whoever has read up
//! to a number will never find a smaller one that they did not see. They are read page by page ([`log`]) or as they come
//! ([`stream`]), by one query for all streams of the process ([`hub`]). docs/EVENTS.md is for those who follow them.

pub mod document;
pub mod http;
mod hub;
pub mod kinds;
pub mod log;
pub mod order;
pub mod query;
mod stream;

pub use self::hub::{Hub, keep_reading};
pub use self::kinds::Kinds;
