//! Parses request bodies as JSON, within limits.

use serde_json::Value as Json;

use crate::base::error::{Error, Result};

/// Parses a JSON body; rejects one nested deeper than `depth`, before anything else reads it. Errors: 400.
pub fn json(bytes: &[u8], depth: usize) -> Result<Json> {
    let too_deep = || Error::malformed("too_deep", format!("The body is nested deeper than {depth} levels."));
    let parsed: Json = serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        // The library distinguishes its own limits in the message only.
        match error.to_string() {
            text if text.starts_with("recursion limit") => too_deep(),
            text if text.starts_with("number out of range") => Error::malformed(
                "number_out_of_range",
                format!("A number is too large for a 64-bit float ({place}). Write it as a string."),
            ),
            _ => Error::malformed("invalid_json", format!("The body is not valid JSON ({place}).")),
        }
    })?;
    if deeper(&parsed, depth) { Err(too_deep()) } else { Ok(parsed) }
}

fn deeper(json: &Json, depth: usize) -> bool {
    match json {
        Json::Array(items) => depth == 0 || items.iter().any(|item| deeper(item, depth - 1)),
        Json::Object(members) => depth == 0 || members.values().any(|value| deeper(value, depth - 1)),
        _ => false,
    }
}
