//! Batch writes: many rows of one resource, created, updated, upserted or deleted in one request and one transaction.
//!
//! A batch is a set and not a loop: its references, locks, hooks and rows take one statement each, however many items
//! it has and whatever fields they set. Errors that only the database finds (a value that is taken, a check) are found
//! by bisection: a set that is rejected is rolled back and retried as two halves, until each item in error stands
//! alone. So the cost grows with the errors, not with the rows.
//!
//! `parse.rs` reads the body to `items.rs`, `execute.rs` plans and writes the set with the statements of [`sql`],
//! `response.rs` reports the outcomes, `http.rs` has the routes.

mod action;
mod execute;
mod http;
mod items;
mod outcome;
mod parse;
mod response;
pub mod sql;

pub use self::action::BatchAction;
pub use self::execute::{check_references, refusals};
pub use self::http::routes;
pub use self::items::{Batch, MAX_ITEMS};
pub use self::response::response;
