//! Many rows changed by what they are like, and not one by one: `POST /{noun}/bulk-operations` counts those that a filter finds and
//! makes a job of the rest.
//!
//! The job walks the rows in the order of their ids, some hundreds with each step, as sets ([`crate::noun::batch`]). Where it is,
//! is committed with what it changed: so each row is changed exactly once, whatever becomes of the process, and also when a row
//! that was changed would be found again. Rows that are made after it was asked for are not its own.

pub mod document;
mod http;
mod order;
mod step;

pub use self::http::routes;
use self::order::Order;
use crate::jobs::Kind;
use crate::noun::Noun;
use crate::nouns::NOUNS;

/// The kind of its jobs.
pub static BULK: Kind = Kind { name: "bulk_operation", step: step::step };

/// The nouns that have it: those with batches.
fn nouns() -> impl Iterator<Item = &'static Noun> {
    NOUNS.into_iter().filter(|noun| noun.operations.batch)
}
