//! The database's catalogue (triggers, policies, grants, functions, tables, ...) compared with what this release needs.
//!
//! `objects` reads the catalogue, `expected` holds what the migrations of this release make, `compare` names the
//! differences, `sequences` how far these lie behind their tables, `repair` mends what can be mended without touching rows,
//! `waits` bounds how long it waits for locks and says for which. `tenant_role` is about the role of row-level security, which
//! belongs to the whole server and not to the database.

mod compare;
mod expected;
pub mod objects;
mod repair;
mod report;
mod sequences;
mod tenant_role;
mod waits;

pub use compare::{fingerprint, inspect, inspect_at, inspect_thoroughly};
pub use repair::{grant_privileges, renew_cache_epoch, repair};
pub use report::{Fault, Report, remedies};
pub use tenant_role::{TENANT_ROLE, ensure as ensure_tenant_role};
pub use waits::holders;
