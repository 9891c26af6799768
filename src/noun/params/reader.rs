//! Reads a query string, or filters that came as JSON, against a noun's description, gathering every fault.

use chrono::NaiveDate;
use serde_json::Value as Json;
use uuid::Uuid;

use super::given::{Given, signs_kept, words};
use super::{Count, DEFAULT_LIMIT, Filter, Form, LARGEST_LIMIT, List, Test, View, names};
use crate::auth::Business;
use crate::db::Value;
use crate::error::{Error, Fault, Result};
use crate::hint::shown;
use crate::noun::body::{MOST_FAULTS, scalar};
use crate::noun::cursor::Cursor;
use crate::noun::field::Kind;
use crate::noun::json::Shown;
use crate::noun::{Field, Noun, Relation, Search, Sort, clean, did_you_mean, phone};

/// How many values one filter takes.
const MOST_VALUES: usize = 100;
/// Trigrams need three characters.
const SHORTEST_SEARCH: usize = 3;
const LONGEST_SEARCH: usize = 200;

pub(super) struct Reader<'b> {
    noun: &'static Noun,
    business: &'b Business,
    /// Only `include` and `fields` are allowed: rows by id.
    pub(super) only_view: bool,
    /// What faults point into.
    pub(super) place: &'static str,
    /// Whether filters come as JSON, where several values are a list.
    pub(super) is_json: bool,
    faults: Vec<Fault>,
    seen: Vec<String>,
    filters: Vec<(usize, Form, Vec<String>)>,
    /// Keys of the caller's own and what they are to be, as written.
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

impl<'b> Reader<'b> {
    pub(super) fn new(noun: &'static Noun, business: &'b Business) -> Self {
        Self {
            noun,
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
        // More would not be told.
        if self.faults.len() < MOST_FAULTS {
            let name = shown(name).replace('~', "~0").replace('/', "~1");
            self.faults.push(Fault::new(format!("{}/{name}", self.place), code, detail));
        }
    }

    pub(super) fn read(&mut self, query: &str) {
        // Decoding replaces what is no UTF-8, and the answer would be to another question.
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
            let value = match self.noun.field(&name).filter(|field| field.is_phone()) {
                Some(_) => decoded(&signs_kept(pair)).map_or(value, |(_, value)| value),
                None => value,
            };
            self.parameter(&name, Given::Text(value));
        }
    }

    /// Reads the filter `name` as a member of a JSON object: one value, whatever characters it has, or a list of several.
    pub(super) fn member(&mut self, name: &str, value: &Json) {
        match Given::json(value) {
            Some(given) if given.has_nul() => {
                self.fault(name, "nul", format!("`{name}` must not contain the character U+0000."));
            }
            Some(given) => self.parameter(name, given),
            None if !self.is_known(name) => self.unknown(name),
            None => self.misshapen(name, value),
        }
    }

    /// Says how a member of a JSON filter is to be written.
    fn misshapen(&mut self, name: &str, value: &Json) {
        let field = self.noun.field(name);
        let hint = match value {
            Json::Object(_) => {
                let bounds = field.into_iter().flat_map(|field| {
                    Form::of(field)
                        .iter()
                        .filter(|form| **form != Form::Any)
                        .map(|form| format!("`{}`", form.name(field)))
                });
                match bounds.collect::<Vec<_>>() {
                    bounds if bounds.is_empty() => String::new(),
                    bounds => format!(" Bounds are filters of their own: {}.", bounds.join(" and ")),
                }
            }
            Json::Null if field.is_some_and(|field| field.kind == Kind::Uuid && field.nullable) => {
                format!(" Rows without one: {{\"{name}\": \"none\"}}.")
            }
            Json::Array(several) if several.is_empty() => " Leave it out to filter by something else.".into(),
            _ => String::new(),
        };
        let takes_several = field.is_some_and(|field| Form::of(field).contains(&Form::Any));
        let or_list = match takes_several {
            true => format!(", or a list of such: {{\"{name}\": [\"one\", \"another\"]}}"),
            false => String::new(),
        };
        let detail = format!("`{name}` must be a text, a number, true or false{or_list}.{hint}");
        self.fault(name, "type", detail);
    }

    fn is_known(&self, name: &str) -> bool {
        name.starts_with("metadata.") || names(self.noun).iter().any(|known| known == name)
    }

