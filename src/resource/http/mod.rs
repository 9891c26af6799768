//! The HTTP operations that every resource has.
//!
//! `routes.rs` registers them, `read.rs` and `write.rs` handle them, `request.rs` has what handlers of other operations
//! need as well: the base path, the row's id, permissions.

mod read;
mod request;
mod routes;
mod write;

pub use self::request::{API, id, may_change, no_parameters};
pub use self::routes::routes;
