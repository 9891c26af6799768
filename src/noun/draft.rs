//! Rows on their way into the database, as the hooks of their noun see them: a set of one, or of many.

use uuid::Uuid;

use super::{Change, Visible};
use crate::auth::Tenant;
use crate::db::Value;
use crate::error::{Error, Result};

/// A row that is about to be made or changed.
#[derive(Debug)]
pub struct Draft {
    /// The row's id; of a new one, the id that it will have.
    pub id: Uuid,
    pub change: Change,
    refused: Option<Error>,
}

impl Draft {
    pub fn new(id: Uuid, change: Change) -> Self {
        Self { id, change, refused: None }
    }

    /// A row that is to be made. Who sees only their own gets it assigned, or they would not see what they made.
    pub fn of_new(tenant: &Tenant, mut change: Change) -> Self {
        if let (Some(person), Visible::Assigned(column)) = (tenant.sees_only(), change.noun.visible) {
            change.set_default(column, Value::Uuid(Some(person)));
        }
        Self::new(Uuid::now_v7(), change)
    }

    /// It is not written, for this reason. The first reason stays.
    pub fn refuse(&mut self, reason: Error) {
        self.refused.get_or_insert(reason);
    }

    /// Whether nothing speaks against it so far.
    pub fn stands(&self) -> bool {
        self.refused.is_none()
    }

    /// Itself, unless it was refused. Errors: the reason.
    pub fn settled(self) -> Result<Self> {
        match self.refused {
            Some(reason) => Err(reason),
            None => Ok(self),
        }
    }
}
