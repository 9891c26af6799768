//! Hand-written SQL that diesel can keep prepared (see [`super::prepared`]), and rows in PostgreSQL's binary format.
//!
//! `diesel::sql_query` is never cached; a custom [`QueryFragment`] is, by its text. A [`RawRow`] is read through
//! diesel's public `QueryableByName` without a Rust type for each column: list queries write its cells straight to
//! JSON, which would otherwise take most of their time.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use diesel::deserialize::{self, QueryableByName};
use diesel::pg::{Pg, PgConnection};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::row::{Field, NamedRow, Row};
use diesel::sql_types as sql;
use diesel::{QueryResult, RunQueryDsl};
use uuid::Uuid;

use super::backend_id::BackendId;
use super::prepared;

/// A value bound to a statement; `None` is NULL of that type.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlValue {
    Bool(Option<bool>),
    Int(Option<i64>),
    Text(Option<String>),
    Uuid(Option<Uuid>),
    Time(Option<DateTime<Utc>>),
    Date(Option<NaiveDate>),
    Json(Option<serde_json::Value>),
    /// A decimal number as text, so that money never passes through a float.
    Decimal(Option<String>),
    Bytes(Vec<u8>),
    Ints(Vec<i64>),
    Texts(Vec<String>),
    Uuids(Vec<Uuid>),
    Dates(Vec<NaiveDate>),
}

impl SqlValue {
    /// Wraps a non-NULL text.
    pub fn text(text: &str) -> Self {
        SqlValue::Text(Some(text.to_owned()))
    }

    pub fn is_null(&self) -> bool {
        use SqlValue::*;
        matches!(
            self,
            Bool(None) | Int(None) | Text(None) | Uuid(None) | Time(None) | Date(None) | Json(None) | Decimal(None)
        )
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            SqlValue::Text(text) | SqlValue::Decimal(text) => text.as_deref(),
            _ => None,
        }
    }

    pub fn as_uuid(&self) -> Option<Uuid> {
        if let SqlValue::Uuid(id) = self { *id } else { None }
    }

    pub fn as_int(&self) -> Option<i64> {
        if let SqlValue::Int(number) = self { *number } else { None }
    }

    pub fn as_time(&self) -> Option<DateTime<Utc>> {
        if let SqlValue::Time(time) = self { *time } else { None }
    }

    /// Returns the value as a member of a JSON document that PostgreSQL decodes (`jsonb_to_recordset`): to the
    /// microsecond, as a bound value. Bytes have no such form and are null.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::json;
        match self {
            SqlValue::Bool(v) => json!(v),
            SqlValue::Int(v) => json!(v),
            SqlValue::Text(v) | SqlValue::Decimal(v) => json!(v),
            SqlValue::Uuid(v) => json!(v),
            SqlValue::Time(v) => json!(v.map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true))),
            SqlValue::Date(v) => json!(v),
            SqlValue::Json(v) => json!(v),
            SqlValue::Bytes(_) => serde_json::Value::Null,
            SqlValue::Ints(v) => json!(v),
            SqlValue::Texts(v) => json!(v),
            SqlValue::Uuids(v) => json!(v),
            SqlValue::Dates(v) => json!(v),
        }
    }

    fn bind<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        use sql::Nullable as N;
        match self {
            SqlValue::Bool(v) => out.push_bind_param::<N<sql::Bool>, _>(v),
            SqlValue::Int(v) => out.push_bind_param::<N<sql::BigInt>, _>(v),
            SqlValue::Text(v) => out.push_bind_param::<N<sql::Text>, _>(v),
            SqlValue::Uuid(v) => out.push_bind_param::<N<sql::Uuid>, _>(v),
            SqlValue::Time(v) => out.push_bind_param::<N<sql::Timestamptz>, _>(v),
            SqlValue::Date(v) => out.push_bind_param::<N<sql::Date>, _>(v),
            SqlValue::Json(v) => out.push_bind_param::<N<sql::Jsonb>, _>(v),
            SqlValue::Decimal(v) => {
                out.push_bind_param::<N<sql::Text>, _>(v)?;
                out.push_sql("::numeric");
                Ok(())
            }
            SqlValue::Bytes(v) => out.push_bind_param::<sql::Binary, _>(v),
            SqlValue::Ints(v) => out.push_bind_param::<sql::Array<sql::BigInt>, _>(v),
            SqlValue::Texts(v) => out.push_bind_param::<sql::Array<sql::Text>, _>(v),
            SqlValue::Uuids(v) => out.push_bind_param::<sql::Array<sql::Uuid>, _>(v),
            SqlValue::Dates(v) => out.push_bind_param::<sql::Array<sql::Date>, _>(v),
        }
    }
}

