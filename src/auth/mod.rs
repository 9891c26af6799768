//! Who is asking and what they may do: verified keys, roles, and the tenant that comes of both.

mod keyring;
mod roles;
mod tenant;

pub use keyring::{Hash, Identity, Keyring, hash};
pub use roles::{Action, Area, Role};
pub use tenant::{Business, Tenant};
