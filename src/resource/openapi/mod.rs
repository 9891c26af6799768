//! The OpenAPI description of a resource, from its definition.
//!
//! `describe.rs` adds it to the document; `schemas.rs`, `parameters.rs`, `operations.rs` and `batches.rs` describe its
//! standard operations. Its other operations are described on their handlers, and merged by `merge.rs`; `values.rs` and
//! `row_parts.rs` have schemas for their bodies and responses, `if_match.rs` their precondition. `examples.rs` has names and
//! examples.

mod batches;
mod describe;
mod examples;
mod if_match;
mod merge;
mod operations;
mod parameters;
mod path_item;
mod row_parts;
mod schemas;
mod values;

pub use self::describe::{describe, listed_below};
pub use self::examples::{example, row_example};
pub use self::if_match::IfMatchHeader;
pub use self::merge::merge;
pub use self::path_item::insert;
pub use self::row_parts::{change, creation, known_or_new, row};
pub use self::values::{choice, value};
