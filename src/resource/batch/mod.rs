//! Batch writes: many rows of one resource, created, updated, upserted or deleted in one request and one transaction.
//!
//! A batch is a set and not a loop: its references, locks, hooks and rows take one statement each, however many items
//! it has and whatever fields they set. Errors that only the database finds (a value that is taken, a check) are found
//! by bisection: a set that is rejected is rolled back and retried as two halves, until each item in error stands
//! alone. So the cost grows with the errors, not with the rows.
//!
//! All writes are batches: a single write (`single.rs`) is a set of one, an import and a bulk operation are sets of many.
//! `write_set.rs` checks and writes a set with the statements of `sql.rs`; nothing else writes rows of resources.
//! `parse.rs` reads a request to `items.rs`, `execute.rs` plans it and finds the items in error, `response.rs` reports the
//! outcomes, `http.rs` has the routes.

mod action;
mod execute;
mod http;
mod items;
mod outcome;
mod parse;
mod response;
mod single;
pub mod sql;
mod write_set;

pub use self::action::BatchAction;
pub use self::execute::{refusals, written};
pub use self::http::routes;
pub use self::items::{Batch, MAX_ITEMS, Returning};
pub use self::response::response;
pub use self::single::{create, delete, restore, update};
pub use self::write_set::{check_references, check_repeated_in};
