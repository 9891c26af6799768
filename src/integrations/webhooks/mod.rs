//! Webhooks: send events to the endpoints that businesses register.
//!
//! When events are numbered, a delivery is written for each webhook that wants one, in the same transaction
//! ([`crate::integrations::events`]). Any number of processes send them ([`dispatcher`]): each claims due deliveries
//! ([`claim`]) with a lease by the database's clock, of each row one at a time, so that a receiver gets the events of a
//! row in order. `classify_response` judges the response, `retry_schedule` says when a delivery is tried again,
//! `record_attempt` stores both; `purge_deliveries` deletes old ones. Messages and signatures follow Standard Webhooks
//! (`message`, `secret`); [`crate::base::egress`] checks the addresses. [`deliveries`] has the log, pings and replays;
//! [`http`] has the routes, `dto` their bodies and responses.
//! docs/EVENTS.md is the documentation for receivers.

pub mod args;
pub mod claim;
mod classify_response;
pub mod deliveries;
mod delivery_lock;
pub mod dispatcher;
mod dto;
pub mod http;
mod message;
pub mod purge_deliveries;
mod record_attempt;
mod resource;
mod retry_schedule;
mod secret;
mod settings;

pub use self::dispatcher::{DeliveryWaker, Dispatcher};
pub use self::resource::WEBHOOKS;
pub use self::retry_schedule::RetrySchedule;
pub use self::secret::WRITES;
pub use self::settings::DispatcherSettings;