    /// Reads the parameter `name`.
    pub(super) fn parameter(&mut self, name: &str, given: Given) {
        if matches!(name, "include" | "fields") {
            let names = given.several();
            match name {
                _ if !(1..=MOST_VALUES).contains(&names.len()) => self.fault(
                    name,
                    "out_of_range",
                    format!("`{name}` takes 1 to {MOST_VALUES} names; leave it out for none."),
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

    /// Reads what is no filter by a field.
    fn own(&mut self, name: &str, value: String) {
        match name {
            "q" | "sort" | "limit" | "cursor" | "count" | "deleted" if self.seen.iter().any(|seen| seen == name) => {
                self.once_only(name);
            }
            "q" if self.noun.search != Search::None => self.search(value),
            "sort" => self.sort = Some(value),
            "limit" => match value.parse() {
                Ok(limit) if (1..=LARGEST_LIMIT).contains(&limit) => self.limit = Some(limit),
                _ => {
                    self.fault("limit", "out_of_range", format!("`limit` is a whole number from 1 to {LARGEST_LIMIT}."))
                }
            },
            "cursor" => self.cursor = Some(value),
            "count" => match value.as_str() {
                "true" => self.count = Count::Capped,
                "exact" => self.count = Count::Exact,
                "false" => self.count = Count::No,
                _ => self.fault("count", "invalid", "`count` is `true`, `exact` or `false`.".into()),
            },
            "deleted" if self.noun.soft_delete() => match value.as_str() {
                "true" => self.deleted = true,
                "false" => self.deleted = false,
                _ => self.fault("deleted", "invalid", "`deleted` is `true` or `false`.".into()),
            },
            _ => self.unknown(name),
        }
    }

    fn search(&mut self, value: String) {
        let value = clean::line(&value);
        let length = value.chars().count();
        let shortest = if self.noun.search == Search::Substring { SHORTEST_SEARCH } else { 1 };
        if (shortest..=LONGEST_SEARCH).contains(&length) {
            self.search = Some(value.into_owned());
        } else {
            self.fault("q", "out_of_range", format!("`q` needs {shortest} to {LONGEST_SEARCH} characters."));
        }
    }

    /// Reads a filter by a field; whether it is one.
    fn filter(&mut self, name: &str, given: &Given) -> bool {
        if let Some(key) = name.strip_prefix("metadata.")
            && self.noun.field("metadata").is_some_and(|field| field.filter)
            && !key.is_empty()
        {
            match given.clone().one().filter(|_| !self.metadata.iter().any(|(known, _)| known == key)) {
                Some(value) => self.metadata.push((key.to_owned(), value)),
                None => self.once_only(name),
            }
            return true;
        }
        let found = self.noun.fields.iter().enumerate().find_map(|(index, field)| {
            Form::of(field).iter().find(|form| form.name(field) == name).map(|form| (index, *form))
        });
        let Some((index, form)) = found else { return false };
        let values = match form {
            Form::Any => Some(given.clone().several()),
            _ => given.clone().one().map(|value| vec![value]),
        };
        match (self.filters.iter_mut().find(|(i, f, _)| (*i, *f) == (index, form)), values) {
            (Some((_, Form::Any, known)), Some(values)) => known.extend(values),
            (None, Some(values)) => self.filters.push((index, form, values)),
            _ => self.once_only(name),
        }
        true
    }

    fn unknown(&mut self, name: &str) {
        let known = if self.only_view { vec!["include".into(), "fields".into()] } else { names(self.noun) };
        let hint = did_you_mean(name, known.iter().map(AsRef::as_ref));
        self.fault(name, "unknown_parameter", format!("There is no parameter `{name}` here.{hint}"));
    }

    pub(super) fn finish(mut self) -> Result<List> {
        let (sort, descending) = self.sort();
        let filters = self.tests();
        let view = self.view();
        let mut list = List {
            noun: self.noun,
            filters,
            search: self.search.take(),
            sort,
            descending,
            limit: self.limit.unwrap_or(DEFAULT_LIMIT),
            cursor: None,
            view,
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
        let noun = self.noun;
        let asked = self.sort.take().unwrap_or_else(|| noun.default_sort.to_owned());
        let (name, descending) = asked.strip_prefix('-').map_or((asked.as_str(), false), |name| (name, true));
        let found = noun.sorts.iter().find(|sort| sort.name == name);
        if found.is_none() {
            let hint = did_you_mean(name, noun.sorts.iter().map(|sort| sort.name));
            self.fault("sort", "unknown_sort", format!("{} cannot be sorted by `{name}`.{hint}", noun.plural));
        }
        (found.unwrap_or(&noun.sorts[0]), descending)
    }

    fn tests(&mut self) -> Vec<Filter> {
        let mut asked = std::mem::take(&mut self.filters);
        asked.sort_by_key(|(index, form, _)| (*index, *form as u8));
        let mut filters: Vec<Filter> =
            asked.into_iter().filter_map(|(i, form, values)| self.test(i, form, values)).collect();
        if let Some(field) = self.noun.field("metadata") {
            self.metadata.sort();
            let wanted = std::mem::take(&mut self.metadata);
            filters.extend(wanted.into_iter().map(|(key, value)| Filter { field, test: contains(&key, &value) }));
        }
        filters
    }

    fn test(&mut self, index: usize, form: Form, values: Vec<String>) -> Option<Filter> {
        let field = &self.noun.fields[index];
        let name = form.name(field);
        if values.is_empty() || values.len() > MOST_VALUES {
            self.fault(&name, "out_of_range", format!("`{name}` takes 1 to {MOST_VALUES} values."));
            return None;
        }
        if field.kind == Kind::Uuid && field.nullable && values == ["none"] {
            return Some(Filter { field, test: Test::Null });
        }
        let mut parsed = Vec::with_capacity(values.len());
        for value in values {
            match scalar(field.kind, &value, self.business) {
                Ok(value) => parsed.extend(self.written_otherwise(field, value)),
                Err((code, detail)) => {
                    let hint = if self.is_json && form == Form::Any { list_hint(&name, &value) } else { String::new() };
                    self.fault(&name, code, format!("`{name}` {detail}{hint}"));
                }
            }
        }
        let test = match form {
            Form::Any if field.kind == Kind::Tags => Test::Overlaps(gather(parsed)),
            Form::Any if parsed.len() == 1 => Test::Equal(parsed.pop()?),
            Form::Any => Test::Equal(gather(parsed)),
            Form::After | Form::Min => Test::AtLeast(parsed.pop()?),
            Form::Before => Test::Below(parsed.pop()?),
            Form::Max => Test::AtMost(parsed.pop()?),
        };
        Some(Filter { field, test })
    }

    /// `value`, and the same number as rows have it where a field may hold one.
    fn written_otherwise(&self, field: &Field, value: Value) -> Vec<Value> {
        match value.as_text().filter(|_| field.dialled) {
            Some(text) => {
                phone::spellings(text, &self.business.country).into_iter().map(|text| Value::Text(Some(text))).collect()
            }
            None => vec![value],
        }
    }

    fn view(&mut self) -> View {
        let noun = self.noun;
        for name in std::mem::take(&mut self.include) {
            match noun.relation(&name) {
                Some(_) => self.seen.push(format!("include {name}")),
                None => {
                    let hint = did_you_mean(&name, noun.relations.iter().map(|relation| relation.name));
                    let detail = format!("{} have no relation `{name}`.{hint}", noun.plural);
                    self.fault("include", "unknown_relation", detail);
                }
            }
        }
        let wanted = |relation: &Relation| self.seen.iter().any(|seen| *seen == format!("include {}", relation.name));
        let mut view = View {
            shown: None,
            include: noun
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
                    .and_then(|(known, shown)| show(shown, known.noun, field)),
                None => show(&mut view.shown, noun, &name),
            };
            if known.is_none() {
                let relation = name.split_once('.').and_then(|(relation, _)| noun.relation(relation));
                let hint = match relation.filter(|relation| view.include.iter().all(|(r, _)| r.name != relation.name)) {
                    Some(relation) => format!(" Add `include={}` to show its fields.", relation.name),
                    None => did_you_mean(&name, field_names(noun, &view).iter().map(String::as_str)),
                };
                self.fault("fields", "unknown_field", format!("There is no field `{name}` here.{hint}"));
            }
        }
        view
    }
}

/// How to write in JSON what a query string writes with commas; empty where `value` has none.
fn list_hint(name: &str, value: &str) -> String {
    match words(value) {
        values if values.len() > 1 => format!(" Several values are a list: {}.", serde_json::json!({ name: values })),
        _ => String::new(),
    }
}

fn show(shown: &mut Shown, noun: &Noun, field: &str) -> Option<()> {
    let index = noun.index(field)?;
    *shown.get_or_insert(0) |= 1 << index;
    Some(())
}

fn field_names(noun: &Noun, view: &View) -> Vec<String> {
    let own = noun.fields.iter().map(|field| field.name.to_owned());
    let related = view
        .include
        .iter()
        .flat_map(|(relation, _)| relation.noun.fields.iter().map(|f| format!("{}.{}", relation.name, f.name)));
    own.chain(related).collect()
}

/// `{"key":"value"}`; and `{"key":value}` where the value reads as a number or a truth value, since a query string
/// cannot tell which was meant.
fn contains(key: &str, value: &str) -> Test {
    let object = |value: serde_json::Value| Value::Json(Some(serde_json::json!({ key: value })));
    let mut any = vec![object(value.into())];
    let literal =
        serde_json::from_str(value).ok().filter(|json: &serde_json::Value| json.is_number() || json.is_boolean());
    any.extend(literal.map(object));
    Test::Contains(any)
}

/// Several values of one kind as the array that `= ANY` takes.
fn gather(values: Vec<Value>) -> Value {
    fn all<T>(values: Vec<Value>, take: impl Fn(Value) -> Option<T>) -> Vec<T> {
        values.into_iter().filter_map(take).collect()
    }
    match values.first() {
        Some(Value::Uuid(_)) => Value::Uuids(all::<Uuid>(values, |v| if let Value::Uuid(v) = v { v } else { None })),
        Some(Value::Int(_)) => Value::Ints(all::<i64>(values, |v| if let Value::Int(v) = v { v } else { None })),
        Some(Value::Date(_)) => {
            Value::Dates(all::<NaiveDate>(values, |v| if let Value::Date(v) = v { v } else { None }))
        }
        // Both of true and false: every row that has a value.
        Some(Value::Bool(_)) => {
            Value::Texts(all(values, |v| if let Value::Bool(v) = v { v.map(|b| b.to_string()) } else { None }))
        }
        _ => Value::Texts(all::<String>(values, |v| if let Value::Text(v) = v { v } else { None })),
    }
}
