//! Webhooks: events that are sent to where their receivers want them.
//!
//! When events are ordered, a delivery is written for each webhook that wants one, in the same transaction ([`crate::events`]).
//! Any number of processes send them ([`sending`]): each takes what is due, for a while by the database's clock, and of each
//! row one at a time, so that what a receiver gets of a row is in order. What they send and how it is signed is Standard
//! Webhooks ([`message`]); where to is looked at by [`crate::outbound`]. docs/EVENTS.md is for receivers.

pub mod deliveries;
pub mod http;
mod message;
mod noun;
pub mod sending;

pub use self::noun::WEBHOOKS;
