//! The OpenAPI description of a resource, from its definition.
//!
//! `describe.rs` adds it to the document; `schemas.rs`, `parameters.rs`, `operations.rs` and `batches.rs` describe its
//! standard operations. Its other operations are described on their handlers, and merged by `merge.rs`. `acts.rs` and
//! `parts.rs` describe some by hand; `values.rs` has the schemas of values; `examples.rs` has names and examples.

mod acts;
mod batches;
mod describe;
mod examples;
mod merge;
mod operations;
mod parameters;
mod parts;
mod path_item;
mod schemas;
mod values;

pub use self::acts::{Act, Gives};
pub use self::describe::{describe, listed_below};
pub use self::examples::{example, row_example};
pub use self::merge::merge;
pub use self::parts::{Part, Shape};
pub use self::path_item::insert;
pub use self::values::value;
