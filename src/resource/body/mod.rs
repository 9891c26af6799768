//! Request bodies, with every validation error reported at once: from JSON to a [`Changeset`] where a resource is written,
//! and to a type of its own where an operation takes something else.
//!
//! [`json`] parses the text (json_body.rs), `changeset_parser.rs` an object to what a write sets, [`value`] and [`scalar`]
//! one field (values.rs); [`ValidationErrors`] collects the errors. [`read()`] reads a body into its type by way of deserr,
//! whose errors `body_errors.rs` puts into words; types of values are declared with [`value_type`], and `parts.rs` takes
//! rows out of a body.

mod body_errors;
mod changeset;
mod changeset_parser;
mod json_body;
mod parts;
mod read;
mod validation_errors;
mod value_type;
mod values;

pub use self::body_errors::BodyErrors;
pub use self::changeset::Changeset;
pub use self::changeset_parser::not_its_own;
pub use self::json_body::json;
pub use self::parts::{JsonObject, only, refuse, take};
pub use self::read::{NoBody, members, read, read_parts, read_within};
pub use self::validation_errors::{MAX_ERRORS, ValidationErrors};
pub use self::value_type::FromValue;
pub(crate) use self::value_type::value_type;
pub use self::values::{MAX_TAGS, is_email, scalar, stored, value};
