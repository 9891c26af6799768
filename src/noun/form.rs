//! Bodies of operations that are no rows: described by fields like those of a noun, and read with every fault found at once.

use actix_web::web::Bytes;
use serde_json::{Map, Value as Json};

use super::field::Field;
use super::{Faults, body, did_you_mean};
use crate::auth::Business;
use crate::db::Value;
use crate::error::{Error, Result};

/// Deepest nesting of such a body.
const DEPTH: usize = 4;

/// A body that was read.
pub struct Form(Vec<(&'static str, Value)>);

fn whole(body: &Bytes, depth: usize) -> Result<Map<String, Json>> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match body::json(body, depth)? {
        Json::Object(members) => Ok(members),
        _ => Err(Error::malformed("not_an_object", "The body must be a JSON object.")),
    }
}

/// The members of a body that is an object of objects, of which it may have `known`; an empty body has none. What is unknown
/// is among the faults. Errors: 400 when it is no JSON object.
pub fn members(body: &Bytes, depth: usize, known: &[&str]) -> Result<(Map<String, Json>, Faults)> {
    let mut faults = Faults::default();
    let mut members = whole(body, depth)?;
    only(&mut members, known, &mut faults);
    Ok((members, faults))
}

/// Takes the object `name` out of `members`; null is the same as nothing. Errors: 422 when it is something else.
pub fn object(members: &mut Map<String, Json>, name: &str, faults: &mut Faults) -> Option<Map<String, Json>> {
    match members.shift_remove(name)? {
        Json::Object(object) => Some(object),
        Json::Null => None,
        _ => {
            faults.field(name, "type", format!("`{name}` must be an object."));
            None
        }
    }
}

/// Takes away, as unknown, what is not among `known`.
pub fn only(members: &mut Map<String, Json>, known: &[&str], faults: &mut Faults) {
    members.retain(|name, _| {
        let knows = known.contains(&name.as_str());
        if !knows {
            let hint = did_you_mean(name, known.iter().copied());
            faults.field(name, "unknown_field", format!("There is no field `{name}`.{hint}"));
        }
        knows
    });
}

/// Refuses the members that the operation itself sets.
pub fn refuse(members: &mut Map<String, Json>, names: &[&str], faults: &mut Faults) {
    for name in names.iter().filter(|name| members.shift_remove(**name).is_some()) {
        faults.field(name, "read_only", format!("`{name}` is set by this operation. Leave it out."));
    }
}

impl Form {
    /// Reads `body`, which has the members `fields`; an empty body has none.
    /// Errors: 400 when it is no JSON object; 422 with every fault.
    pub fn read(body: &Bytes, fields: &'static [Field]) -> Result<Self> {
        let mut members = whole(body, DEPTH)?;
        let mut faults = Faults::default();
        let mut values = Vec::new();
        for field in fields {
            let name = field.name;
            match members.shift_remove(name) {
                None | Some(Json::Null) if field.required => {
                    faults.field(name, "required", format!("`{name}` is required."));
                }
                None | Some(Json::Null) => {}
                Some(json) => match body::value(field.kind, json, &Business::nowhere()) {
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

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_text)
    }

    /// A text that its field requires.
    pub fn required(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    pub fn time(&self, name: &str) -> Option<chrono::DateTime<chrono::Utc>> {
        self.get(name).and_then(Value::as_time)
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Value::Int(number)) => *number,
            _ => None,
        }
    }
}
