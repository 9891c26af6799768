//! HTTP client for URLs which API clients choose: it reaches public addresses only, not the network in which the service
//! runs, except for networks which are explicitly allowed. `policy` decides about URLs, with `ip_policy` for addresses and
//! `name_policy` for names; `resolver` resolves names within it, and `client` sends.

mod client;
mod ip_policy;
mod name_policy;
mod policy;
mod resolver;

pub use self::client::{EgressClient, EgressResponse, millis};
pub use self::policy::{EgressPolicy, MAX_URL_LEN};
pub use self::resolver::{Lookup, system};
