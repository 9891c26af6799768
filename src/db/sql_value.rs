//! Values bound to statements.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::AstPass;
use diesel::sql_types as sql;
use uuid::Uuid;

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
    Bytes(Option<Vec<u8>>),
    Ints(Vec<i64>),
    Texts(Vec<String>),
    Uuids(Vec<Uuid>),
    Dates(Vec<NaiveDate>),
    Times(Vec<DateTime<Utc>>),
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
            Bool(None)
                | Int(None)
                | Text(None)
                | Uuid(None)
                | Time(None)
                | Date(None)
                | Json(None)
                | Decimal(None)
                | Bytes(None)
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
            SqlValue::Times(v) => json!(v),
        }
    }

    pub(super) fn bind<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
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
            SqlValue::Bytes(v) => out.push_bind_param::<N<sql::Binary>, _>(v),
            SqlValue::Ints(v) => out.push_bind_param::<sql::Array<sql::BigInt>, _>(v),
            SqlValue::Texts(v) => out.push_bind_param::<sql::Array<sql::Text>, _>(v),
            SqlValue::Uuids(v) => out.push_bind_param::<sql::Array<sql::Uuid>, _>(v),
            SqlValue::Dates(v) => out.push_bind_param::<sql::Array<sql::Date>, _>(v),
            SqlValue::Times(v) => out.push_bind_param::<sql::Array<sql::Timestamptz>, _>(v),
        }
    }
}

macro_rules! sql_values {
    ($($variant:ident($rust:ty)),* $(,)?) => {
        $(
            impl From<$rust> for SqlValue {
                fn from(value: $rust) -> Self {
                    SqlValue::$variant(Some(value))
                }
            }

            impl From<Option<$rust>> for SqlValue {
                fn from(value: Option<$rust>) -> Self {
                    SqlValue::$variant(value)
                }
            }
        )*
    };
}

sql_values! {
    Bool(bool),
    Int(i64),
    Text(String),
    Uuid(Uuid),
    Time(DateTime<Utc>),
    Date(NaiveDate),
    Json(serde_json::Value),
    Bytes(Vec<u8>),
}

macro_rules! sql_numbers {
    ($($rust:ty),* $(,)?) => {
        $(impl From<$rust> for SqlValue {
            fn from(number: $rust) -> Self {
                SqlValue::Int(Some(number.into()))
            }
        })*
    };
}

sql_numbers!(u8, u16, i32, u32);

impl From<&String> for SqlValue {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<&str> for SqlValue {
    fn from(text: &str) -> Self {
        SqlValue::Text(Some(text.to_owned()))
    }
}

impl From<Option<&str>> for SqlValue {
    fn from(text: Option<&str>) -> Self {
        SqlValue::Text(text.map(str::to_owned))
    }
}

macro_rules! sql_lists {
    ($($variant:ident($rust:ty)),* $(,)?) => {
        $(impl From<$rust> for SqlValue {
            fn from(values: $rust) -> Self {
                SqlValue::$variant(values)
            }
        })*
    };
}

sql_lists! {
    Ints(Vec<i64>),
    Texts(Vec<String>),
    Uuids(Vec<Uuid>),
    Dates(Vec<NaiveDate>),
    Times(Vec<DateTime<Utc>>),
}
