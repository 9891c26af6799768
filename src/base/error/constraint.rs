//! Translates constraint violations into API errors by the name of the constraint.
//!
//! Constraints are named by one convention (a test checks the catalogue for it): `<table>_<column>_key` is unique,
//! `<table>_<column>_fkey` references another table, `<table>_<column>_check` bounds a value, `<table>_<column>_size`
//! bounds an object that a merge builds.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind as Kind};

use super::error::Error;
use super::field_error::FieldError;

/// Bytes that the `_size` constraints allow an object.
pub const MAX_OBJECT_BYTES: usize = 64 * 1024;

/// Returns the error for a row that PostgreSQL rejected: 409 for a value that is taken, 422 for one that is wrong.
pub fn explain(kind: &Kind, info: &(dyn DatabaseErrorInformation + Send + Sync)) -> Error {
    let table = info.table_name().unwrap_or_default();
    let column = match kind {
        Kind::NotNullViolation => info.column_name().unwrap_or_default(),
        _ => column(table, info.constraint_name().unwrap_or_default()),
    };
    let pointer = format!("/{column}");
    let fault = |code, detail: String| Error::Invalid(vec![FieldError::new(pointer.clone(), code, detail)]);
    match kind {
        Kind::UniqueViolation => Error::Conflict {
            code: "already_exists",
            detail: format!("Another row of {table} already has this {column}."),
            pointer: Some(pointer),
            extra: Box::default(),
        },
        Kind::ForeignKeyViolation => {
            fault("no_such_row", format!("`{column}` names a row that does not exist in this business."))
        }
        _ if info.constraint_name().is_some_and(|name| name.ends_with("_size")) => {
            let detail = format!(
                "`{column}` would have more than {MAX_OBJECT_BYTES} bytes with this. Remove members that are not needed: null does."
            );
            fault("length", detail)
        }
        Kind::NotNullViolation => fault("required", format!("`{column}` must not be null.")),
        _ => fault("out_of_range", format!("`{column}` has a value that {table} does not allow.")),
    }
}

/// Extracts the column: `leads_company_id_fkey` of `leads` → `company_id`.
fn column<'a>(table: &str, constraint: &'a str) -> &'a str {
    let rest = constraint.strip_prefix(table).and_then(|r| r.strip_prefix('_')).unwrap_or(constraint);
    ["_fkey", "_key", "_check", "_size"].iter().find_map(|suffix| rest.strip_suffix(suffix)).unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    #[test]
    fn column_parsed_from_constraint_name() {
        assert_eq!(super::column("leads", "leads_company_id_fkey"), "company_id");
        assert_eq!(super::column("companies", "companies_domain_key"), "domain");
        assert_eq!(super::column("leads", "leads_metadata_size"), "metadata");
        assert_eq!(super::column("leads", "odd"), "odd");
    }
}
