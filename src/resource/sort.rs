//! Sort orders of a resource's lists.

use super::field::FieldType;

/// A sort order of a list. The expression must be NOT NULL and have an index `(business_id, expression, id)`.
#[derive(Clone, Copy, Debug)]
pub struct Sort {
    pub name: &'static str,
    /// SQL over the table's alias `t`.
    pub expression: &'static str,
    /// Type of the expression, for the cursor.
    pub field_type: FieldType,
}

impl Sort {
    /// Sorts by an instant.
    pub const fn time(name: &'static str, expression: &'static str) -> Self {
        Self { name, expression, field_type: FieldType::Time }
    }

    pub const fn int(name: &'static str, expression: &'static str) -> Self {
        Self { name, expression, field_type: FieldType::Int { min: i64::MIN, max: i64::MAX } }
    }

    /// Sorts by bytes, independent of the database's locale: fold the case in the expression.
    pub const fn text(name: &'static str, expression: &'static str) -> Self {
        Self { name, expression, field_type: FieldType::Text { min: 0, max: usize::MAX } }
    }
}
