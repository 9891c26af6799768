//! Reads and writes of single rows, for the operations of other rooms.

pub use super::batch::{create, delete, restore, update};
pub use super::read_rows::*;
