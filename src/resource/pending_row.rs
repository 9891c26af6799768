//! Rows about to be written, alone or in a set, as the hooks of their resource see them.

use uuid::Uuid;

use super::{Changeset, RowVisibility};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::SqlValue;

/// A row that is about to be created or updated.
#[derive(Debug)]
pub struct PendingRow {
    /// The row's id; of a new row, the id that it will have.
    pub id: Uuid,
    pub changes: Changeset,
    refused: Option<Error>,
}

impl PendingRow {
    pub fn new(id: Uuid, change: Changeset) -> Self {
        Self { id, changes: change, refused: None }
    }

    /// A row to be created. A caller restricted to assigned rows is assigned to it by default, or could not read it
    /// afterwards.
    pub fn for_create(tenant: &Tenant, mut change: Changeset) -> Self {
        if let (Some(person), RowVisibility::Assigned(column)) =
            (tenant.restricted_to_user(), change.resource.visibility)
        {
            change.set_default(column, SqlValue::Uuid(Some(person)));
        }
        Self::new(Uuid::now_v7(), change)
    }

    /// Rejects the row for this reason. The first reason is kept.
    pub fn refuse(&mut self, reason: Error) {
        self.refused.get_or_insert(reason);
    }

    /// Whether it has not been rejected.
    pub fn is_accepted(&self) -> bool {
        self.refused.is_none()
    }

    /// Returns the row, unless it was rejected. Errors: the reason.
    pub fn into_result(self) -> Result<Self> {
        match self.refused {
            Some(reason) => Err(reason),
            None => Ok(self),
        }
    }
}
