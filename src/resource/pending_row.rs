//! Rows about to be written, alone or in a set, as the hooks of their resource see them.

use uuid::Uuid;

use super::body::Changeset;
use crate::base::error::{Error, Result};
use crate::http::precondition::IfMatch;

/// A row that is about to be created or updated.
#[derive(Debug)]
pub struct PendingRow {
    /// The row's id; of a new row, the id that it will have.
    pub id: Uuid,
    pub changes: Changeset,
    /// The versions at which it is updated.
    pub expected: IfMatch,
    refused: Option<Error>,
}

impl PendingRow {
    pub fn new(id: Uuid, change: Changeset) -> Self {
        Self { id, changes: change, expected: IfMatch::ANY, refused: None }
    }

    /// Limits the update to versions.
    pub fn at(mut self, expected: IfMatch) -> Self {
        self.expected = expected;
        self
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
