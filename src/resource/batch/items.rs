//! A parsed batch and its items.

use uuid::Uuid;

use super::action::BatchAction;
use crate::base::error::FieldError;
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
}

#[derive(Clone, Debug)]
pub(super) enum Item {
    /// Invalid, which is known before any statement runs.
    Wrong(Vec<FieldError>),
    Create(Changeset),
    /// Only if the version, where given, is still this one.
    Update(Uuid, Option<i64>, Changeset),
    Upsert(Upsert),
    Delete(Uuid),
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
    /// Updates rows by id, each with its changeset or the errors of that; items fail independently.
    pub fn of_changes(resource: &'static Resource, changes: Vec<(Uuid, Result<Changeset, Vec<FieldError>>)>) -> Self {
        let item = |(id, change)| match change {
            Ok(change) => Item::Update(id, None, change),
            Err(faults) => Item::Wrong(faults),
        };
        let items = changes.into_iter().map(item).collect();
        Self { resource, act: BatchAction::Update, key: None, items, all_or_none: false }
    }

    /// Deletes rows by id; items fail independently.
    pub fn of_ids(resource: &'static Resource, ids: Vec<Uuid>) -> Self {
        let items = ids.into_iter().map(Item::Delete).collect();
        Self { resource, act: BatchAction::Delete, key: None, items, all_or_none: false }
    }
}
