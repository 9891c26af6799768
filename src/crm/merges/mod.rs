//! Merges: combine contacts or companies that are the same into one, and can be undone.
//!
//! `merge.rs` points the references to the others to the survivor, fills its empty fields, and records what it did;
//! `undo.rs` reverts that as far as nothing has been changed since. Merges of one business are serialized: they lock
//! many rows, and a concurrent merge may have just moved one of them.
//!
//! `resource.rs` has the definition, `references.rs` which rows lead to others, `fields.rs` which fields compete,
//! `locks.rs` the locks, `dto.rs` bodies and responses.

mod dto;
mod fields;
pub mod http;
mod locks;
mod merge;
pub mod references;
mod resource;
mod undo;

pub use self::locks::take_turns;
pub use self::resource::{MERGES, MergeRow, REVERSIBLE_DAYS};
