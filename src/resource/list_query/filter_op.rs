//! Filter operators: which parameters a list offers for a field.

use std::borrow::Cow;

use crate::resource::field::{Field, FieldType};

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
            FieldType::Object | FieldType::Hours | FieldType::Decimal => &[],
            _ => &[FilterOp::Any],
        }
    }
}
