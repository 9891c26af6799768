//! Events: every change of a row, in an order that a reader can follow without missing any.
//!
//! The audit log is the only source: its trigger puts each entry into the outbox, in the transaction of the change.
//! Committed entries are numbered 1, 2, 3 … in each business by one process at a time ([`sequencer`]), so a reader who
//! has read up to a number never finds a smaller one that they have not seen. Events are read page by page
//! ([`event_log`]) or streamed ([`stream`]), with one query for all streams of the process ([`broadcaster`]).
//! docs/EVENTS.md is the documentation for clients.

pub mod args;
mod broadcaster;
pub mod event_log;
pub mod event_types;
pub mod http;
pub mod openapi;
pub mod query;
pub mod sequencer;
mod stream;

pub use self::broadcaster::{Broadcaster, keep_reading};
pub use self::event_types::EventTypes;
