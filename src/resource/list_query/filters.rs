//! Parses filters by fields.

use chrono::NaiveDate;
use serde_json::Value as Json;
use uuid::Uuid;

use super::filter_op::FilterOp;
use super::filter_value::{MAX_FILTER_VALUES, RawFilterValue, words};
use super::list::Filter;
use super::parameter_errors::ParameterErrors;
use super::predicate::Predicate;
use crate::auth::TenantSettings;
use crate::base::phone;
use crate::db::SqlValue;
use crate::resource::body::scalar;
use crate::resource::definition::Resource;
use crate::resource::field::{Field, FieldType};

/// Filters as they were given.
#[derive(Default)]
pub(super) struct RawFilters {
    /// Index of the field, operator, values.
    by_field: Vec<(usize, FilterOp, Vec<String>)>,
    /// Keys of the client's own fields, and their wanted values as written.
    by_metadata: Vec<(String, String)>,
}

/// What became of a parameter that may be a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    Yes,
    /// It takes one value, and was given several or repeated.
    Repeated,
    NoFilter,
}

impl RawFilters {
    /// Adds the parameter `name`, if it is a filter of the resource.
    pub(super) fn add(&mut self, resource: &Resource, name: &str, given: &RawFilterValue) -> Added {
        if let Some(key) = name.strip_prefix("metadata.")
            && resource.field("metadata").is_some_and(|field| field.filter)
            && !key.is_empty()
        {
            return match given.clone().one().filter(|_| !self.by_metadata.iter().any(|(known, _)| known == key)) {
                Some(value) => {
                    self.by_metadata.push((key.to_owned(), value));
                    Added::Yes
                }
                None => Added::Repeated,
            };
        }
        let found = resource.filterable().enumerate().find_map(|(index, field)| {
            FilterOp::of(field).iter().find(|op| op.name(field) == name).map(|op| (index, *op))
        });
        let Some((index, op)) = found else { return Added::NoFilter };
        let values = match op {
            FilterOp::Any => Some(given.clone().several()),
            _ => given.clone().one().map(|value| vec![value]),
        };
        match (self.by_field.iter_mut().find(|(i, o, _)| (*i, *o) == (index, op)), values) {
            (Some((_, FilterOp::Any, known)), Some(values)) => known.extend(values),
            (None, Some(values)) => self.by_field.push((index, op, values)),
            _ => return Added::Repeated,
        }
        Added::Yes
    }

    /// Parses the values, in the order of the resource's fields.
    pub(super) fn parse(
        mut self,
        resource: &'static Resource,
        business: &TenantSettings,
        is_json: bool,
        errors: &mut ParameterErrors,
    ) -> Vec<Filter> {
        self.by_field.sort_by_key(|(index, op, _)| (*index, *op as u8));
        let mut parser = ValueParser { business, is_json, errors };
        let by_field = self.by_field.into_iter();
        let mut filters: Vec<Filter> = by_field
            .filter_map(|(index, op, values)| parser.parse(resource.filterable().nth(index)?, op, values))
            .collect();
        if let Some(field) = resource.field("metadata") {
            self.by_metadata.sort();
            let wanted = self.by_metadata.into_iter();
            filters.extend(wanted.map(|(key, value)| Filter { field, predicate: contains(&key, &value) }));
        }
        filters
    }
}

struct ValueParser<'p> {
    business: &'p TenantSettings,
    is_json: bool,
    errors: &'p mut ParameterErrors,
}

impl ValueParser<'_> {
    fn parse(&mut self, field: &'static Field, op: FilterOp, values: Vec<String>) -> Option<Filter> {
        let name = op.name(field);
        if values.is_empty() || values.len() > MAX_FILTER_VALUES {
            self.errors.add(&name, "out_of_range", format!("`{name}` takes 1 to {MAX_FILTER_VALUES} values."));
            return None;
        }
        if field.field_type == FieldType::Uuid && field.nullable && values == ["none"] {
            return Some(Filter { field, predicate: Predicate::Null });
        }
        let mut parsed = Vec::with_capacity(values.len());
        for value in values {
            match scalar(field.field_type, &value, self.business) {
                Ok(value) => parsed.extend(self.spellings(field, value)),
                Err((code, detail)) => {
                    let hint =
                        if self.is_json && op == FilterOp::Any { list_hint(&name, &value) } else { String::new() };
                    self.errors.add(&name, code, format!("`{name}` {detail}{hint}"));
                }
            }
        }
        let predicate = match op {
            FilterOp::Any if field.field_type == FieldType::Tags => Predicate::Overlaps(gather(parsed)),
            FilterOp::Any if parsed.len() == 1 => Predicate::Equal(parsed.pop()?),
            FilterOp::Any => Predicate::Equal(gather(parsed)),
            FilterOp::After | FilterOp::Min => Predicate::AtLeast(parsed.pop()?),
            FilterOp::Before => Predicate::Below(parsed.pop()?),
            FilterOp::Max => Predicate::AtMost(parsed.pop()?),
        };
        Some(Filter { field, predicate })
    }

    /// Returns `value`, and where the field may hold a phone number also its other spellings.
    fn spellings(&self, field: &Field, value: SqlValue) -> Vec<SqlValue> {
        match value.as_text().filter(|_| field.phone_search) {
            Some(text) => phone::spellings(text, &self.business.country)
                .into_iter()
                .map(|text| SqlValue::Text(Some(text)))
                .collect(),
            None => vec![value],
        }
    }
}

