//! Bodies of requests: from JSON to a [`Change`], with every fault found at once.
//!
//! [`json`] reads the text, [`Change`] what a write sets, [`value`] and [`scalar`] one field, and [`Faults`] gathers what is wrong.

mod changeset;
mod json_body;
mod validation_errors;
mod values;

pub use self::changeset::Change;
pub use self::json_body::json;
pub use self::validation_errors::{Faults, MOST_FAULTS};
pub use self::values::{LARGEST_OBJECT, MOST_TAGS, is_email, scalar, value};
