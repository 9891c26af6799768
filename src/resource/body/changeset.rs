//! A changeset: the fields that a write sets, and their new values.

use crate::auth::TenantSettings;
use crate::db::SqlValue;
use crate::resource::field::Field;

/// The fields of one resource that a write sets, and their new values.
#[derive(Clone, Debug)]
pub struct Changeset {
    /// All fields of the resource.
    fields: &'static [Field],
    /// Whether a row is created, rather than updated.
    pub creates: bool,
    values: Vec<(&'static Field, SqlValue)>,
    /// Fields that are set only where the value of the other field changes.
    following: Vec<(&'static str, &'static str)>,
    /// Fields that are set only where the row has null.
    filling: Vec<&'static str>,
}

impl Changeset {
    /// An empty changeset for an existing row of the resource with these fields.
    pub fn empty(fields: &'static [Field]) -> Self {
        Self { fields, creates: false, values: Vec::new(), following: Vec::new(), filling: Vec::new() }
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
        if let Some(field) = self.fields.iter().find(|field| field.name == name) {
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
    pub(super) fn default_currencies(&mut self, business: &TenantSettings) {
        for field in self.fields {
            let is_given = self.get(field.name).is_some_and(|amount| !amount.is_null());
            if let Some(currency) = field.currency.filter(|name| is_given && self.get(name).is_none()) {
                self.fill(currency, SqlValue::Text(Some(business.currency.clone())));
            }
        }
    }

    /// Adds the value of a field that is not set yet.
    pub(super) fn push(&mut self, field: &'static Field, value: SqlValue) {
        self.values.push((field, value));
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
