//! A changeset: the fields that a write sets, from a JSON object validated against a resource's definition.

use serde_json::{Map, Value as Json};

use super::validation_errors::ValidationErrors;
use super::values::value;
use crate::auth::TenantSettings;
use crate::base::error::{Error, FieldError, Result};
use crate::base::suggest::shown;
use crate::db::SqlValue;
use crate::resource::field::{Field, Mutability};
use crate::resource::{Resource, did_you_mean};

/// What a body is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Create,
    Update,
    /// To be compared with an existing row: it may repeat fields that are set once.
    Match,
}

/// The fields of one resource that a write sets, and their new values.
#[derive(Clone, Debug)]
pub struct Changeset {
    pub resource: &'static Resource,
    /// Whether a row is created, rather than updated.
    pub creates: bool,
    values: Vec<(&'static Field, SqlValue)>,
    /// Fields that are set only where the value of the other field changes.
    following: Vec<(&'static str, &'static str)>,
    /// Fields that are set only where the row has null.
    filling: Vec<&'static str>,
}

impl Changeset {
    /// An empty changeset for an existing row.
    pub fn none(resource: &'static Resource) -> Self {
        Self { resource, creates: false, values: Vec::new(), following: Vec::new(), filling: Vec::new() }
    }

    /// Parses the body of a create or of a merge patch. Errors: 422 with every error of type, range, presence, and
    /// between fields; 400 if it is not an object.
    pub fn parse(resource: &'static Resource, body: Json, creates: bool, business: &TenantSettings) -> Result<Self> {
        let Json::Object(members) = body else {
            return Err(Error::malformed("not_an_object", "The body must be a JSON object."));
        };
        Self::read(resource, members, if creates { Purpose::Create } else { Purpose::Update }, business)
            .map_err(Error::Invalid)
    }

    /// Parses an item of a set. Errors: all its validation errors.
    pub fn of_item(
        resource: &'static Resource,
        members: Map<String, Json>,
        creates: bool,
        business: &TenantSettings,
    ) -> Result<Self, Vec<FieldError>> {
        Self::read(resource, members, if creates { Purpose::Create } else { Purpose::Update }, business)
    }

    /// Parses the wanted state of an existing row. It may have fields that are set once, for comparison with the row.
    /// Errors: all validation errors.
    pub fn of_match(
        resource: &'static Resource,
        members: Map<String, Json>,
        business: &TenantSettings,
    ) -> Result<Self, Vec<FieldError>> {
        Self::read(resource, members, Purpose::Match, business)
    }

    fn read(
        resource: &'static Resource,
        mut members: Map<String, Json>,
        purpose: Purpose,
        business: &TenantSettings,
    ) -> Result<Self, Vec<FieldError>> {
        let mut change = Self { creates: purpose == Purpose::Create, ..Self::none(resource) };
        let mut faults = ValidationErrors::default();
        for field in resource.fields {
            change.read_field(field, members.shift_remove(field.name), purpose, business, &mut faults);
        }
        unknown(resource, &members, change.creates, &mut faults);
        (resource.hooks.prepare)(&mut change, business, &mut faults);
        change.default_currencies(business);
        if faults.is_empty() { Ok(change) } else { Err(faults.into_inner()) }
    }

    fn read_field(
        &mut self,
        field: &'static Field,
        given: Option<Json>,
        purpose: Purpose,
        business: &TenantSettings,
        faults: &mut ValidationErrors,
    ) {
        let name = field.name;
        match given {
            None if self.creates && field.required => faults.field(name, "required", format!("`{name}` is required.")),
            None => {}
            Some(_) if field.mutability == Mutability::ReadOnly => {
                faults.field(name, "read_only", format!("`{name}` is set by the service. Leave it out."));
            }
            Some(_) if field.mutability == Mutability::Once && purpose == Purpose::Update => {
                faults.field(name, "read_only", format!("`{name}` cannot be changed. Leave it out."));
            }
            // On create, null counts as absent.
            Some(Json::Null) if self.creates && field.nullable => {}
            Some(Json::Null) if !field.nullable => {
                faults.field(name, "required", format!("`{name}` must not be null."));
            }
            Some(json) => match value(field.field_type, json, business) {
                Ok(SqlValue::Json(Some(object))) if self.creates && field.merges() => {
                    self.values.push((field, SqlValue::Json(Some(merged_into_nothing(object)))));
                }
                Ok(value) => self.values.push((field, value)),
                Err((code, detail)) => faults.field(name, code, format!("`{name}` {detail}")),
            },
        }
    }

    /// An empty changeset for an existing row.
    pub fn nothing(resource: &'static Resource) -> Self {
        Self::none(resource)
    }

    pub fn get(&self, name: &str) -> Option<&SqlValue> {
        self.values.iter().find(|(field, _)| field.name == name).map(|(_, value)| value)
    }

    /// Returns the text of `name`, if it is set and not null.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(SqlValue::as_text)
    }

    /// Sets `name`, replacing the client's value. Names that the resource does not have are ignored.
    pub fn set(&mut self, name: &str, value: SqlValue) {
        self.unset(name);
        if let Some(field) = self.resource.field(name) {
            self.values.push((field, value));
        }
    }

    /// Sets `name` unless the client did.
    pub fn set_default(&mut self, name: &str, value: SqlValue) {
        if self.get(name).is_none() {
            self.set(name, value);
        }
    }

    /// Sets `name` only where the value of `by`, which this changeset sets, changes: repeating a value does not change
    /// what follows from it. (In a new row it is always set.)
    pub fn set_if_changed(&mut self, by: &'static str, name: &'static str, value: SqlValue) {
        self.set(name, value);
        if !self.creates {
            self.following.push((name, by));
        }
    }

    /// Returns the field that `name` follows, see [`Changeset::set_if_changed`].
    pub fn follows(&self, name: &str) -> Option<&'static str> {
        self.following.iter().find(|(follower, _)| *follower == name).map(|(_, by)| *by)
    }

    /// Sets `name` only where the row has null. (A new row has.)
    fn fill(&mut self, name: &'static str, value: SqlValue) {
        self.set(name, value);
        if !self.creates {
            self.filling.push(name);
        }
    }

    /// Whether `name` is set only where the row has null.
    pub fn fills(&self, name: &str) -> bool {
        self.filling.contains(&name)
    }

    /// Gives amounts without a currency the business's own, unless the row has one: fields that an update does not name
    /// stay.
    fn default_currencies(&mut self, business: &TenantSettings) {
        for field in self.resource.fields {
            let is_given = self.get(field.name).is_some_and(|amount| !amount.is_null());
            if let Some(currency) = field.currency.filter(|name| is_given && self.get(name).is_none()) {
                self.fill(currency, SqlValue::Text(Some(business.currency.clone())));
            }
        }
    }

    /// Removes `name`: the field stays unchanged.
    pub fn unset(&mut self, name: &str) {
        self.filling.retain(|filled| *filled != name);
        self.values.retain(|(field, _)| field.name != name);
        self.following.retain(|(follower, _)| *follower != name);
    }

    pub fn values(&self) -> &[(&'static Field, SqlValue)] {
        &self.values
    }
}

fn unknown(resource: &Resource, members: &Map<String, Json>, creates: bool, faults: &mut ValidationErrors) {
    let writable =
        |field: &&Field| field.mutability == Mutability::Always || (creates && field.mutability == Mutability::Once);
    for name in members.keys() {
        let known = resource.fields.iter().filter(writable).map(|field| field.name);
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
