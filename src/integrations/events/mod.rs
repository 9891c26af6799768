//! Events: every change of a row, in an order that a reader can follow without missing any.
//!
//! The log of changes is the only source, which triggers write in the transaction of each change. Committed ones are entered
//! into the audit log and numbered 1, 2, 3 … in each business by one process at a time ([`sequencer`]), so a reader who has
//! read up to a number never finds a smaller one that they have not seen. [`stored_event`] is an event and its
//! JSON. Events are read page by page ([`event_log`]) or streamed ([`stream`]), with one query for all streams of the
//! process (`event_reader`), whose batches the [`broadcaster`] hands to each. [`event_types`] follow from the resources
//! of the API; [`purge_events`] deletes old events. [`http`] has the routes, `parameters` and [`dto`] what they take and
//! return; `typing` sends to the streams what is no event of the log, and `signal_relay` to those of
//! other processes. docs/EVENTS.md is the documentation for clients.

pub mod args;
mod batch;
mod broadcaster;
pub mod dto;
pub mod event_log;
mod event_reader;
pub mod event_types;
pub mod http;
pub mod openapi;
mod parameters;
pub mod purge_events;
pub mod query;
pub mod sequencer;
mod settings;
mod signal_relay;
pub mod stored_event;
mod stream;
pub mod typing;

pub use self::broadcaster::Broadcaster;
pub use self::event_reader::EventReader;
pub use self::event_types::{EventRegistry, EventTypes};
pub use self::settings::StreamSettings;
pub use self::signal_relay::SignalRelay;
