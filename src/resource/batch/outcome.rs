//! The outcome of a batch's item.

use uuid::Uuid;

use crate::base::error::Error;
use crate::resource::row::Row;

/// The outcome of an item.
#[derive(Debug)]
pub(super) enum Outcome {
    Created(Uuid, Row),
    Updated(Uuid, Row),
    Deleted(Uuid),
    Failed(Error),
}
