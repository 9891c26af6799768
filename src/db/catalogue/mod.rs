//! Compares the database's catalogue (triggers, policies, grants, functions, tables, ...) with what this release needs.
//!
//! `objects` reads the catalogue, with `foreign_objects` for what no migration creates, `expected` holds the objects that
//! this release's migrations create, `compare` reports the differences, `repair` repairs what needs no access to rows, `waits`
//! bounds its lock waits and names the lock holders.
//! `tenant_role` checks the role of row-level security, which belongs to the whole server and not to the database.

mod compare;
mod expected;
mod foreign_objects;
pub mod objects;
mod repair;
mod report;
mod tenant_role;
mod waits;

pub use self::compare::{fingerprint, inspect, inspect_at};
pub use self::repair::{grant_privileges, renew_cache_epoch, repair};
pub use self::report::{CatalogueFault, CatalogueState, Report, remedies};
pub use self::tenant_role::{TENANT_ROLE, ensure as ensure_tenant_role};
pub use self::waits::holders;
