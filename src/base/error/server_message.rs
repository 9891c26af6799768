//! Recognises PostgreSQL errors for which diesel has no kind. It keeps neither SQLSTATE nor routine, so the message
//! decides, which `lc_messages = C` fixes on every connection ([`crate::db`] warns where that may not be set).

use diesel::result::Error;

/// SQLSTATE 40P01.
pub fn is_deadlock(error: &Error) -> bool {
    says(error, "deadlock detected")
}

/// SQLSTATE 55P03, of `lock_timeout`; a statement timeout has another message.
pub fn is_lock_timeout(error: &Error) -> bool {
    says(error, "canceling statement due to lock timeout")
}

/// PostgreSQL ended the connection or accepts none: it is starting, stopping, or an administrator's doing.
pub fn is_shutdown(message: &str) -> bool {
    message.starts_with("terminating connection") || message.starts_with("the database system is")
}

fn says(error: &Error, message: &str) -> bool {
    matches!(error, Error::DatabaseError(_, info) if info.message() == message)
}
