//! Webhooks: send events to the endpoints that businesses register.
//!
//! When events are numbered, a delivery is written for each webhook that wants one, in the same transaction
//! ([`crate::integrations::events`]). Any number of processes send them ([`dispatcher`]): each claims due deliveries
//! with a lease by the database's clock, of each row one at a time, so that a receiver gets the events of a row in
//! order. Messages and signatures follow Standard Webhooks ([`message`]); [`crate::base::egress`] checks the addresses.
//! docs/EVENTS.md is the documentation for receivers.

pub mod args;
pub mod deliveries;
pub mod dispatcher;
pub mod http;
mod message;
mod resource;

pub use self::resource::WEBHOOKS;
