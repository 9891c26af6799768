//! Hooks: the rules of one resource, which run with each write of its rows.

use uuid::Uuid;

use super::body::{Changeset, ValidationErrors};
use super::pending_row::PendingRow;
use crate::auth::{Tenant, TenantSettings};
use crate::base::error::Result;
use crate::db::Tx;

/// The code specific to a resource. Each hook runs inside the write's transaction, except `prepare`, which is pure. The
/// others take a set of rows, one or a thousand, and use a number of queries that does not depend on its size.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// Completes and validates a changeset without the database: derived fields, rules between fields.
    pub prepare: fn(&mut Changeset, &TenantSettings, &mut ValidationErrors),
    /// Runs before rows are written, and rejects those that must not be ([`PendingRow::refuse`]).
    pub before: fn(&mut Tx<'_>, &Tenant, &mut [PendingRow]) -> Result<()>,
    /// Runs after rows were written: effects on other rows.
    pub after: fn(&mut Tx<'_>, &Tenant, &[&PendingRow]) -> Result<()>,
    /// Runs after rows, by id, were deleted or restored: updates what is derived from them.
    pub removed_or_restored: fn(&mut Tx<'_>, &Tenant, &[Uuid]) -> Result<()>,
}

impl Hooks {
    pub const NONE: Self = Self {
        prepare: |_, _, _| {},
        before: |_, _, _| Ok(()),
        after: |_, _, _| Ok(()),
        removed_or_restored: |_, _, _| Ok(()),
    };
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}
