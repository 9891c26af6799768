//! Parts of a body that are rows: objects which a [`super::Changeset`] reads.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use serde_json::{Map, Value as Json};

use super::body_errors::BodyErrors;
use super::validation_errors::ValidationErrors;
use crate::base::suggest::{did_you_mean, shown};

/// A JSON object of any members.
#[derive(Clone, Debug)]
pub struct JsonObject(pub Map<String, Json>);

impl Deserr<BodyErrors> for JsonObject {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, BodyErrors> {
        match Json::from(value) {
            Json::Object(members) => Ok(Self(members)),
            Json::Null => Err(BodyErrors::of(location, "required", "is required.")),
            _ => Err(BodyErrors::of(location, "type", "must be an object.")),
        }
    }
}

/// Takes the value `name` out of `members`, of which a changeset reads the rest; null counts as absent. A value of another
/// type is a validation error.
pub fn take<T: Deserr<BodyErrors>>(
    members: &mut Map<String, Json>,
    name: &str,
    errors: &mut ValidationErrors,
) -> Option<T> {
    let value = members.shift_remove(name).filter(|value| !value.is_null())?;
    T::deserialize_from_value(value.into_value(), ValuePointerRef::Origin.push_key(name))
        .map_err(|wrong| errors.extend(wrong.into_errors()))
        .ok()
}

/// Removes the members that are not among `known`, each with a validation error.
pub fn only(members: &mut Map<String, Json>, known: &[&str], errors: &mut ValidationErrors) {
    members.retain(|name, _| {
        let knows = known.contains(&name.as_str());
        if !knows {
            let hint = did_you_mean(name, known.iter().copied());
            errors.field(name, "unknown_field", format!("There is no field `{}`.{hint}", shown(name)));
        }
        knows
    });
}

/// Removes the members that the operation itself sets, each with a validation error.
pub fn refuse(members: &mut Map<String, Json>, names: &[&str], errors: &mut ValidationErrors) {
    for name in names.iter().filter(|name| members.shift_remove(**name).is_some()) {
        errors.field(name, "read_only", format!("`{name}` is set by this operation. Leave it out."));
    }
}
