//! What a write sets: a JSON object checked field by field against a noun's description.

use serde_json::{Map, Value as Json};

use super::validation_errors::Faults;
use super::values::value;
use crate::auth::Business;
use crate::db::Value;
use crate::error::{Error, Fault, Result};
use crate::hint::shown;
use crate::noun::field::{Field, Written};
use crate::noun::{Noun, did_you_mean};

/// What a body is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Create,
    Update,
    /// To be compared with a row that is there: it may repeat what was set once.
    Match,
}

/// What a write sets: fields of one noun and their new values, in the noun's order.
#[derive(Clone, Debug)]
pub struct Change {
    pub noun: &'static Noun,
    /// Whether a row is made, rather than changed.
    pub creates: bool,
    values: Vec<(&'static Field, Value)>,
    /// Fields that are set only where the other field becomes another than it is.
    following: Vec<(&'static str, &'static str)>,
    /// Fields that are set only where the row has nothing in them.
    filling: Vec<&'static str>,
}

impl Change {
    /// Nothing yet, of a row of `noun` that is there.
    pub fn none(noun: &'static Noun) -> Self {
        Self { noun, creates: false, values: Vec::new(), following: Vec::new(), filling: Vec::new() }
    }

    /// Reads the body of a creation or of a merge patch. Errors: 422 with every fault of type, range, presence, and
    /// between fields; 400 if it is no object.
    pub fn parse(noun: &'static Noun, body: Json, creates: bool, business: &Business) -> Result<Self> {
        let Json::Object(members) = body else {
            return Err(Error::malformed("not_an_object", "The body must be a JSON object."));
        };
        Self::read(noun, members, if creates { Purpose::Create } else { Purpose::Update }, business)
            .map_err(Error::Invalid)
    }

    /// Reads an item of a set. Errors: all its faults.
    pub fn of_item(
        noun: &'static Noun,
        members: Map<String, Json>,
        creates: bool,
        business: &Business,
    ) -> Result<Self, Vec<Fault>> {
        Self::read(noun, members, if creates { Purpose::Create } else { Purpose::Update }, business)
    }

    /// Reads what a row that is there is to be like. It may have fields that are set once, for the row to be compared with.
    /// Errors: all faults.
    pub fn of_match(noun: &'static Noun, members: Map<String, Json>, business: &Business) -> Result<Self, Vec<Fault>> {
        Self::read(noun, members, Purpose::Match, business)
    }

    fn read(
        noun: &'static Noun,
        mut members: Map<String, Json>,
        purpose: Purpose,
        business: &Business,
    ) -> Result<Self, Vec<Fault>> {
        let mut change = Self { creates: purpose == Purpose::Create, ..Self::none(noun) };
        let mut faults = Faults::default();
        for field in noun.fields {
            change.read_field(field, members.shift_remove(field.name), purpose, business, &mut faults);
        }
        unknown(noun, &members, change.creates, &mut faults);
        (noun.hooks.prepare)(&mut change, business, &mut faults);
        change.default_currencies(business);
        if faults.is_empty() { Ok(change) } else { Err(faults.into_inner()) }
    }

    fn read_field(
        &mut self,
        field: &'static Field,
        given: Option<Json>,
        purpose: Purpose,
        business: &Business,
        faults: &mut Faults,
    ) {
        let name = field.name;
        match given {
            None if self.creates && field.required => faults.field(name, "required", format!("`{name}` is required.")),
            None => {}
            Some(_) if field.written == Written::Never => {
                faults.field(name, "read_only", format!("`{name}` is set by the service. Leave it out."));
            }
            Some(_) if field.written == Written::Once && purpose == Purpose::Update => {
                faults.field(name, "read_only", format!("`{name}` cannot be changed. Leave it out."));
            }
            // On creation a null is the same as nothing.
            Some(Json::Null) if self.creates && field.nullable => {}
            Some(Json::Null) if !field.nullable => {
                faults.field(name, "required", format!("`{name}` must not be null."));
            }
            Some(json) => match value(field.kind, json, business) {
                Ok(Value::Json(Some(object))) if self.creates && field.merges() => {
                    self.values.push((field, Value::Json(Some(merged_into_nothing(object)))));
                }
                Ok(value) => self.values.push((field, value)),
                Err((code, detail)) => faults.field(name, code, format!("`{name}` {detail}")),
            },
        }
    }

    /// A change of a row that is there, which sets nothing yet.
    pub fn nothing(noun: &'static Noun) -> Self {
        Self::none(noun)
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(field, _)| field.name == name).map(|(_, value)| value)
    }

    /// The text of `name`, if it is set and not null.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_text)
    }

    /// Sets `name`, replacing what the caller gave. Names that the noun does not have are ignored.
    pub fn set(&mut self, name: &str, value: Value) {
        self.unset(name);
        if let Some(field) = self.noun.field(name) {
            self.values.push((field, value));
        }
    }

    /// Sets `name` unless the caller did.
    pub fn set_default(&mut self, name: &str, value: Value) {
        if self.get(name).is_none() {
            self.set(name, value);
        }
    }

    /// Sets `name` where `by`, which this change sets, becomes another than it is: repeating a value changes nothing
    /// that follows from it. (Of a new row it always does.)
    pub fn set_with(&mut self, by: &'static str, name: &'static str, value: Value) {
        self.set(name, value);
        if !self.creates {
            self.following.push((name, by));
        }
    }

    /// The field with which `name` is set, see [`Change::set_with`].
    pub fn follows(&self, name: &str) -> Option<&'static str> {
        self.following.iter().find(|(follower, _)| *follower == name).map(|(_, by)| *by)
    }

    /// Sets `name` where the row has nothing in it: what it has stays. (A new row has nothing.)
    fn fill(&mut self, name: &'static str, value: Value) {
        self.set(name, value);
        if !self.creates {
            self.filling.push(name);
        }
    }

    /// Whether `name` is set only where the row has nothing in it.
    pub fn fills(&self, name: &str) -> bool {
        self.filling.contains(&name)
    }

    /// Money without a currency is in the business' own, unless the row has one already: what a change does not name stays.
    fn default_currencies(&mut self, business: &Business) {
        for field in self.noun.fields {
            let is_given = self.get(field.name).is_some_and(|amount| !amount.is_null());
            if let Some(currency) = field.currency.filter(|name| is_given && self.get(name).is_none()) {
                self.fill(currency, Value::Text(Some(business.currency.clone())));
            }
        }
    }

    /// Leaves `name` as it is.
    pub fn unset(&mut self, name: &str) {
        self.filling.retain(|filled| *filled != name);
        self.values.retain(|(field, _)| field.name != name);
        self.following.retain(|(follower, _)| *follower != name);
    }

    pub fn values(&self) -> &[(&'static Field, Value)] {
        &self.values
    }
}

fn unknown(noun: &Noun, members: &Map<String, Json>, creates: bool, faults: &mut Faults) {
    let writable = |field: &&Field| field.written == Written::Always || (creates && field.written == Written::Once);
    for name in members.keys() {
        let known = noun.fields.iter().filter(writable).map(|field| field.name);
        let hint = did_you_mean(name, known);
        faults.field(name, "unknown_field", format!("There is no field `{}`.{hint}", shown(name)));
    }
}

/// What a merge patch makes of nothing (RFC 7396): members that are null are none, within lists they stay.
fn merged_into_nothing(patch: Json) -> Json {
    match patch {
        Json::Object(members) => {
            let named = members.into_iter().filter(|(_, value)| !value.is_null());
            Json::Object(named.map(|(name, value)| (name, merged_into_nothing(value))).collect())
        }
        other => other,
    }
}
