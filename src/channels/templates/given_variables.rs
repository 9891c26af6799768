//! The variables that a caller gives for a template: reads each as the template needs it, and collects what is wrong with them.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};

use crate::base::error::FieldError;
use crate::base::suggest::{did_you_mean, shown};

/// Blanks in a row that Meta refuses in a value.
const REFUSED_BLANKS: &str = "     ";

/// The variables of one template.
pub struct GivenVariables<'v> {
    variables: &'v Map<String, Json>,
    /// Names that the template knows.
    known: HashSet<String>,
    faults: Vec<FieldError>,
}

impl<'v> GivenVariables<'v> {
    pub fn new(variables: &'v Map<String, Json>) -> Self {
        Self { variables, known: HashSet::new(), faults: Vec::new() }
    }

    /// Whether the variable `key`, which the template knows, is given.
    pub fn has(&mut self, key: &str) -> bool {
        self.known.insert(key.to_owned());
        self.variables.contains_key(key)
    }

    /// Returns the text of the variable `key`, unchecked.
    pub fn text(&self, key: &str) -> Option<String> {
        self.variables.get(key).and_then(text_of)
    }

    /// Returns the variable `key` if it is an object with no other members than these.
    pub fn object(&mut self, key: &str, members: &[&str]) -> Option<Map<String, Json>> {
        self.known.insert(key.to_owned());
        match self.variables.get(key) {
            Some(Json::Object(given)) => {
                let unknown: Vec<&String> = given.keys().filter(|name| !members.contains(&name.as_str())).collect();
                let is_known = unknown.is_empty();
                for name in unknown {
                    let hint = did_you_mean(name, members.iter().copied());
                    let detail = format!("There is no member `{}`.{hint}", shown(name));
                    self.fault(&format!("{key}/{}", escaped(name)), "unknown_field", detail);
                }
                is_known.then(|| given.clone())
            }
            Some(_) => {
                self.fault(key, "not_an_object", format!("`{key}` is an object with {}.", members.join(", ")));
                None
            }
            None => {
                self.fault(
                    key,
                    "required",
                    format!("The template needs `{key}`: an object with {}.", members.join(", ")),
                );
                None
            }
        }
    }

    /// Returns the text of the variable `key`, which the template needs.
    pub fn value(&mut self, key: &str, max: usize) -> Option<String> {
        if !self.variables.contains_key(key) {
            self.known.insert(key.to_owned());
            self.fault(key, "required", format!("The template needs a value for `{key}`."));
            return None;
        }
        self.optional(key, max)
    }

    /// Returns the text of the variable `key`, if it is given.
    pub fn optional(&mut self, key: &str, max: usize) -> Option<String> {
        self.known.insert(key.to_owned());
        let given = self.variables.get(key)?;
        let (code, detail) = match text_of(given) {
            None => ("type", format!("`{key}` is a text.")),
            Some(text) if text.trim().is_empty() => ("blank", format!("`{key}` must not be empty: Meta refuses it.")),
            Some(text) if text.chars().count() > max => (
                "length",
                format!("`{key}` has {} characters, and at most {max} are allowed there.", text.chars().count()),
            ),
            Some(text) if text.contains(['\n', '\r', '\t']) || text.contains(REFUSED_BLANKS) => {
                let detail =
                    format!("`{key}` has a line break, a tab or more than four blanks in a row, which Meta refuses.");
                ("format", detail)
            }
            Some(text) => return Some(text),
        };
        self.fault(key, code, detail);
        None
    }

    /// Adds a fault of the variable `key`, once where header and body share it; of the template where that is empty.
    pub fn fault(&mut self, key: &str, code: &'static str, detail: String) {
        let pointer = if key.is_empty() { String::new() } else { format!("/{key}") };
        if !key.is_empty() && self.faults.iter().any(|fault| fault.pointer == pointer && fault.code == code) {
            return;
        }
        self.faults.push(FieldError::new(pointer, code, detail));
    }

    /// Errors: all faults, with those of variables that the template does not know.
    pub fn finish(mut self) -> Result<(), Vec<FieldError>> {
        let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
        for name in self.variables.keys().filter(|name| !self.known.contains(*name)) {
            let hint = did_you_mean(name, known.iter().copied());
            let detail = format!("The template has no variable `{}`.{hint}", shown(name));
            self.faults.push(FieldError::new(format!("/{}", escaped(name)), "unknown_field", detail));
        }
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults) }
    }
}

/// A value as text; numbers are written as they came.
pub fn text_of(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A name in a JSON pointer (RFC 6901).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
