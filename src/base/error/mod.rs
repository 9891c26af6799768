//! Errors and their translation to HTTP. `error` is the type, `field_error` one error of the input, `problem` the
//! response; `codes` lists the codes of both. `database_error` translates errors of PostgreSQL, with `constraint` for
//! violated constraints and `server_message` for what only the message tells.

mod codes;
pub mod constraint;
mod database_error;
mod error;
mod field_error;
mod problem;
mod server_message;

pub use self::codes::{FIELD_ERROR_CODES, PROBLEM_CODES};
pub use self::constraint::MAX_OBJECT_BYTES;
pub use self::error::{BoxError, Error, Result};
pub use self::field_error::FieldError;
pub use self::server_message::{is_deadlock, is_shutdown};
