//! Parses a JSON object to a [`Changeset`], validated against a resource's definition.

use serde_json::{Map, Value as Json};

use super::changeset::Changeset;
use super::validation_errors::ValidationErrors;
use super::values::value;
use crate::auth::TenantSettings;
use crate::base::error::{Error, FieldError, Result};
use crate::base::suggest::{did_you_mean, shown};
use crate::db::SqlValue;
use crate::resource::definition::Resource;
use crate::resource::field::{Field, Mutability};

impl Changeset {
    /// Parses the body of a create or of a merge patch. Errors: 422 with every error of type, range, presence, and
    /// between fields; 400 if it is not an object.
    pub fn parse(resource: &'static Resource, body: Json, creates: bool, business: &TenantSettings) -> Result<Self> {
        let Json::Object(members) = body else {
            return Err(Error::malformed("not_an_object", "The body must be a JSON object."));
        };
        Self::read(resource, members, creates, business).map_err(Error::Invalid)
    }

    /// Parses an item of a set. Errors: all its validation errors.
    pub fn of_item(
        resource: &'static Resource,
        members: Map<String, Json>,
        creates: bool,
        business: &TenantSettings,
    ) -> Result<Self, Vec<FieldError>> {
        Self::read(resource, members, creates, business)
    }

    fn read(
        resource: &'static Resource,
        mut members: Map<String, Json>,
        creates: bool,
        business: &TenantSettings,
    ) -> Result<Self, Vec<FieldError>> {
        let mut change = Self::empty(resource.fields);
        change.creates = creates;
        let mut faults = ValidationErrors::default();
        for field in resource.fields {
            change.read_field(field, members.shift_remove(field.name), business, &mut faults);
        }
        unknown(resource, &members, change.creates, &mut faults);
        (resource.hooks.prepare)(&mut change, business, &mut faults);
        change.default_currencies(business);
        change.repeat_set_once();
        if faults.is_empty() {
            return Ok(change);
        }
        // The others are compared with the row, which a body with errors does not reach.
        for (field, _) in change.repeated().iter().filter(|(_, value)| value.is_none()) {
            faults.add(format!("/{}", field.name), "read_only", not_its_own(field));
        }
        Err(faults.into_inner())
    }

    fn read_field(
        &mut self,
        field: &'static Field,
        given: Option<Json>,
        business: &TenantSettings,
        faults: &mut ValidationErrors,
    ) {
        let name = field.name;
        match given {
            None if self.creates && field.required => faults.field(name, "required", format!("`{name}` is required.")),
            None => {}
            Some(_) if self.creates && field.mutability == Mutability::ReadOnly => {
                faults.field(name, "read_only", format!("`{name}` is set by the service. Leave it out."));
            }
            // A row that was read can be sent back as it is: what it repeats must be the row's own.
            Some(json) if !self.creates && field.mutability != Mutability::Always => {
                // Of a list that is null the value is an empty list.
                let is_null = json.is_null();
                match value(field.field_type, json, business) {
                    // `prepare` may complete it, as it did when the row was created.
                    Ok(value) if field.mutability == Mutability::Once && !is_null => self.push(field, value),
                    Ok(value) if field.nullable || !is_null => self.repeat(field, Some(value)),
                    _ => self.repeat(field, None),
                }
            }
            // On create, null counts as absent.
            Some(Json::Null) if self.creates && field.nullable => {}
            Some(Json::Null) if !field.nullable => {
                faults.field(name, "required", format!("`{name}` must not be null."));
            }
            Some(json) => match value(field.field_type, json, business) {
                Ok(SqlValue::Json(Some(object))) if self.creates && field.merges() => {
                    self.push(field, SqlValue::Json(Some(merged_into_nothing(object))));
                }
                Ok(value) => self.push(field, value),
                Err((code, detail)) => faults.field(name, code, format!("`{name}` {detail}")),
            },
        }
    }
}

/// What is wrong with a value that a client does not set and that is not the row's own.
pub fn not_its_own(field: &Field) -> String {
    let name = field.name;
    match field.mutability {
        _ if matches!(name, "version" | "updated_at") => {
            format!("The row has changed since it was read: its `{name}` is another. Read it again.")
        }
        Mutability::Once => format!("`{name}` cannot be changed, and is another in the row. Leave it out."),
        _ => format!("`{name}` is set by the service, and is another in the row. Leave it out."),
    }
}

fn unknown(resource: &Resource, members: &Map<String, Json>, creates: bool, faults: &mut ValidationErrors) {
    for name in members.keys() {
        let known = resource.writable_fields(creates).map(|field| field.name);
        let hint = did_you_mean(name, known);
        faults.field(name, "unknown_field", format!("There is no field `{}`.{hint}", shown(name)));
    }
}

/// Applies a merge patch to nothing (RFC 7396): drops members that are null, except within lists.
fn merged_into_nothing(patch: Json) -> Json {
    match patch {
        Json::Object(members) => {
            let named = members.into_iter().filter(|(_, value)| !value.is_null());
            Json::Object(named.map(|(name, value)| (name, merged_into_nothing(value))).collect())
        }
        other => other,
    }
}
