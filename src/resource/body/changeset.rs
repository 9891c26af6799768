//! A changeset: the fields that a write sets, and their new values.

use chrono::{DateTime, Utc};
use diesel::Column;

use crate::auth::TenantSettings;
use crate::db::SqlValue;
use crate::resource::field::{Field, Mutability};

/// The fields of one resource that a write sets, and their new values.
#[derive(Clone, Debug)]
pub struct Changeset {
    /// All fields of the resource.
    fields: &'static [Field],
    /// Whether a row is created, rather than updated.
    pub creates: bool,
    /// Whether objects replace those of the row, which a merge patch would be merged into.
    pub replaces_objects: bool,
    values: Vec<(&'static Field, SqlValue)>,
    /// Values that a client sent back as it read them: they must be the row's own. `None` is no row's.
    repeated: Vec<(&'static Field, Option<SqlValue>)>,
    /// Fields that are set only where the value of the other field changes.
    following: Vec<(&'static str, &'static str)>,
    /// Fields that are set only where the row has null.
    filling: Vec<&'static str>,
}

impl Changeset {
    /// An empty changeset for an existing row of the resource with these fields.
    pub fn empty(fields: &'static [Field]) -> Self {
        Self {
            fields,
            creates: false,
            replaces_objects: false,
            values: Vec::new(),
            repeated: Vec::new(),
            following: Vec::new(),
            filling: Vec::new(),
        }
    }

    /// As [`Changeset::empty`]; its objects replace those of the row.
    pub fn replacing(fields: &'static [Field]) -> Self {
        Self { replaces_objects: true, ..Self::empty(fields) }
    }

    /// Returns the value of `column`, if it is set.
    pub fn get<C: Column>(&self, _column: C) -> Option<&SqlValue> {
        self.get_field(C::NAME)
    }

    /// Returns the text of `column`, if it is set and not null.
    pub fn text<C: Column>(&self, column: C) -> Option<&str> {
        self.get(column).and_then(SqlValue::as_text)
    }

    /// Returns the instant of `column`, if it is set and not null.
    pub fn time<C: Column>(&self, column: C) -> Option<DateTime<Utc>> {
        self.get(column).and_then(SqlValue::as_time)
    }

    /// Sets `column`, replacing the client's value.
    pub fn set<C: Column>(&mut self, _column: C, value: impl Into<SqlValue>) {
        self.set_field(self.own(C::NAME), value.into());
    }

    /// Sets `column` unless the client did.
    pub fn set_default<C: Column>(&mut self, column: C, value: impl Into<SqlValue>) {
        if self.get_field(C::NAME).is_none() {
            self.set(column, value);
        }
    }

    /// Sets `column` only where the value of `by`, which this changeset sets, changes: repeating a value does not change
    /// what follows from it. (In a new row it is always set.)
    pub fn set_if_changed<B: Column, C: Column>(&mut self, _by: B, column: C, value: impl Into<SqlValue>) {
        self.set(column, value);
        if !self.creates {
            self.following.push((C::NAME, B::NAME));
        }
    }

    /// Sets `column` only where the row has null. (A new row has.)
    pub fn set_where_null<C: Column>(&mut self, _column: C, value: impl Into<SqlValue>) {
        self.fill(self.own(C::NAME), value.into());
    }

    /// Removes `column`: the field stays unchanged.
    pub fn unset<C: Column>(&mut self, _column: C) {
        self.unset_field(C::NAME);
    }

    /// Returns the value of the field `name`, if it is set: for code that works with any resource.
    pub fn get_field(&self, name: &str) -> Option<&SqlValue> {
        self.values.iter().find(|(field, _)| field.name == name).map(|(_, value)| value)
    }

    /// Returns the text of the field `name`, if it is set and not null.
    pub fn text_field(&self, name: &str) -> Option<&str> {
        self.get_field(name).and_then(SqlValue::as_text)
    }

    /// Sets a field of the resource, replacing the client's value.
    pub fn set_field(&mut self, field: &'static Field, value: SqlValue) {
        self.unset_field(field.name);
        self.values.push((field, value));
    }

    /// Sets a field of the resource unless the client did.
    pub fn set_default_field(&mut self, field: &'static Field, value: SqlValue) {
        if self.get_field(field.name).is_none() {
            self.set_field(field, value);
        }
    }

    /// Removes the field `name`: it stays unchanged.
    pub fn unset_field(&mut self, name: &str) {
        self.filling.retain(|filled| *filled != name);
        self.values.retain(|(field, _)| field.name != name);
        self.following.retain(|(follower, _)| *follower != name);
    }

    /// Returns the field of a column. A column of another table is a mistake of the resource's own code, which every call
    /// of it shows.
    fn own(&self, column: &'static str) -> &'static Field {
        let found = self.fields.iter().find(|field| field.name == column);
        #[expect(clippy::panic, reason = "the compiler knows the column; only the resource can be the wrong one")]
        found.unwrap_or_else(|| panic!("the resource has no field `{column}`"))
    }

    /// Returns the field that `name` follows, see [`Changeset::set_if_changed`].
    pub fn follows(&self, name: &str) -> Option<&'static str> {
        self.following.iter().find(|(follower, _)| *follower == name).map(|(_, by)| *by)
    }

    /// Sets `name` only where the row has null. (A new row has.)
    fn fill(&mut self, field: &'static Field, value: SqlValue) {
        self.set_field(field, value);
        if !self.creates {
            self.filling.push(field.name);
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
            let is_given = self.get_field(field.name).is_some_and(|amount| !amount.is_null());
            if let Some(currency) = field.currency.filter(|name| is_given && self.get_field(name).is_none()) {
                self.fill(self.own(currency), business.currency.clone().into());
            }
        }
    }

    /// Adds a value that must be the row's own.
    pub(super) fn repeat(&mut self, field: &'static Field, value: Option<SqlValue>) {
        self.repeated.push((field, value));
    }

    /// In an update, the fields that are set once must be the row's own.
    pub(super) fn repeat_set_once(&mut self) {
        if !self.creates {
            let once = self.values.extract_if(.., |(field, _)| field.mutability == Mutability::Once);
            self.repeated.extend(once.map(|(field, value)| (field, Some(value))));
        }
    }

    /// Returns the text of the field `name`, whether it is set or repeated.
    pub fn given_text(&self, name: &str) -> Option<&str> {
        let repeated = || self.repeated.iter().find(|(field, _)| field.name == name)?.1.as_ref();
        self.get_field(name).or_else(repeated).and_then(SqlValue::as_text)
    }

    /// Returns the values that must be the row's own: of fields that clients do not set, or only once.
    pub fn repeated(&self) -> &[(&'static Field, Option<SqlValue>)] {
        &self.repeated
    }

    /// Whether it neither sets nor repeats anything.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Adds the value of a field that is not set yet.
    pub(super) fn push(&mut self, field: &'static Field, value: SqlValue) {
        self.values.push((field, value));
    }

    /// Returns the values as JSON, by field.
    pub fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        self.values.iter().map(|(field, value)| (field.name.to_owned(), value.to_json())).collect()
    }

    pub fn values(&self) -> &[(&'static Field, SqlValue)] {
        &self.values
    }
}
