//! Types of the values in bodies: each is validated and cleaned as a field of its [`FieldType`], and described by the
//! same schema. So an operation's body says in its type what it takes.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::db::SqlValue;

/// What a validated value becomes.
pub trait FromValue: Sized {
    /// Returns the value, which is not null; `None` if it is of another type.
    fn from_value(value: SqlValue) -> Option<Self>;
}

impl FromValue for String {
    fn from_value(value: SqlValue) -> Option<Self> {
        match value {
            SqlValue::Text(text) | SqlValue::Decimal(text) => text,
            _ => None,
        }
    }
}

impl FromValue for i64 {
    fn from_value(value: SqlValue) -> Option<Self> {
        value.as_int()
    }
}

impl FromValue for bool {
    fn from_value(value: SqlValue) -> Option<Self> {
        if let SqlValue::Bool(flag) = value { flag } else { None }
    }
}

impl FromValue for Json {
    fn from_value(value: SqlValue) -> Option<Self> {
        match value {
            SqlValue::Json(json) => json,
            _ => None,
        }
    }
}

impl FromValue for Uuid {
    fn from_value(value: SqlValue) -> Option<Self> {
        value.as_uuid()
    }
}

impl FromValue for DateTime<Utc> {
    fn from_value(value: SqlValue) -> Option<Self> {
        value.as_time()
    }
}

/// Declares a type of values: `EmailAddress(String): FieldType::Email, "\"amina@example.com\"";`. Its documentation is
/// also its description in the OpenAPI document, where it is a named schema.
macro_rules! value_type {
    ($($(#[doc = $about:literal])+ pub $name:ident($inner:ty): $kind:expr, $example:literal;)+) => {$(
        $(#[doc = $about])+
        pub struct $name(pub $inner);

        impl deserr::Deserr<$crate::resource::body::BodyErrors> for $name {
            fn deserialize_from_value<V: deserr::IntoValue>(
                value: deserr::Value<V>,
                location: deserr::ValuePointerRef<'_>,
            ) -> std::result::Result<Self, $crate::resource::body::BodyErrors> {
                use $crate::resource::body::{BodyErrors, FromValue};
                let checked = BodyErrors::checked($kind, value.into(), location)?;
                FromValue::from_value(checked).map(Self).ok_or_else(|| {
                    BodyErrors::of(location, "type", "is of another type.")
                })
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $crate::resource::openapi::value($kind, concat!($($about),+), $example)
            }
        }

        impl utoipa::ToSchema for $name {}
    )+};
}

pub(crate) use value_type;
