//! Reads a body into the type that its operation takes, with every validation error at once.

use actix_web::web::Bytes;
use deserr::Deserr;
use serde_json::{Map, Value as Json};

use super::body_errors::BodyErrors;
use super::json_body::json;
use super::validation_errors::ValidationErrors;
use crate::base::error::{Error, Result};

/// Maximum nesting depth of a body that holds no rows.
const DEPTH: usize = 4;

/// The body of an operation that takes none: nothing, or an object without members.
#[derive(Deserr)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
pub struct NoBody {}

/// Reads a body; an empty one counts as `{}`. Errors: 400 when it is not a JSON object; 422 with every validation error.
pub fn read<T: Deserr<BodyErrors>>(body: &Bytes) -> Result<T> {
    typed(members(body, DEPTH)?).map_err(|errors| Error::Invalid(errors.into_inner()))
}

/// Reads a body whose parts are validated afterwards, so that their errors can be reported together with those found
/// here: returns what the right members say, and the errors of the others. `T` requires no member. Errors: 400 when it
/// is not a JSON object.
pub fn read_parts<T: Deserr<BodyErrors>>(body: &Bytes, depth: usize) -> Result<(T, ValidationErrors)> {
    let (mut right, mut errors) = (Map::new(), ValidationErrors::default());
    for (name, value) in members(body, depth)? {
        match typed::<T>(Map::from_iter([(name.clone(), value.clone())])) {
            Ok(_) => drop(right.insert(name, value)),
            Err(wrong) => errors.extend(wrong),
        }
    }
    let read = typed(right).map_err(|errors| Error::Invalid(errors.into_inner()))?;
    Ok((read, errors))
}

/// Reads the members of a body; an empty one has none. Errors: 400 when it is not a JSON object.
pub fn members(body: &Bytes, depth: usize) -> Result<Map<String, Json>> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match json(body, depth)? {
        Json::Object(members) => Ok(members),
        _ => Err(Error::malformed("not_an_object", "The body must be a JSON object.")),
    }
}

fn typed<T: Deserr<BodyErrors>>(members: Map<String, Json>) -> Result<T, ValidationErrors> {
    deserr::deserialize::<T, Json, BodyErrors>(Json::Object(members)).map_err(BodyErrors::into_errors)
}
