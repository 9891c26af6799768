//! Sort orders of a resource's lists.

use super::column_type::{ColumnKind, FieldColumn};
use super::field::FieldType;
use crate::db::Statement;

/// A sort order of a list. What it orders by must be NOT NULL and have an index `(business_id, <that>, id)`.
#[derive(Clone, Copy, Debug)]
pub struct Sort {
    pub name: &'static str,
    key: SortKey,
    /// Type of the key, for the cursor.
    pub field_type: FieldType,
}

/// What rows are ordered by.
#[derive(Clone, Copy, Debug)]
enum SortKey {
    Column(&'static str),
    /// SQL over the table's alias `t`.
    Expression(&'static str),
}

impl Sort {
    const INT: FieldType = FieldType::Int { min: i64::MIN, max: i64::MAX };

    /// Sorts by a column that holds instants, days or numbers, by its name. Does not compile where the column holds others,
    /// or can be null.
    pub const fn column<C: FieldColumn>(column: C) -> Self {
        let _ = column;
        assert!(!C::NULLABLE, "rows without a value have no place in the order");
        assert!(
            matches!(C::KIND, ColumnKind::Time | ColumnKind::Date | ColumnKind::Int),
            "texts are ordered by an expression"
        );
        let field_type = match C::KIND {
            ColumnKind::Time => FieldType::Time,
            ColumnKind::Date => FieldType::Date,
            _ => Self::INT,
        };
        Self { name: C::NAME, key: SortKey::Column(C::NAME), field_type }
    }

    /// Sorts by an instant: SQL over the table's alias `t`.
    pub const fn time(name: &'static str, expression: &'static str) -> Self {
        Self { name, key: SortKey::Expression(expression), field_type: FieldType::Time }
    }

    /// Sorts by a number: SQL over the table's alias `t`.
    pub const fn int(name: &'static str, expression: &'static str) -> Self {
        Self { name, key: SortKey::Expression(expression), field_type: Self::INT }
    }

    /// Sorts by the bytes of a text, independent of the database's locale: SQL over the table's alias `t`, which folds
    /// the case.
    pub const fn text(name: &'static str, expression: &'static str) -> Self {
        let field_type = FieldType::Text { min: 0, max: usize::MAX };
        Self { name, key: SortKey::Expression(expression), field_type }
    }

    /// Returns what rows are ordered by, over the table's alias `t`.
    pub fn expression(&self) -> Statement {
        match self.key {
            SortKey::Column(name) => {
                let mut sql = Statement::new("t.");
                sql.ident(name);
                sql
            }
            SortKey::Expression(expression) => Statement::new(expression),
        }
    }
}
