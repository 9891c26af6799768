//! Parses a query string or a JSON filter against a resource's definition, and collects every validation error.

use chrono::NaiveDate;
use serde_json::Value as Json;
use uuid::Uuid;

use super::filter_value::{RawFilterValue, signs_kept, words};
use super::{Count, DEFAULT_LIMIT, Filter, FilterOp, List, MAX_LIMIT, Predicate, Projection, names};
use crate::auth::TenantSettings;
use crate::base::error::{Error, FieldError, Result};
use crate::base::phone;
use crate::base::suggest::shown;
use crate::db::SqlValue;
use crate::resource::body::{MAX_ERRORS, scalar};
use crate::resource::cursor::Cursor;
use crate::resource::field::FieldType;
use crate::resource::row_json::FieldMask;
use crate::resource::{Field, Relation, Resource, Search, Sort, clean_text, did_you_mean};

/// Maximum values of one filter.
const MAX_FILTER_VALUES: usize = 100;
/// Trigrams need three characters.
const MIN_SEARCH_LEN: usize = 3;
const MAX_SEARCH_LEN: usize = 200;

pub(super) struct QueryParser<'b> {
    resource: &'static Resource,
    business: &'b TenantSettings,
    /// Allows only `include` and `fields`, for rows by id.
    pub(super) only_view: bool,
    /// Prefix of the pointers of validation errors.
    pub(super) place: &'static str,
    /// Whether filters come as JSON, where several values are a list.
    pub(super) is_json: bool,
    faults: Vec<FieldError>,
    seen: Vec<String>,
    filters: Vec<(usize, FilterOp, Vec<String>)>,
    /// Keys of the client's own fields, and their wanted values as written.
    metadata: Vec<(String, String)>,
    search: Option<String>,
    sort: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
    include: Vec<String>,
    fields: Vec<String>,
    count: Count,
    deleted: bool,
}

impl<'b> QueryParser<'b> {
    pub(super) fn new(resource: &'static Resource, business: &'b TenantSettings) -> Self {
        Self {
            resource,
            business,
            only_view: false,
            place: "/query",
            is_json: false,
            faults: Vec::new(),
            seen: Vec::new(),
            filters: Vec::new(),
            metadata: Vec::new(),
            search: None,
            sort: None,
            limit: None,
            cursor: None,
            include: Vec::new(),
            fields: Vec::new(),
            count: Count::No,
            deleted: false,
        }
    }

    fn fault(&mut self, name: &str, code: &'static str, detail: String) {
        // Further errors would not be reported.
        if self.faults.len() < MAX_ERRORS {
            let name = shown(name).replace('~', "~0").replace('/', "~1");
            self.faults.push(FieldError::new(format!("{}/{name}", self.place), code, detail));
        }
    }

    pub(super) fn read(&mut self, query: &str) {
        // Decoding would replace invalid UTF-8, and so answer another query.
        if percent_encoding::percent_decode_str(query).decode_utf8().is_err() {
            self.fault("", "encoding", "The query string must be UTF-8, percent-encoded.".into());
            return;
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let decoded = |pair: &str| url::form_urlencoded::parse(pair.as_bytes()).into_owned().next();
            let Some((name, value)) = decoded(pair) else { continue };
            if name.contains('\0') || value.contains('\0') {
                self.fault("", "nul", "A parameter must not contain the character U+0000.".into());
                continue;
            }
            let value = match self.resource.field(&name).filter(|field| field.is_phone()) {
                Some(_) => decoded(&signs_kept(pair)).map_or(value, |(_, value)| value),
                None => value,
            };
            self.parameter(&name, RawFilterValue::Text(value));
        }
    }

    /// Reads the filter `name` as a member of a JSON object: one value, commas included, or a list of several.
    pub(super) fn member(&mut self, name: &str, value: &Json) {
        match RawFilterValue::json(value) {
            Some(given) if given.has_nul() => {
                self.fault(name, "nul", format!("`{name}` must not contain the character U+0000."));
            }
            Some(given) => self.parameter(name, given),
            None if !self.is_known(name) => self.unknown(name),
            None => self.wrong_shape(name, value),
        }
    }