/// SQL text with its bound values. The text must not depend on client input, except through the field names that a
/// resource defines: it is the key of the connection's statement cache.
#[derive(Clone, Debug, Default)]
pub struct Statement {
    text: String,
    /// Position of each value in `text`.
    binds: Vec<(usize, SqlValue)>,
}

impl Statement {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), binds: Vec::new() }
    }

    pub fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    pub fn bind(&mut self, value: SqlValue) -> &mut Self {
        self.binds.push((self.text.len(), value));
        self
    }

    /// Appends `other` with its values.
    pub fn append(&mut self, other: Statement) -> &mut Self {
        let base = self.text.len();
        self.text.push_str(&other.text);
        self.binds.extend(other.binds.into_iter().map(|(at, value)| (base + at, value)));
        self
    }

    /// Returns the text without its values.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the text as PostgreSQL gets it, with `$1` for the first value, and the values: for EXPLAIN.
    pub fn numbered(&self) -> (String, Vec<&SqlValue>) {
        let (mut text, mut from) = (String::with_capacity(self.text.len()), 0);
        for (number, (at, value)) in self.binds.iter().enumerate() {
            text.push_str(&self.text[from..*at]);
            text.push_str(&format!("${}", number + 1));
            if matches!(value, SqlValue::Decimal(_)) {
                text.push_str("::numeric");
            }
            from = *at;
        }
        text.push_str(&self.text[from..]);
        (text, self.binds.iter().map(|(_, value)| value).collect())
    }

    pub fn rows(&self, conn: &mut PgConnection) -> QueryResult<Vec<RawRow>> {
        self.sent(conn).load::<RawRow>(conn)
    }

    pub fn row(&self, conn: &mut PgConnection) -> QueryResult<Option<RawRow>> {
        Ok(self.rows(conn)?.into_iter().next())
    }

    pub fn run(&self, conn: &mut PgConnection) -> QueryResult<usize> {
        self.sent(conn).execute(conn)
    }

    fn sent(&self, conn: &mut PgConnection) -> Sent<'_> {
        Sent { statement: self, keep: prepared::keeps(conn, &self.text) }
    }
}

/// A statement to be executed on a connection.
struct Sent<'s> {
    statement: &'s Statement,
    /// The backend on which the connection keeps it prepared; any other rejects it. `None`: it is not prepared.
    keep: Option<BackendId>,
}

impl QueryId for Sent<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Sent<'_> {
    type SqlType = sql::Untyped;
}

impl RunQueryDsl<PgConnection> for Sent<'_> {}

impl QueryFragment<Pg> for Sent<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match self.keep {
            Some(backend) => backend.push_parameters(&mut out)?,
            None => out.unsafe_to_cache_prepared(),
        }
        let Statement { text, binds } = self.statement;
        let mut from = 0;
        for (at, value) in binds {
            out.push_sql(&text[from..*at]);
            value.bind(&mut out)?;
            from = *at;
        }
        out.push_sql(&text[from..]);
        Ok(())
    }
}

/// One row as PostgreSQL's binary protocol transfers it: the cells end to end.
#[derive(Clone, Debug)]
pub struct RawRow {
    bytes: Vec<u8>,
    /// End of each cell in `bytes`; [`RawRow::NULL`] marks NULL.
    ends: Vec<u32>,
}

impl RawRow {
    const NULL: u32 = 1 << 31;

    /// Returns the cell at `index` in PostgreSQL's binary format, or `None` for NULL.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        if end & Self::NULL != 0 {
            return None;
        }
        let start = match index.checked_sub(1) {
            Some(before) => self.ends[before] & !Self::NULL,
            None => 0,
        };
        self.bytes.get(start as usize..end as usize)
    }

    pub fn uuid(&self, index: usize) -> Option<Uuid> {
        Uuid::from_slice(self.get(index)?).ok()
    }

    pub fn int(&self, index: usize) -> Option<i64> {
        let cell = self.get(index)?;
        match cell.len() {
            8 => Some(i64::from_be_bytes(cell.try_into().ok()?)),
            4 => Some(i32::from_be_bytes(cell.try_into().ok()?).into()),
            2 => Some(i16::from_be_bytes(cell.try_into().ok()?).into()),
            _ => None,
        }
    }

    pub fn text(&self, index: usize) -> Option<&str> {
        std::str::from_utf8(self.get(index)?).ok()
    }
}

impl QueryableByName<Pg> for RawRow {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let count = row.field_count();
        let mut cells = RawRow { bytes: Vec::with_capacity(512), ends: Vec::with_capacity(count) };
        for index in 0..count {
            let field = Row::get(row, index).ok_or(diesel::result::UnexpectedEndOfRow)?;
            let null = match field.value() {
                Some(value) => {
                    cells.bytes.extend_from_slice(value.as_bytes());
                    0
                }
                None => RawRow::NULL,
            };
            cells.ends.push(cells.bytes.len() as u32 | null);
        }
        Ok(cells)
    }
}
