//! The validation errors of a row of the file, as the API reports them.

use diesel::result::{DatabaseErrorKind as Kind, Error as DbError};

use crate::base::error::{Error, FieldError, Result, constraint};

/// Returns the validation errors of a row, as the API reports them. Errors: `error` itself, if it is not about a row.
pub fn of(error: Error) -> Result<Vec<FieldError>> {
    match error {
        Error::Invalid(faults) => Ok(faults),
        Error::Malformed { code, detail, .. } => Ok(vec![FieldError::new("", code, detail)]),
        Error::Conflict { code, detail, pointer, .. } => {
            Ok(vec![FieldError::new(pointer.unwrap_or_default(), code, detail)])
        }
        Error::Database(DbError::DatabaseError(
            kind @ (Kind::UniqueViolation | Kind::ForeignKeyViolation | Kind::CheckViolation | Kind::NotNullViolation),
            info,
        )) => of(constraint::explain(&kind, info.as_ref())),
        other => Err(other),
    }
}

/// Error: row `other` of the file has this `name` already.
pub fn repeats(name: &str, other: u64) -> FieldError {
    let detail = format!("Row {other} of the file has this {name} already, with other values.");
    FieldError::new(format!("/{name}"), "already_exists", detail)
}
