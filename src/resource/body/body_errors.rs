//! Collects the validation errors of a body that is read into its type: what deserr finds, in the service's own words.

use std::ops::ControlFlow;

use deserr::{DeserializeError, ErrorKind, IntoValue, MergeWithError, Value, ValueKind, ValuePointerRef};
use serde_json::Value as Json;

use super::validation_errors::ValidationErrors;
use super::values::value;
use crate::auth::TenantSettings;
use crate::base::suggest::{did_you_mean, shown};
use crate::db::SqlValue;
use crate::resource::field::FieldType;

/// The validation errors of a body.
#[derive(Debug, Default)]
pub struct BodyErrors {
    wrong: ValidationErrors,
    /// Members that there are not. They come last, whatever their place in the body.
    unknown: ValidationErrors,
}

impl BodyErrors {
    /// Validates and cleans one value as that of a field of the type `kind`. Errors: what is wrong with it.
    pub fn checked(kind: FieldType, json: Json, location: ValuePointerRef<'_>) -> Result<SqlValue, Self> {
        let checked = match json {
            Json::Null => return Err(Self::of(location, "required", "is required.")),
            json => value(kind, json, &TenantSettings::nowhere()),
        };
        checked.map_err(|(code, detail)| Self::of(location, code, &detail))
    }

    /// One error of the member at `location`, whose name begins the text.
    pub fn of(location: ValuePointerRef<'_>, code: &'static str, detail: &str) -> Self {
        let mut errors = Self::default();
        errors.add(location, code, detail);
        errors
    }

    fn add(&mut self, location: ValuePointerRef<'_>, code: &'static str, detail: &str) {
        let name = location.last_field().unwrap_or("the body");
        self.wrong.at(pointer(location), code, format!("`{name}` {detail}"));
    }

    /// Returns all of them.
    pub fn into_errors(mut self) -> ValidationErrors {
        self.wrong.extend(self.unknown);
        self.wrong
    }
}

impl MergeWithError<Self> for BodyErrors {
    fn merge(errors: Option<Self>, others: Self, _: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        let mut errors = errors.unwrap_or_default();
        errors.wrong.extend(others.wrong);
        errors.unknown.extend(others.unknown);
        ControlFlow::Continue(errors)
    }
}

impl DeserializeError for BodyErrors {
    fn error<V: IntoValue>(
        errors: Option<Self>,
        error: ErrorKind<'_, V>,
        location: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        let mut errors = errors.unwrap_or_default();
        match error {
            ErrorKind::MissingField { field } => errors.add(location.push_key(field), "required", "is required."),
            // Where a value is needed, null counts as absent.
            ErrorKind::IncorrectValueKind { actual: Value::Null, .. } => {
                errors.add(location, "required", "is required.");
            }
            ErrorKind::IncorrectValueKind { accepted, .. } => {
                errors.add(location, "type", &format!("must be {}.", expected(accepted)));
            }
            ErrorKind::UnknownKey { key, accepted } => {
                let hint = did_you_mean(key, accepted.iter().copied());
                let detail = format!("There is no field `{}`.{hint}", shown(key));
                errors.unknown.at(pointer(location.push_key(key)), "unknown_field", detail);
            }
            ErrorKind::UnknownValue { value, accepted } => {
                let hint = crate::base::suggest::nearest(value, accepted);
                let hint = hint.map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
                errors.add(location, "not_a_choice", &format!("must be one of {}.{hint}", accepted.join(", ")));
            }
            ErrorKind::BadSequenceLen { expected, .. } => {
                errors.add(location, "length", &format!("must be a list of {expected}."));
            }
            ErrorKind::Unexpected { msg } => errors.add(location, "format", &msg),
        }
        ControlFlow::Continue(errors)
    }
}

/// The kinds that are accepted, in words.
fn expected(accepted: &[ValueKind]) -> String {
    let name = |kind: &ValueKind| match kind {
        ValueKind::Null => "null",
        ValueKind::Boolean => "true or false",
        ValueKind::Integer | ValueKind::NegativeInteger => "a whole number",
        ValueKind::Float => "a number",
        ValueKind::String => "a text",
        ValueKind::Sequence => "a list",
        ValueKind::Map => "an object",
    };
    let mut names: Vec<&str> = accepted.iter().map(name).collect();
    names.dedup();
    names.join(" or ")
}

/// The JSON pointer of a place in the body (RFC 6901).
fn pointer(location: ValuePointerRef<'_>) -> String {
    match location {
        ValuePointerRef::Origin => String::new(),
        ValuePointerRef::Key { key, prev } => {
            format!("{}/{}", pointer(*prev), shown(key).replace('~', "~0").replace('/', "~1"))
        }
        ValuePointerRef::Index { index, prev } => format!("{}/{index}", pointer(*prev)),
    }
}
