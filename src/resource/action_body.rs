//! Bodies of operations other than CRUD: described by fields like a resource, and validated with every error at once.

use actix_web::web::Bytes;
use serde_json::{Map, Value as Json};

use super::field::Field;
use super::{ValidationErrors, body, did_you_mean};
use crate::auth::TenantSettings;
use crate::base::error::{Error, Result};
use crate::db::SqlValue;

/// Maximum nesting depth of such a body.
const DEPTH: usize = 4;

/// A validated body.
pub struct ActionBody(Vec<(&'static str, SqlValue)>);

fn whole(body: &Bytes, depth: usize) -> Result<Map<String, Json>> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match body::json(body, depth)? {
        Json::Object(members) => Ok(members),
        _ => Err(Error::malformed("not_an_object", "The body must be a JSON object.")),
    }
}

/// Reads a body that is an object of objects, with at most the members `known`; an empty body has none. Unknown members
/// are validation errors. Errors: 400 when it is not a JSON object.
pub fn members(body: &Bytes, depth: usize, known: &[&str]) -> Result<(Map<String, Json>, ValidationErrors)> {
    let mut faults = ValidationErrors::default();
    let mut members = whole(body, depth)?;
    only(&mut members, known, &mut faults);
    Ok((members, faults))
}

/// Takes the object `name` out of `members`; null counts as absent. Anything else is a validation error.
pub fn object(members: &mut Map<String, Json>, name: &str, faults: &mut ValidationErrors) -> Option<Map<String, Json>> {
    match members.shift_remove(name)? {
        Json::Object(object) => Some(object),
        Json::Null => None,
        _ => {
            faults.field(name, "type", format!("`{name}` must be an object."));
            None
        }
    }
}

/// Removes the members that are not among `known`, each with a validation error.
pub fn only(members: &mut Map<String, Json>, known: &[&str], faults: &mut ValidationErrors) {
    members.retain(|name, _| {
        let knows = known.contains(&name.as_str());
        if !knows {
            let hint = did_you_mean(name, known.iter().copied());
            faults.field(name, "unknown_field", format!("There is no field `{name}`.{hint}"));
        }
        knows
    });
}

/// Removes the members that the operation itself sets, each with a validation error.
pub fn refuse(members: &mut Map<String, Json>, names: &[&str], faults: &mut ValidationErrors) {
    for name in names.iter().filter(|name| members.shift_remove(**name).is_some()) {
        faults.field(name, "read_only", format!("`{name}` is set by this operation. Leave it out."));
    }
}

impl ActionBody {
    /// Reads `body`, which has the members `fields`; an empty body has none. Errors: 400 when it is not a JSON object;
    /// 422 with every validation error.
    pub fn read(body: &Bytes, fields: &'static [Field]) -> Result<Self> {
        let mut members = whole(body, DEPTH)?;
        let mut faults = ValidationErrors::default();
        let mut values = Vec::new();
        for field in fields {
            let name = field.name;
            match members.shift_remove(name) {
                None | Some(Json::Null) if field.required => {
                    faults.field(name, "required", format!("`{name}` is required."));
                }
                None | Some(Json::Null) => {}
                Some(json) => match body::value(field.field_type, json, &TenantSettings::nowhere()) {
                    Ok(value) => values.push((name, value)),
                    Err((code, detail)) => faults.field(name, code, format!("`{name}` {detail}")),
                },
            }
        }
        for name in members.keys() {
            let hint = did_you_mean(name, fields.iter().map(|field| field.name));
            faults.field(name, "unknown_field", format!("There is no field `{name}`.{hint}"));
        }
        faults.into_result()?;
        Ok(Self(values))
    }

    fn get(&self, name: &str) -> Option<&SqlValue> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(SqlValue::as_text)
    }

    /// The text of a required field.
    pub fn required(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    pub fn time(&self, name: &str) -> Option<chrono::DateTime<chrono::Utc>> {
        self.get(name).and_then(SqlValue::as_time)
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(SqlValue::Int(number)) => *number,
            _ => None,
        }
    }
}
