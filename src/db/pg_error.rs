//! Formats PostgreSQL errors with their DETAIL and HINT, which often contain the remedy.

use std::error::Error;

use diesel::result::Error as DieselError;

/// Returns DETAIL and HINT, each on its own line; empty where there is neither.
pub fn details(error: &DieselError) -> String {
    let DieselError::DatabaseError(_, info) = error else { return String::new() };
    let lines = [("DETAIL", info.details()), ("HINT", info.hint())];
    lines.iter().filter_map(|(label, text)| text.map(|text| format!("\n{label}: {text}"))).collect()
}

/// Returns the error of a command, with PostgreSQL's DETAIL and HINT.
pub fn explained(error: &(dyn Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(error) = current.downcast_ref::<DieselError>() {
            return format!("{current}{}", details(error));
        }
        if let Some(crate::base::error::Error::Database(error)) = current.downcast_ref::<crate::base::error::Error>() {
            return format!("{current}{}", details(error));
        }
        cause = current.source();
    }
    error.to_string()
}
