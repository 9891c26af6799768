//! The HTTP operations that every resource has.
//!
//! `routes.rs` registers them, and `direct.rs` finds the most frequent of them without the router; `read.rs` and `write.rs` handle them, `request.rs` has what handlers of other operations
//! need as well: the base path, the row's id, permissions.

mod direct;
mod read;
mod request;
mod routes;
mod write;

pub use self::direct::ReadRouter;
pub use self::request::{API, id, may_change, no_parameters, path_uuid};
pub use self::routes::routes;
