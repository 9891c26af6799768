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

impl Form {
    /// Reads `body`, which has the members `fields`; an empty body has none.
    /// Errors: 400 when it is no JSON object; 422 with every fault.
    pub fn read(body: &Bytes, fields: &'static [Field]) -> Result<Self> {
        let mut members = match body.is_empty() {
            true => Map::new(),
            false => match body::json(body, DEPTH)? {
                Json::Object(members) => members,
                _ => return Err(Error::malformed("not_an_object", "The body must be a JSON object.")),
            },
        };
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

    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Value::Int(number)) => *number,
            _ => None,
        }
    }
}
