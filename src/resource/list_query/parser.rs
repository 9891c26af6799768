//! Parses a query string or a JSON filter against a resource's definition, and collects every validation error.

use serde_json::Value as Json;

use super::filter_value::{MAX_FILTER_VALUES, RawFilterValue, signs_kept};
use super::filters::{Added, RawFilters, wrong_shape};
use super::list::{Count, DEFAULT_LIMIT, List, MAX_LIMIT};
use super::parameter_errors::ParameterErrors;
use super::parameter_names::names;
use super::projection::parse_projection;
use super::search::parse_search;
use super::sort::parse_sort;
use crate::auth::TenantSettings;
use crate::base::error::Result;
use crate::base::suggest::did_you_mean;
use crate::resource::definition::{Resource, Search};

pub(super) struct QueryParser<'b> {
    resource: &'static Resource,
    business: &'b TenantSettings,
    /// Allows only `include` and `fields`, for rows by id.
    pub(super) only_view: bool,
    /// Whether filters come as JSON, where several values are a list.
    pub(super) is_json: bool,
    pub(super) errors: ParameterErrors,
    /// Names of the parameters read so far.
    seen: Vec<String>,
    filters: RawFilters,
    search: Option<String>,
    highlights: bool,
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
            is_json: false,
            errors: ParameterErrors::at("/query"),
            seen: Vec::new(),
            filters: RawFilters::default(),
            search: None,
            highlights: false,
            sort: None,
            limit: None,
            cursor: None,
            include: Vec::new(),
            fields: Vec::new(),
            count: Count::No,
            deleted: false,
        }
    }

    pub(super) fn read(&mut self, query: &str) {
        // Decoding would replace invalid UTF-8, and so answer another query.
        if percent_encoding::percent_decode_str(query).decode_utf8().is_err() {
            self.errors.add("", "encoding", "The query string must be UTF-8, percent-encoded.");
            return;
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let decoded = |pair: &str| url::form_urlencoded::parse(pair.as_bytes()).into_owned().next();
            let Some((name, value)) = decoded(pair) else { continue };
            if name.contains('\0') || value.contains('\0') {
                self.errors.add("", "nul", "A parameter must not contain the character U+0000.");
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
                self.errors.add(name, "nul", format!("`{name}` must not contain the character U+0000."));
            }
            Some(given) => self.parameter(name, given),
            None if !self.is_known(name) => self.unknown(name),
            None => wrong_shape(self.resource, name, value, &mut self.errors),
        }
    }

    fn is_known(&self, name: &str) -> bool {
        name.starts_with("metadata.") || names(self.resource).iter().any(|known| known == name)
    }

    /// Reads the parameter `name`.
    pub(super) fn parameter(&mut self, name: &str, given: RawFilterValue) {
        if matches!(name, "include" | "fields") {
            let names = given.several();
            match name {
                _ if !(1..=MAX_FILTER_VALUES).contains(&names.len()) => self.errors.add(
                    name,
                    "out_of_range",
                    format!("`{name}` takes 1 to {MAX_FILTER_VALUES} names; leave it out for none."),
                ),
                "include" => self.include.extend(names),
                _ => self.fields.extend(names),
            }
        } else if self.only_view {
            self.unknown(name);
        } else {
            match self.filters.add(self.resource, name, &given) {
                Added::Yes => {}
                Added::Repeated => self.once_only(name),
                Added::NoFilter => match given.one() {
                    Some(value) => self.own(name, value),
                    None if !self.is_known(name) => self.unknown(name),
                    None => self.once_only(name),
                },
            }
        }
        self.seen.push(name.to_owned());
    }

    fn once_only(&mut self, name: &str) {
        let detail = match self.is_json {
            true => format!("`{name}` takes one value, not a list of several."),
            false => format!("`{name}` may be given once, with one value."),
        };
        self.errors.add(name, "repeated", detail);
    }

    /// Reads a parameter that is not a filter by a field.
    fn own(&mut self, name: &str, value: String) {
        match name {
            "q" | "highlight" | "sort" | "limit" | "cursor" | "count" | "deleted"
                if self.seen.iter().any(|seen| seen == name) =>
            {
                self.once_only(name);
            }
            "q" if self.resource.search != Search::None => {
                self.search = parse_search(self.resource.search, &value, &mut self.errors);
            }
            "highlight" if self.resource.search == Search::Words => match value.as_str() {
                "true" => self.highlights = true,
                "false" => self.highlights = false,
                _ => self.errors.add("highlight", "invalid", "`highlight` is `true` or `false`."),
            },
            "sort" => self.sort = Some(value),
            "limit" => match value.parse() {
                Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => self.limit = Some(limit),
                _ => self.errors.add(
                    "limit",
                    "out_of_range",
                    format!("`limit` is a whole number from 1 to {MAX_LIMIT}."),
                ),
            },
            "cursor" => self.cursor = Some(value),
            "count" => match value.as_str() {
                "true" => self.count = Count::Capped,
                "exact" => self.count = Count::Exact,
                "false" => self.count = Count::No,
                _ => self.errors.add("count", "invalid", "`count` is `true`, `exact` or `false`."),
            },
            "deleted" if self.resource.soft_delete() => match value.as_str() {
                "true" => self.deleted = true,
                "false" => self.deleted = false,
                _ => self.errors.add("deleted", "invalid", "`deleted` is `true` or `false`."),
            },
            _ => self.unknown(name),
        }
    }

    fn unknown(&mut self, name: &str) {
        let known = if self.only_view { vec!["include".into(), "fields".into()] } else { names(self.resource) };
        let hint = did_you_mean(name, known.iter().map(AsRef::as_ref));
        self.errors.add(name, "unknown_parameter", format!("There is no parameter `{name}` here.{hint}"));
    }

    pub(super) fn finish(mut self) -> Result<List> {
        let errors = &mut self.errors;
        if self.highlights && !self.seen.iter().any(|name| name == "q") {
            errors.add("highlight", "invalid", "`highlight` shows what `q` finds: give `q`, too.");
        }
        let (sort, descending) = parse_sort(self.resource, self.sort.as_deref(), errors);
        let filters = self.filters.parse(self.resource, self.business, self.is_json, errors);
        let projection = parse_projection(self.resource, &self.include, &self.fields, errors);
        let mut list = List {
            resource: self.resource,
            filters,
            search: self.search,
            is_whole_words: self.is_json,
            highlights: self.highlights,
            sort,
            descending,
            limit: self.limit.unwrap_or(DEFAULT_LIMIT),
            cursor: None,
            projection,
            count: self.count,
            deleted: self.deleted,
        };
        if let Some(text) = self.cursor {
            list.cursor = list.decode_cursor(&text);
            if list.cursor.is_none() {
                let detail = "This cursor is damaged or belongs to another sort or filter. Start again without it.";
                self.errors.add("cursor", "invalid_cursor", detail);
            }
        }
        self.errors.unless_any(list)
    }
}
