//! The ways to a parsed query: a query string, a JSON filter, or names of relations and fields.

use serde_json::{Map, Value as Json};

use super::filter_value::RawFilterValue;
use super::list::List;
use super::parser::QueryParser;
use super::projection::Projection;
use crate::auth::TenantSettings;
use crate::base::error::Result;
use crate::resource::definition::Resource;

impl List {
    /// Parses `query` (still percent-encoded) as a list of the resource. Errors: 400 with every validation error.
    pub fn parse(resource: &'static Resource, query: &str, business: &TenantSettings) -> Result<Self> {
        let mut parser = QueryParser::new(resource, business);
        parser.read(query);
        parser.finish()
    }

    /// Parses `filter`, an object whose members are filters of the resource. A text is one value, even with commas;
    /// several values are a list. Errors: every validation error, at `/filter/<name>`.
    pub fn of_filter(
        resource: &'static Resource,
        filter: &Map<String, Json>,
        business: &TenantSettings,
    ) -> Result<Self> {
        Self::of_members(resource, filter, false, business)
    }

    /// As [`List::of_filter`], for stored filters of an earlier release, in whose texts commas separate values.
    pub fn of_comma_filter(
        resource: &'static Resource,
        filter: &Map<String, Json>,
        business: &TenantSettings,
    ) -> Result<Self> {
        Self::of_members(resource, filter, true, business)
    }

    fn of_members(
        resource: &'static Resource,
        filter: &Map<String, Json>,
        splits_texts: bool,
        business: &TenantSettings,
    ) -> Result<Self> {
        let mut parser = QueryParser::new(resource, business);
        parser.errors.place = "/filter";
        parser.is_json = true;
        for (name, value) in filter {
            match value {
                Json::String(text) if splits_texts => parser.parameter(name, RawFilterValue::Text(text.clone())),
                value => parser.member(name, value),
            }
        }
        parser.finish()
    }
}

impl Projection {
    /// Parses the `include` and `fields` of a request for rows by id; other parameters are rejected.
    pub fn parse(resource: &'static Resource, query: &str, business: &TenantSettings) -> Result<Self> {
        let mut parser = QueryParser::new(resource, business);
        parser.only_view = true;
        parser.read(query);
        parser.finish().map(|list| list.projection)
    }

    /// Parses the relations to `include` and the `fields` to show, where there are any, each name by itself. Errors:
    /// every validation error, at `/include` or `/fields`.
    pub fn of_names(
        resource: &'static Resource,
        include: Vec<String>,
        fields: Vec<String>,
        business: &TenantSettings,
    ) -> Result<Self> {
        let mut parser = QueryParser::new(resource, business);
        parser.only_view = true;
        parser.errors.place = "";
        for (name, names) in [("include", include), ("fields", fields)] {
            if !names.is_empty() {
                parser.parameter(name, RawFilterValue::Values(names));
            }
        }
        parser.finish().map(|list| list.projection)
    }
}
