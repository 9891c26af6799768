//! The list grammar: a query string, checked against a noun's description.
//!
//! | parameter | means |
//! |---|---|
//! | `status=new,won` | any of the values; `\\,` for a comma within one; in JSON `["new", "won"]` |
//! | `company_id=none` | no link |
//! | `created_after=…`, `created_before=…` | at or after, and before, an instant or a day |
//! | `score_min=…`, `score_max=…` | bounds, both included |
//! | `tags=a,b` | any of the tags |
//! | `metadata.plan=gold` | the field of the caller's own has this text, number or truth value |
//! | `q=anna` | search |
//! | `sort=-created_at` | one of the noun's sorts, `-` for descending |
//! | `limit`, `cursor` | 1 to 500 rows (50), and where the page before ended |
//! | `include=company,contact` | relations to expand |
//! | `fields=id,title,company.name` | only these |
//! | `count=true`, `count=exact` | count up to 10,000, or to the end |
//! | `deleted=true` | only deleted rows, which can be restored |
//!
//! Whatever is not in the description is refused with the nearest name that is; all faults are reported at once.

mod given;
mod reader;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};

use self::given::Given;
use self::reader::Reader;
use super::cursor::Cursor;
use super::field::{Field, Kind};
use super::json::Shown;
use super::{Noun, Relation, Search, Sort};
use crate::auth::Business;
use crate::db::Value;
use crate::error::Result;

pub const DEFAULT_LIMIT: u32 = 50;
pub const LARGEST_LIMIT: u32 = 500;
/// A count that nobody asked to be exact stops here.
pub const COUNT_CAP: i64 = 10_000;

/// How a parameter tests a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Any,
    /// At or after.
    After,
    Before,
    Min,
    Max,
}

impl Form {
    /// The parameter's name for `field`.
    pub fn name(self, field: &Field) -> Cow<'static, str> {
        match self {
            Form::Any => field.name.into(),
            Form::After => format!("{}_after", field.stem()).into(),
            Form::Before => format!("{}_before", field.stem()).into(),
            Form::Min => format!("{}_min", field.name).into(),
            Form::Max => format!("{}_max", field.name).into(),
        }
    }

    /// The forms that a list offers for `field`.
    pub fn of(field: &Field) -> &'static [Form] {
        match field.kind {
            _ if !field.filter => &[],
            Kind::Time => &[Form::After, Form::Before],
            Kind::Date => &[Form::Any, Form::After, Form::Before],
            Kind::Int { .. } => &[Form::Any, Form::Min, Form::Max],
            Kind::Object | Kind::Decimal => &[],
            _ => &[Form::Any],
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// One value, or any of several.
    Equal(Value),
    Null,
    AtLeast(Value),
    AtMost(Value),
    Below(Value),
    Overlaps(Value),
    /// Contains any of these objects.
    Contains(Vec<Value>),
}

#[derive(Clone, Debug)]
pub struct Filter {
    pub field: &'static Field,
    pub test: Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    No,
    Capped,
    Exact,
}

/// What of a row is shown, and which relations with it.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub shown: Shown,
    /// The relations to expand, in the noun's order, each with what is shown of it.
    pub include: Vec<(&'static Relation, Shown)>,
}

/// A list request, understood.
#[derive(Clone, Debug)]
pub struct List {
    pub noun: &'static Noun,
    /// In the noun's order of fields, so that equal requests make equal SQL.
    pub filters: Vec<Filter>,
    pub search: Option<String>,
    pub sort: &'static Sort,
    pub descending: bool,
    pub limit: u32,
    pub cursor: Option<Cursor>,
    pub view: View,
    pub count: Count,
    pub deleted: bool,
}

impl List {
    /// Understands `query` (still percent-encoded) as a list of `noun`. Errors: 400 with every fault.
    pub fn parse(noun: &'static Noun, query: &str, business: &Business) -> Result<Self> {
        let mut reader = Reader::new(noun, business);
        reader.read(query);
        reader.finish()
    }

    /// Understands `filter`, an object whose members are filters of `noun`. A text is one value, also where it has commas; several
    /// values are a list. Errors: every fault, at `/filter/<name>`.
    pub fn of_filter(noun: &'static Noun, filter: &Map<String, Json>, business: &Business) -> Result<Self> {
        Self::of_members(noun, filter, false, business)
    }

    /// The same for a filter that a release kept which read texts as a query string, where a comma separates values.
    pub fn of_comma_filter(noun: &'static Noun, filter: &Map<String, Json>, business: &Business) -> Result<Self> {
        Self::of_members(noun, filter, true, business)
    }

    fn of_members(
        noun: &'static Noun,
        filter: &Map<String, Json>,
        splits_texts: bool,
        business: &Business,
    ) -> Result<Self> {
        let mut reader = Reader::new(noun, business);
        (reader.place, reader.is_json) = ("/filter", true);
        for (name, value) in filter {
            match value {
                Json::String(text) if splits_texts => reader.parameter(name, Given::Text(text.clone())),
                value => reader.member(name, value),
            }
        }
        reader.finish()
    }

    /// Identifies everything a cursor depends on: noun, sort, filters and search.
    pub fn fingerprint(&self) -> u64 {
        let text = format!(
            "{}|{}|{}|{:?}|{:?}|{}",
            self.noun.plural,
            self.sort.name,
            self.descending,
            self.filters.iter().map(|f| (f.field.name, &f.test)).collect::<Vec<_>>(),
            self.search,
            self.deleted
        );
        xxhash_rust::xxh3::xxh3_64(text.as_bytes())
    }
}

impl View {
    /// Understands the `include` and `fields` of a request for rows by id; nothing else is allowed there.
    pub fn parse(noun: &'static Noun, query: &str, business: &Business) -> Result<Self> {
        let mut reader = Reader::new(noun, business);
        reader.only_view = true;
        reader.read(query);
        reader.finish().map(|list| list.view)
    }
}

impl View {
    /// Understands relations to `include` and `fields` to show, where there are any, each name by itself.
    /// Errors: every fault, at `/include` or `/fields`.
    pub fn of_names(
        noun: &'static Noun,
        include: Vec<String>,
        fields: Vec<String>,
        business: &Business,
    ) -> Result<Self> {
        let mut reader = Reader::new(noun, business);
        (reader.only_view, reader.place) = (true, "");
        for (name, names) in [("include", include), ("fields", fields)] {
            if !names.is_empty() {
                reader.parameter(name, Given::Values(names));
            }
        }
        reader.finish().map(|list| list.view)
    }
}

/// Every parameter that a list of `noun` takes.
pub fn names(noun: &Noun) -> Vec<Cow<'static, str>> {
    let mut names: Vec<Cow<'static, str>> =
        ["sort", "limit", "cursor", "include", "fields", "count"].map(Cow::from).into();
    if noun.search != Search::None {
        names.push("q".into());
    }
    if noun.soft_delete() {
        names.push("deleted".into());
    }
    names.extend(noun.fields.iter().flat_map(|field| Form::of(field).iter().map(|form| form.name(field))));
    names
}

/// Reads an instant; a `+` of an offset that arrived as a space is meant as `+`.
pub fn instant(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok()?;
    Some(time.with_timezone(&Utc)).filter(is_writable)
}

/// Whether `time` is in the years 1 to 9999: what RFC 3339 can write.
pub(super) fn is_writable(time: &DateTime<Utc>) -> bool {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    (at(-62_135_596_800)..=at(253_402_300_799)).contains(time)
}
