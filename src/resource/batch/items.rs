//! A parsed batch and its items.

use uuid::Uuid;

use super::action::BatchAction;
use crate::base::error::FieldError;
use crate::http::precondition::IfMatch;
use crate::resource::body::Changeset;
use crate::resource::definition::Resource;
use crate::resource::field::Field;

/// Maximum items of one batch, as in a batch read. More needs an import, or several batches.
pub const MAX_ITEMS: usize = 1_000;

/// A parsed batch.
#[derive(Clone, Debug)]
pub struct Batch {
    pub(super) resource: &'static Resource,
    pub(super) act: BatchAction,
    /// The field that an upsert matches rows by.
    pub(super) key: Option<&'static Field>,
    pub(super) items: Vec<Item>,
    /// Whether nothing is written when any item fails.
    pub(super) all_or_none: bool,
    pub(super) returning: Returning,
}

/// What the outcome of a written row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returning {
    /// Its JSON and its version.
    Rows,
    /// Its version only.
    Versions,
}

#[derive(Clone, Debug)]
pub(super) enum Item {
    /// Invalid, which is known before any statement runs.
    Wrong(Vec<FieldError>),
    /// With the id that the row will have.
    Create(Uuid, Changeset),
    /// Only at a version that is allowed.
    Update(Uuid, IfMatch, Changeset),
    Upsert(Upsert),
    /// Only at a version that is allowed.
    Delete(Uuid, IfMatch),
}

/// A row that is created unless one with its key exists.
#[derive(Clone, Debug)]
pub(super) struct Upsert {
    pub(super) key: String,
    /// The changeset for an existing row.
    pub(super) known: Changeset,
    /// The changeset for a new row, or the errors that prevent one.
    pub(super) new: Result<Changeset, Vec<FieldError>>,
}

impl Batch {
    /// A batch whose items fail independently.
    fn new(resource: &'static Resource, act: BatchAction, items: Vec<Item>) -> Self {
        Self { resource, act, key: None, items, all_or_none: false, returning: Returning::Rows }
    }

    /// Creates rows with these ids.
    pub fn of_new(resource: &'static Resource, rows: Vec<(Uuid, Changeset)>) -> Self {
        let items = rows.into_iter().map(|(id, change)| Item::Create(id, change)).collect();
        Self::new(resource, BatchAction::Create, items)
    }

    /// Updates rows by id, each at an allowed version, with its changeset or the errors of that.
    pub fn of_changes(
        resource: &'static Resource,
        changes: Vec<(Uuid, IfMatch, Result<Changeset, Vec<FieldError>>)>,
    ) -> Self {
        let item = |(id, expected, change)| match change {
            Ok(change) => Item::Update(id, expected, change),
            Err(faults) => Item::Wrong(faults),
        };
        Self::new(resource, BatchAction::Update, changes.into_iter().map(item).collect())
    }

    /// Deletes rows by id, each at an allowed version.
    pub fn of_ids(resource: &'static Resource, ids: Vec<(Uuid, IfMatch)>) -> Self {
        let items = ids.into_iter().map(|(id, expected)| Item::Delete(id, expected)).collect();
        Self::new(resource, BatchAction::Delete, items)
    }

    /// Returns versions only, for callers that do not show the rows.
    pub fn without_rows(mut self) -> Self {
        self.returning = Returning::Versions;
        self
    }
}
