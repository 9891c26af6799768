//! List queries: parses a query string against a resource's definition.
//!
//! | parameter | meaning |
//! |---|---|
//! | `status=new,won` | any of the values; `\\,` for a comma within one; in JSON `["new", "won"]` |
//! | `company_id=none` | no reference |
//! | `created_after=…`, `created_before=…` | at or after, and before, an instant or a day |
//! | `score_min=…`, `score_max=…` | bounds, both included |
//! | `tags=a,b` | any of the tags |
//! | `metadata.plan=gold` | the client's own field has this text, number or boolean |
//! | `q=anna` | search |
//! | `sort=-created_at` | one of the resource's sorts, `-` for descending |
//! | `limit`, `cursor` | 1 to 500 rows (default 50), and where the previous page ended |
//! | `include=company,contact` | relations to expand |
//! | `fields=id,title,company.name` | only these fields |
//! | `count=true`, `count=exact` | count up to 10,000, or to the end |
//! | `deleted=true` | only deleted rows, which can be restored |
//!
//! Parameters that the definition lacks are rejected with the nearest name that it has; all errors are reported at
//! once.

mod filter_value;
mod parser;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};

use self::filter_value::RawFilterValue;
use self::parser::QueryParser;
use super::cursor::Cursor;
use super::field::{Field, FieldType};
use super::row_json::FieldMask;
use super::{Relation, Resource, Search, Sort};
use crate::auth::TenantSettings;
use crate::base::error::Result;
use crate::db::SqlValue;

pub const DEFAULT_LIMIT: u32 = 50;
pub const MAX_LIMIT: u32 = 500;
/// A count that is not requested as exact stops here.
pub const COUNT_CAP: i64 = 10_000;

/// How a parameter filters by a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterOp {
    Any,
    /// At or after.
    After,
    Before,
    Min,
    Max,
}

impl FilterOp {
    /// Returns the parameter's name for `field`.
    pub fn name(self, field: &Field) -> Cow<'static, str> {
        match self {
            FilterOp::Any => field.name.into(),
            FilterOp::After => format!("{}_after", field.stem()).into(),
            FilterOp::Before => format!("{}_before", field.stem()).into(),
            FilterOp::Min => format!("{}_min", field.name).into(),
            FilterOp::Max => format!("{}_max", field.name).into(),
        }
    }

    /// Returns the operators that a list offers for `field`.
    pub fn of(field: &Field) -> &'static [FilterOp] {
        match field.field_type {
            _ if !field.filter => &[],
            FieldType::Time => &[FilterOp::After, FilterOp::Before],
            FieldType::Date => &[FilterOp::Any, FilterOp::After, FilterOp::Before],
            FieldType::Int { .. } => &[FilterOp::Any, FilterOp::Min, FilterOp::Max],
            FieldType::Object | FieldType::Decimal => &[],
            _ => &[FilterOp::Any],
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// One value, or any of several.
    Equal(SqlValue),
    Null,
    AtLeast(SqlValue),
    AtMost(SqlValue),
    Below(SqlValue),
    Overlaps(SqlValue),
    /// Contains any of these objects.
    Contains(Vec<SqlValue>),
}

#[derive(Clone, Debug)]
pub struct Filter {
    pub field: &'static Field,
    pub predicate: Predicate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    No,
    Capped,
    Exact,
}

/// Which fields of a row are shown, and which relations with it.
#[derive(Clone, Debug, Default)]
pub struct Projection {
    pub mask: FieldMask,
    /// The relations to expand, in the resource's order, each with its shown fields.
    pub include: Vec<(&'static Relation, FieldMask)>,
}

/// A parsed list query.
#[derive(Clone, Debug)]
pub struct List {
    pub resource: &'static Resource,
    /// In the order of the resource's fields, so that equal requests make equal SQL.
    pub filters: Vec<Filter>,
    pub search: Option<String>,
    pub sort: &'static Sort,
    pub descending: bool,
    pub limit: u32,
    pub cursor: Option<Cursor>,
    pub projection: Projection,
    pub count: Count,
    pub deleted: bool,
}

impl List {
    /// Parses `query` (still percent-encoded) as a list of the resource. Errors: 400 with every validation error.
    pub fn parse(resource: &'static Resource, query: &str, business: &TenantSettings) -> Result<Self> {
        let mut reader = QueryParser::new(resource, business);
        reader.read(query);
        reader.finish()
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
        let mut reader = QueryParser::new(resource, business);
        (reader.place, reader.is_json) = ("/filter", true);
        for (name, value) in filter {
            match value {
                Json::String(text) if splits_texts => reader.parameter(name, RawFilterValue::Text(text.clone())),
                value => reader.member(name, value),
            }
        }
        reader.finish()
    }

    /// Hashes everything that a cursor depends on: resource, sort, filters, search and `deleted`.
    pub fn fingerprint(&self) -> u64 {
        let text = format!(
            "{}|{}|{}|{:?}|{:?}|{}",
            self.resource.plural,
            self.sort.name,
            self.descending,
            self.filters.iter().map(|f| (f.field.name, &f.predicate)).collect::<Vec<_>>(),
            self.search,
            self.deleted
        );
        xxhash_rust::xxh3::xxh3_64(text.as_bytes())
    }
}

impl Projection {
    /// Parses the `include` and `fields` of a request for rows by id; other parameters are rejected.
    pub fn parse(resource: &'static Resource, query: &str, business: &TenantSettings) -> Result<Self> {
        let mut reader = QueryParser::new(resource, business);
        reader.only_view = true;
        reader.read(query);
        reader.finish().map(|list| list.projection)
    }
}

impl Projection {
    /// Parses the relations to `include` and the `fields` to show, where there are any, each name by itself. Errors:
    /// every validation error, at `/include` or `/fields`.
    pub fn of_names(
        resource: &'static Resource,
        include: Vec<String>,
        fields: Vec<String>,
        business: &TenantSettings,
    ) -> Result<Self> {
        let mut reader = QueryParser::new(resource, business);
        (reader.only_view, reader.place) = (true, "");
        for (name, names) in [("include", include), ("fields", fields)] {
            if !names.is_empty() {
                reader.parameter(name, RawFilterValue::Values(names));
            }
        }
        reader.finish().map(|list| list.projection)
    }
}

/// Returns the names of a list's parameters, without `metadata.<key>`.
pub fn names(resource: &Resource) -> Vec<Cow<'static, str>> {
    let mut names: Vec<Cow<'static, str>> =
        ["sort", "limit", "cursor", "include", "fields", "count"].map(Cow::from).into();
    if resource.search != Search::None {
        names.push("q".into());
    }
    if resource.soft_delete() {
        names.push("deleted".into());
    }
    names.extend(resource.fields.iter().flat_map(|field| FilterOp::of(field).iter().map(|form| form.name(field))));
    names
}

/// Parses an instant; an offset's `+` that arrived as a space is read as `+`.
pub fn instant(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok()?;
    Some(time.with_timezone(&Utc)).filter(is_writable)
}

/// Whether `time` is in the years 1 to 9999.
pub(super) fn is_writable(time: &DateTime<Utc>) -> bool {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    (at(-62_135_596_800)..=at(253_402_300_799)).contains(time)
}
