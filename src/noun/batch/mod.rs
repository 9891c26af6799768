//! Many rows of one noun in one request and one transaction: made, changed, made or changed by a key, deleted.
//!
//! A batch is a set and not a loop: its links, its locks, the rules of its noun and its rows are one statement each, however
//! many items it has and whatever their fields are. What only the database can find wrong (a value that is taken, a check)
//! is found by halves: a set that is refused is taken back and tried as two, until each item that is wrong stands alone. So
//! what that costs grows with the faults, not with the rows.

mod answer;
mod http;
mod request;
mod run;
pub mod statements;

use uuid::Uuid;

pub use self::answer::answer;
pub use self::http::routes;
use super::store::Row;
use super::{Change, Draft, Field, Noun, links};
use crate::auth::Tenant;
use crate::db::Tx;
use crate::error::{Error, Fault, Result};

/// Items of one batch at most: as many as a batch read has. What takes more is an import, or several batches.
pub const MOST_ITEMS: usize = 1_000;

/// What is done to the rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Create,
    Update,
    Upsert,
    Delete,
}

impl Act {
    pub const ALL: [Self; 4] = [Self::Create, Self::Update, Self::Upsert, Self::Delete];

    /// The last segment of its path.
    pub const fn name(self) -> &'static str {
        match self {
            Act::Create => "create",
            Act::Update => "update",
            Act::Upsert => "upsert",
            Act::Delete => "delete",
        }
    }

    /// Its transaction's name in `/metrics`.
    const fn work(self) -> &'static str {
        match self {
            Act::Create => "batch_create",
            Act::Update => "batch_update",
            Act::Upsert => "batch_upsert",
            Act::Delete => "batch_delete",
        }
    }

    /// The member of the body that holds its items.
    pub const fn list(self) -> &'static str {
        if matches!(self, Act::Delete) { "ids" } else { "items" }
    }
}

/// A batch that was read.
#[derive(Clone, Debug)]
pub struct Batch {
    noun: &'static Noun,
    act: Act,
    /// What rows are recognised by, for an upsert.
    key: Option<&'static Field>,
    items: Vec<Item>,
    /// Whether nothing is done when something is wrong.
    all_or_none: bool,
}

#[derive(Clone, Debug)]
enum Item {
    /// Known to be wrong before the database is asked.
    Wrong(Vec<Fault>),
    Create(Change),
    /// If the version is still this one.
    Update(Uuid, Option<i64>, Change),
    Upsert(Upsert),
    Delete(Uuid),
}

/// A row that is made unless its key has one.
#[derive(Clone, Debug)]
struct Upsert {
    key: String,
    /// What a row that is there is to be like.
    known: Change,
    /// The row that is made, or what is missing for that.
    new: Result<Change, Vec<Fault>>,
}

/// What became of an item.
#[derive(Debug)]
enum Outcome {
    Created(Uuid, Row),
    Updated(Uuid, Row),
    Deleted(Uuid),
    Failed(Error),
}

impl Batch {
    /// Rows by id, each with its change or what is wrong with that; each for itself.
    pub fn of_changes(noun: &'static Noun, changes: Vec<(Uuid, Result<Change, Vec<Fault>>)>) -> Self {
        let item = |(id, change)| match change {
            Ok(change) => Item::Update(id, None, change),
            Err(faults) => Item::Wrong(faults),
        };
        let items = changes.into_iter().map(item).collect();
        Self { noun, act: Act::Update, key: None, items, all_or_none: false }
    }

    /// Rows to be deleted; each for itself.
    pub fn of_ids(noun: &'static Noun, ids: Vec<Uuid>) -> Self {
        let items = ids.into_iter().map(Item::Delete).collect();
        Self { noun, act: Act::Delete, key: None, items, all_or_none: false }
    }
}

/// Does `batch`, and tells of each item why it was refused, if it was. Errors: those that are about no item.
pub fn refusals(tx: &mut Tx<'_>, tenant: &Tenant, batch: &Batch) -> Result<Vec<Option<Error>>> {
    let refusal = |outcome| if let Outcome::Failed(error) = outcome { Some(error) } else { None };
    Ok(run::run(tx, tenant, batch)?.into_iter().map(refusal).collect())
}

/// Follows the links of one change that is meant for many rows. Errors: 422 for those that lead nowhere.
pub fn follow_links(tx: &mut Tx<'_>, tenant: &Tenant, change: Change) -> Result<()> {
    let mut set = [Draft::new(Uuid::nil(), change)];
    links::follow_all(tx, tenant, &mut set)?;
    let [draft] = set;
    draft.settled().map(drop)
}
