//! Rows of one column, as plain Rust values.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::deserialize::{self, FromSql, QueryableByName};
use diesel::pg::Pg;
use diesel::row::{Field, NamedRow, Row};
use diesel::sql_types as sql;
use uuid::Uuid;

/// A Rust type that [`Statement::scalar`](super::Statement::scalar) can load, and the SQL type of its column.
pub trait ScalarType: FromSql<Self::Sql, Pg> + 'static {
    type Sql;
}

macro_rules! scalar_types {
    ($($rust:ty => $sql:ident),* $(,)?) => {
        $(impl ScalarType for $rust {
            type Sql = sql::$sql;
        })*
    };
}

scalar_types! {
    bool => Bool,
    i32 => Integer,
    i64 => BigInt,
    String => Text,
    Vec<u8> => Binary,
    Uuid => Uuid,
    DateTime<Utc> => Timestamptz,
    NaiveDate => Date,
    serde_json::Value => Jsonb,
}

impl ScalarType for Vec<String> {
    type Sql = sql::Array<sql::Text>;
}

impl<T: ScalarType> ScalarType for Option<T>
where
    Option<T>: FromSql<sql::Nullable<T::Sql>, Pg>,
{
    type Sql = sql::Nullable<T::Sql>;
}

/// The only column of a row.
pub(super) struct Scalar<T>(pub(super) T);

impl<T: ScalarType> QueryableByName<Pg> for Scalar<T> {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let field = Row::get(row, 0).ok_or(diesel::result::UnexpectedEndOfRow)?;
        Ok(Self(T::from_nullable_sql(field.value())?))
    }
}
