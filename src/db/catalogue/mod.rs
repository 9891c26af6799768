//! The database's catalogue (triggers, policies, grants, functions, tables, ...) compared with what this release needs.
//!
//! `objects` reads the catalogue, `expected` holds what the migrations of this release make, `compare` names the
//! differences, `repair` mends those that can be mended without touching rows, `tenant_role` is about the role of
//! row-level security, which belongs to the whole server and not to the database.

mod compare;
mod expected;
pub mod objects;
mod repair;
mod report;
mod tenant_role;

pub use compare::{fingerprint, inspect};
pub use repair::{renew_cache_epoch, repair};
pub use report::{Fault, Report, remedies};
pub use tenant_role::{TENANT_ROLE, ensure as ensure_tenant_role};
