//! Request bodies: from JSON to a [`Changeset`], with every validation error reported at once.
//!
//! [`json`] parses the text (json_body.rs), `changeset_parser.rs` an object to what a write sets, [`value`] and [`scalar`]
//! one field (values.rs); [`ValidationErrors`] collects the errors.

mod changeset;
mod changeset_parser;
mod json_body;
mod validation_errors;
mod values;

pub use self::changeset::Changeset;
pub use self::changeset_parser::not_its_own;
pub use self::json_body::json;
pub use self::validation_errors::{MAX_ERRORS, ValidationErrors};
pub use self::values::{MAX_TAGS, is_email, scalar, stored, value};