    /// Reports how a member of a JSON filter must be written.
    fn wrong_shape(&mut self, name: &str, value: &Json) {
        let field = self.resource.field(name);
        let hint = match value {
            Json::Object(_) => {
                let bounds = field.into_iter().flat_map(|field| {
                    FilterOp::of(field)
                        .iter()
                        .filter(|form| **form != FilterOp::Any)
                        .map(|form| format!("`{}`", form.name(field)))
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
        let detail = format!("`{name}` must be a text, a number, true or false{or_list}.{hint}");
        self.fault(name, "type", detail);
    }

    fn is_known(&self, name: &str) -> bool {
        name.starts_with("metadata.") || names(self.resource).iter().any(|known| known == name)
    }

    /// Reads the parameter `name`.
    pub(super) fn parameter(&mut self, name: &str, given: RawFilterValue) {
        if matches!(name, "include" | "fields") {
            let names = given.several();
            match name {
                _ if !(1..=MAX_FILTER_VALUES).contains(&names.len()) => self.fault(
                    name,
                    "out_of_range",
                    format!("`{name}` takes 1 to {MAX_FILTER_VALUES} names; leave it out for none."),
                ),
                "include" => self.include.extend(names),
                _ => self.fields.extend(names),
            }
        } else if self.only_view {
            self.unknown(name);
        } else if !self.filter(name, &given) {
            match given.one() {
                Some(value) => self.own(name, value),
                None if !self.is_known(name) => self.unknown(name),
                None => self.once_only(name),
            }
        }
        self.seen.push(name.to_owned());
    }

    fn once_only(&mut self, name: &str) {
        let detail = match self.is_json {
            true => format!("`{name}` takes one value, not a list of several."),
            false => format!("`{name}` may be given once, with one value."),
        };
        self.fault(name, "repeated", detail);
    }

    /// Reads a parameter that is not a filter by a field.
    fn own(&mut self, name: &str, value: String) {
        match name {
            "q" | "sort" | "limit" | "cursor" | "count" | "deleted" if self.seen.iter().any(|seen| seen == name) => {
                self.once_only(name);
            }
            "q" if self.resource.search != Search::None => self.search(value),
            "sort" => self.sort = Some(value),
            "limit" => match value.parse() {
                Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => self.limit = Some(limit),
                _ => self.fault("limit", "out_of_range", format!("`limit` is a whole number from 1 to {MAX_LIMIT}.")),
            },
            "cursor" => self.cursor = Some(value),
            "count" => match value.as_str() {
                "true" => self.count = Count::Capped,
                "exact" => self.count = Count::Exact,
                "false" => self.count = Count::No,
                _ => self.fault("count", "invalid", "`count` is `true`, `exact` or `false`.".into()),
            },
            "deleted" if self.resource.soft_delete() => match value.as_str() {
                "true" => self.deleted = true,
                "false" => self.deleted = false,
                _ => self.fault("deleted", "invalid", "`deleted` is `true` or `false`.".into()),
            },
            _ => self.unknown(name),
        }
    }

    fn search(&mut self, value: String) {
        let value = clean_text::line(&value);
        let length = value.chars().count();
        let shortest = if self.resource.search == Search::Substring { MIN_SEARCH_LEN } else { 1 };
        if (shortest..=MAX_SEARCH_LEN).contains(&length) {
            self.search = Some(value.into_owned());
        } else {
            self.fault("q", "out_of_range", format!("`q` needs {shortest} to {MAX_SEARCH_LEN} characters."));
        }
    }

    /// Reads a filter by a field; returns whether it is one.
    fn filter(&mut self, name: &str, given: &RawFilterValue) -> bool {
        if let Some(key) = name.strip_prefix("metadata.")
            && self.resource.field("metadata").is_some_and(|field| field.filter)
            && !key.is_empty()
        {
            match given.clone().one().filter(|_| !self.metadata.iter().any(|(known, _)| known == key)) {
                Some(value) => self.metadata.push((key.to_owned(), value)),
                None => self.once_only(name),
            }
            return true;
        }
        let found = self.resource.fields.iter().enumerate().find_map(|(index, field)| {
            FilterOp::of(field).iter().find(|form| form.name(field) == name).map(|form| (index, *form))
        });
        let Some((index, form)) = found else { return false };
        let values = match form {
            FilterOp::Any => Some(given.clone().several()),
            _ => given.clone().one().map(|value| vec![value]),
        };
        match (self.filters.iter_mut().find(|(i, f, _)| (*i, *f) == (index, form)), values) {
            (Some((_, FilterOp::Any, known)), Some(values)) => known.extend(values),
            (None, Some(values)) => self.filters.push((index, form, values)),
            _ => self.once_only(name),
        }
        true
    }

    fn unknown(&mut self, name: &str) {
        let known = if self.only_view { vec!["include".into(), "fields".into()] } else { names(self.resource) };
        let hint = did_you_mean(name, known.iter().map(AsRef::as_ref));
        self.fault(name, "unknown_parameter", format!("There is no parameter `{name}` here.{hint}"));
    }

    pub(super) fn finish(mut self) -> Result<List> {
        let (sort, descending) = self.sort();
        let filters = self.tests();
        let view = self.view();
        let mut list = List {
            resource: self.resource,
            filters,
            search: self.search.take(),
            sort,
            descending,
            limit: self.limit.unwrap_or(DEFAULT_LIMIT),
            cursor: None,
            projection: view,
            count: self.count,
            deleted: self.deleted,
        };
        if let Some(text) = self.cursor.take() {
            match Cursor::decode(&text, &list) {
                Some(cursor) => list.cursor = Some(cursor),
                None => self.fault(
                    "cursor",
                    "invalid_cursor",
                    "This cursor is damaged or belongs to another sort or filter. Start again without it.".into(),
                ),
            }
        }
        if self.faults.is_empty() { Ok(list) } else { Err(Error::parameters(self.faults)) }
    }

    fn sort(&mut self) -> (&'static Sort, bool) {
        let resource = self.resource;
        let asked = self.sort.take().unwrap_or_else(|| resource.default_sort.to_owned());
        let (name, descending) = asked.strip_prefix('-').map_or((asked.as_str(), false), |name| (name, true));
        let found = resource.sorts.iter().find(|sort| sort.name == name);
        if found.is_none() {
            let hint = did_you_mean(name, resource.sorts.iter().map(|sort| sort.name));
            self.fault("sort", "unknown_sort", format!("{} cannot be sorted by `{name}`.{hint}", resource.plural));
        }
        (found.unwrap_or(&resource.sorts[0]), descending)
    }

    fn tests(&mut self) -> Vec<Filter> {
        let mut asked = std::mem::take(&mut self.filters);
        asked.sort_by_key(|(index, form, _)| (*index, *form as u8));
        let mut filters: Vec<Filter> =
            asked.into_iter().filter_map(|(i, form, values)| self.test(i, form, values)).collect();
        if let Some(field) = self.resource.field("metadata") {
            self.metadata.sort();
            let wanted = std::mem::take(&mut self.metadata);
            filters.extend(wanted.into_iter().map(|(key, value)| Filter { field, predicate: contains(&key, &value) }));
        }
        filters
    }

    fn test(&mut self, index: usize, form: FilterOp, values: Vec<String>) -> Option<Filter> {
        let field = &self.resource.fields[index];
        let name = form.name(field);
        if values.is_empty() || values.len() > MAX_FILTER_VALUES {
            self.fault(&name, "out_of_range", format!("`{name}` takes 1 to {MAX_FILTER_VALUES} values."));
            return None;
        }
        if field.field_type == FieldType::Uuid && field.nullable && values == ["none"] {
            return Some(Filter { field, predicate: Predicate::Null });
        }
        let mut parsed = Vec::with_capacity(values.len());
        for value in values {
            match scalar(field.field_type, &value, self.business) {
                Ok(value) => parsed.extend(self.written_otherwise(field, value)),
                Err((code, detail)) => {
                    let hint =
                        if self.is_json && form == FilterOp::Any { list_hint(&name, &value) } else { String::new() };
                    self.fault(&name, code, format!("`{name}` {detail}{hint}"));
                }
            }
        }
        let test = match form {
            FilterOp::Any if field.field_type == FieldType::Tags => Predicate::Overlaps(gather(parsed)),
            FilterOp::Any if parsed.len() == 1 => Predicate::Equal(parsed.pop()?),
            FilterOp::Any => Predicate::Equal(gather(parsed)),
            FilterOp::After | FilterOp::Min => Predicate::AtLeast(parsed.pop()?),
            FilterOp::Before => Predicate::Below(parsed.pop()?),
            FilterOp::Max => Predicate::AtMost(parsed.pop()?),
        };
        Some(Filter { field, predicate: test })
    }

    /// Returns `value`, and where the field may hold a phone number also its other spellings.
    fn written_otherwise(&self, field: &Field, value: SqlValue) -> Vec<SqlValue> {
        match value.as_text().filter(|_| field.phone_search) {
            Some(text) => phone::spellings(text, &self.business.country)
                .into_iter()
                .map(|text| SqlValue::Text(Some(text)))
                .collect(),
            None => vec![value],
        }
    }

    fn view(&mut self) -> Projection {
        let resource = self.resource;
        for name in std::mem::take(&mut self.include) {
            match resource.relation(&name) {
                Some(_) => self.seen.push(format!("include {name}")),
                None => {
                    let hint = did_you_mean(&name, resource.relations.iter().map(|relation| relation.name));
                    let detail = format!("{} have no relation `{name}`.{hint}", resource.plural);
                    self.fault("include", "unknown_relation", detail);
                }
            }
        }
        let wanted = |relation: &Relation| self.seen.iter().any(|seen| *seen == format!("include {}", relation.name));
        let mut view = Projection {
            mask: None,
            include: resource
                .relations
                .iter()
                .filter(|relation| wanted(relation))
                .map(|relation| (relation, None))
                .collect(),
        };
        for name in std::mem::take(&mut self.fields) {
            let known = match name.split_once('.') {
                Some((relation, field)) => view
                    .include
                    .iter_mut()
                    .find(|(known, _)| known.name == relation)
                    .and_then(|(known, shown)| show(shown, known.resource, field)),
                None => show(&mut view.mask, resource, &name),
            };
            if known.is_none() {
                let relation = name.split_once('.').and_then(|(relation, _)| resource.relation(relation));
                let hint = match relation.filter(|relation| view.include.iter().all(|(r, _)| r.name != relation.name)) {
                    Some(relation) => format!(" Add `include={}` to show its fields.", relation.name),
                    None => did_you_mean(&name, field_names(resource, &view).iter().map(String::as_str)),
                };
                self.fault("fields", "unknown_field", format!("There is no field `{name}` here.{hint}"));
            }
        }
        view
    }
}

/// Returns how to write in JSON what a query string writes with commas; empty where `value` has none.
fn list_hint(name: &str, value: &str) -> String {
    match words(value) {
        values if values.len() > 1 => format!(" Several values are a list: {}.", serde_json::json!({ name: values })),
        _ => String::new(),
    }
}

fn show(shown: &mut FieldMask, resource: &Resource, field: &str) -> Option<()> {
    let index = resource.index(field)?;
    *shown.get_or_insert(0) |= 1 << index;
    Some(())
}

fn field_names(resource: &Resource, view: &Projection) -> Vec<String> {
    let own = resource.fields.iter().map(|field| field.name.to_owned());
    let related = view
        .include
        .iter()
        .flat_map(|(relation, _)| relation.resource.fields.iter().map(|f| format!("{}.{}", relation.name, f.name)));
    own.chain(related).collect()
}

/// `{"key":"value"}`; and `{"key":value}` where the value reads as a number or a boolean, since a query string cannot
/// tell which was meant.
fn contains(key: &str, value: &str) -> Predicate {
    let object = |value: serde_json::Value| SqlValue::Json(Some(serde_json::json!({ key: value })));
    let mut any = vec![object(value.into())];
    let literal =
        serde_json::from_str(value).ok().filter(|json: &serde_json::Value| json.is_number() || json.is_boolean());
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
