//! Which values the columns of diesel's schema hold.

use diesel::Column;
use diesel::sql_types::{
    Array, BigInt, Bool, Date, Integer, Jsonb, Nullable, Numeric, SingleValue, SmallInt, SqlType, Text, Timestamptz,
    Uuid,
};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    Uuid,
    Text,
    Texts,
    /// Of two, four or eight bytes.
    Int,
    Bool,
    Time,
    Date,
    Decimal,
    Json,
}

/// A SQL type of diesel as the type of a field's column.
pub trait ColumnType {
    const KIND: ColumnKind;
    const NULLABLE: bool;
}

macro_rules! column_types {
    ($($sql:ty => $kind:ident),* $(,)?) => {
        $(impl ColumnType for $sql {
            const KIND: ColumnKind = ColumnKind::$kind;
            const NULLABLE: bool = false;
        })*
    };
}

column_types! {
    Uuid => Uuid,
    Text => Text,
    Array<Text> => Texts,
    SmallInt => Int,
    Integer => Int,
    BigInt => Int,
    Bool => Bool,
    Timestamptz => Time,
    Date => Date,
    Numeric => Decimal,
    Jsonb => Json,
}

impl<T: ColumnType + SqlType + SingleValue> ColumnType for Nullable<T>
where
    Nullable<T>: SqlType,
{
    const KIND: ColumnKind = T::KIND;
    const NULLABLE: bool = true;
}

/// A column that can be a field's.
pub trait FieldColumn: Column + Copy {
    const KIND: ColumnKind;
    const NULLABLE: bool;
}

impl<C> FieldColumn for C
where
    C: Column + Copy,
    C::SqlType: ColumnType,
{
    const KIND: ColumnKind = <C::SqlType as ColumnType>::KIND;
    const NULLABLE: bool = <C::SqlType as ColumnType>::NULLABLE;
}
