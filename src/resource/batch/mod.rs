//! Batch writes: many rows of one resource, created, updated, upserted or deleted in one request and one transaction.
//!
//! A batch is a set and not a loop: its references, locks, hooks and rows take one statement each, however many items
//! it has and whatever fields they set. Errors that only the database finds (a value that is taken, a check) are found
//! by bisection: a set that is rejected is rolled back and retried as two halves, until each item in error stands
//! alone. So the cost grows with the errors, not with the rows.

mod execute;
mod http;
mod parse;
mod response;
pub mod sql;

use uuid::Uuid;

pub use self::http::routes;
pub use self::response::response;
use super::crud::Row;
use super::{Changeset, Field, PendingRow, Resource, references};
use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::db::Tx;

/// Maximum items of one batch, as in a batch read. More needs an import, or several batches.
pub const MAX_ITEMS: usize = 1_000;

/// What is done to the rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchAction {
    Create,
    Update,
    Upsert,
    Delete,
}

impl BatchAction {
    pub const ALL: [Self; 4] = [Self::Create, Self::Update, Self::Upsert, Self::Delete];

    /// The last segment of its path.
    pub const fn name(self) -> &'static str {
        match self {
            BatchAction::Create => "create",
            BatchAction::Update => "update",
            BatchAction::Upsert => "upsert",
            BatchAction::Delete => "delete",
        }
    }

    /// The name of its transaction in `/metrics`.
    const fn work(self) -> &'static str {
        match self {
            BatchAction::Create => "batch_create",
            BatchAction::Update => "batch_update",
            BatchAction::Upsert => "batch_upsert",
            BatchAction::Delete => "batch_delete",
        }
    }

    /// The member of the body that holds its items.
    pub const fn list(self) -> &'static str {
        if matches!(self, BatchAction::Delete) { "ids" } else { "items" }
    }
}

/// A parsed batch.
#[derive(Clone, Debug)]
pub struct Batch {
    resource: &'static Resource,
    act: BatchAction,
    /// The field that an upsert matches rows by.
    key: Option<&'static Field>,
    items: Vec<Item>,
    /// Whether nothing is written when any item fails.
    all_or_none: bool,
}

#[derive(Clone, Debug)]
enum Item {
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
struct Upsert {
    key: String,
    /// The changeset for an existing row.
    known: Changeset,
    /// The changeset for a new row, or the errors that prevent one.
    new: Result<Changeset, Vec<FieldError>>,
}

/// The outcome of an item.
#[derive(Debug)]
enum Outcome {
    Created(Uuid, Row),
    Updated(Uuid, Row),
    Deleted(Uuid),
    Failed(Error),
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

/// Runs `batch`, and returns for each item why it was rejected, if it was. Errors: those that concern no single item.
pub fn refusals(tx: &mut Tx<'_>, tenant: &Tenant, batch: &Batch) -> Result<Vec<Option<Error>>> {
    let refusal = |outcome| if let Outcome::Failed(error) = outcome { Some(error) } else { None };
    Ok(execute::execute(tx, tenant, batch)?.into_iter().map(refusal).collect())
}

/// Checks the references of one changeset that is meant for many rows. Errors: 422 for those that lead to no row.
pub fn check_references(tx: &mut Tx<'_>, tenant: &Tenant, change: Changeset) -> Result<()> {
    let mut set = [PendingRow::new(Uuid::nil(), change)];
    references::check_all(tx, tenant, &mut set)?;
    let [draft] = set;
    draft.into_result().map(drop)
}
