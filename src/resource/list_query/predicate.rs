//! The condition that a filter puts on its field.

use uuid::Uuid;

use crate::db::SqlValue;

/// The condition that a filter puts on its field.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// One value, or any of several.
    Equal(SqlValue),
    Null,
    AtLeast(SqlValue),
    AtMost(SqlValue),
    Below(SqlValue),
    Overlaps(SqlValue),
    /// Contains any of these objects.
    Contains(Vec<SqlValue>),
}

impl Predicate {
    /// Returns the ids that a filter asks for, where it asks for ids.
    pub fn ids(&self) -> Option<Vec<Uuid>> {
        match self {
            Self::Equal(SqlValue::Uuid(Some(id))) => Some(vec![*id]),
            Self::Equal(SqlValue::Uuids(ids)) => Some(ids.clone()),
            _ => None,
        }
    }

    /// Returns the only value that a filter of true or false asks for; `None` where it asks for both.
    pub fn flag(&self) -> Option<bool> {
        if let Self::Equal(SqlValue::Bool(flag)) = self { *flag } else { None }
    }
}
