//! What PostgreSQL says besides an error's message: DETAIL and HINT, which often are the remedy.

use std::error::Error;

use diesel::result::Error as DieselError;

/// DETAIL and HINT, each on a line of its own; empty where there is neither.
pub fn details(error: &DieselError) -> String {
    let DieselError::DatabaseError(_, info) = error else { return String::new() };
    let lines = [("DETAIL", info.details()), ("HINT", info.hint())];
    lines.iter().filter_map(|(label, text)| text.map(|text| format!("\n{label}: {text}"))).collect()
}

/// An error of a command with all that PostgreSQL said about it.
pub fn explained(error: &(dyn Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(error) = current.downcast_ref::<DieselError>() {
            return format!("{current}{}", details(error));
        }
        if let Some(crate::error::Error::Database(error)) = current.downcast_ref::<crate::error::Error>() {
            return format!("{current}{}", details(error));
        }
        cause = current.source();
    }
    error.to_string()
}
