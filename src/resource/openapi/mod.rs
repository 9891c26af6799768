//! The OpenAPI description of a resource, from its definition.
//!
//! `describe.rs` adds it to the document; `schemas.rs`, `parameters.rs`, `operations.rs`, `batches.rs` and `history.rs`
//! describe its standard operations. Its other operations are described on their handlers, and merged by `merge.rs`;
//! `values.rs` and `row_parts.rs` have schemas for their bodies and responses, `if_match.rs` their precondition.
//! `field_schema.rs` has the schemas of fields, `names.rs` the names of all schemas, `examples.rs` examples and words.

mod batches;
mod conditional;
mod describe;
mod examples;
mod field_schema;
mod history;
mod if_match;
mod merge;
mod names;
mod operations;
mod parameters;
mod path_item;
mod row_parts;
mod schemas;
mod values;

pub use self::batches::shared_response;
pub use self::conditional::conditional;
pub use self::describe::{describe, listed_below, shared};
pub use self::examples::{example, row_example};
pub use self::history::describe_history;
pub use self::if_match::IfMatchHeader;
pub use self::merge::merge;
pub use self::names::pascal;
pub use self::parameters::{limit, query, separated};
pub use self::path_item::insert;
pub use self::row_parts::{change, creation, known_or_new, row};
pub use self::values::{JsonObject, choice, or_null, value};
pub use super::iso_codes::about_minor_units;