/// Reports how the member `name` of a JSON filter must be written.
pub(super) fn wrong_shape(resource: &Resource, name: &str, value: &Json, errors: &mut ParameterErrors) {
    let field = resource.filterable().find(|field| field.name == name);
    let hint = match value {
        Json::Object(_) => {
            let bounds = field.into_iter().flat_map(|field| {
                FilterOp::of(field).iter().filter(|op| **op != FilterOp::Any).map(|op| format!("`{}`", op.name(field)))
            });
            match bounds.collect::<Vec<_>>() {
                bounds if bounds.is_empty() => String::new(),
                bounds => format!(" Bounds are filters of their own: {}.", bounds.join(" and ")),
            }
        }
        Json::Null if field.is_some_and(|field| field.field_type == FieldType::Uuid && field.nullable) => {
            format!(" Rows without one: {{\"{name}\": \"none\"}}.")
        }
        Json::Array(several) if several.is_empty() => " Leave it out to filter by something else.".into(),
        _ => String::new(),
    };
    let takes_several = field.is_some_and(|field| FilterOp::of(field).contains(&FilterOp::Any));
    let or_list = match takes_several {
        true => format!(", or a list of such: {{\"{name}\": [\"one\", \"another\"]}}"),
        false => String::new(),
    };
    errors.add(name, "type", format!("`{name}` must be a text, a number, true or false{or_list}.{hint}"));
}

/// Returns how to write in JSON what a query string writes with commas; empty where `value` has none.
fn list_hint(name: &str, value: &str) -> String {
    match words(value) {
        values if values.len() > 1 => format!(" Several values are a list: {}.", serde_json::json!({ name: values })),
        _ => String::new(),
    }
}

/// `{"key":"value"}`; and `{"key":value}` where the value reads as a number or a boolean, since a query string cannot
/// tell which was meant.
fn contains(key: &str, value: &str) -> Predicate {
    let object = |value: Json| SqlValue::Json(Some(serde_json::json!({ key: value })));
    let mut any = vec![object(value.into())];
    let literal = serde_json::from_str(value).ok().filter(|json: &Json| json.is_number() || json.is_boolean());
    any.extend(literal.map(object));
    Predicate::Contains(any)
}

/// Converts several values of one type to the array that `= ANY` takes.
fn gather(values: Vec<SqlValue>) -> SqlValue {
    fn all<T>(values: Vec<SqlValue>, take: impl Fn(SqlValue) -> Option<T>) -> Vec<T> {
        values.into_iter().filter_map(take).collect()
    }
    match values.first() {
        Some(SqlValue::Uuid(_)) => {
            SqlValue::Uuids(all::<Uuid>(values, |v| if let SqlValue::Uuid(v) = v { v } else { None }))
        }
        Some(SqlValue::Int(_)) => {
            SqlValue::Ints(all::<i64>(values, |v| if let SqlValue::Int(v) = v { v } else { None }))
        }
        Some(SqlValue::Date(_)) => {
            SqlValue::Dates(all::<NaiveDate>(values, |v| if let SqlValue::Date(v) = v { v } else { None }))
        }
        // Both true and false: every row that has a value.
        Some(SqlValue::Bool(_)) => {
            SqlValue::Texts(all(values, |v| if let SqlValue::Bool(v) = v { v.map(|b| b.to_string()) } else { None }))
        }
        _ => SqlValue::Texts(all::<String>(values, |v| if let SqlValue::Text(v) = v { v } else { None })),
    }
}
