//! What an error of PostgreSQL means for the client, and which questions about it decide what is done next.

use actix_web::ResponseError;
use diesel::result::DatabaseErrorKind as Kind;

use super::constraint;
use super::error::Error;
use super::field_error::FieldError;
use super::server_message::{is_deadlock, is_lock_timeout, is_shutdown};

impl Error {
    /// Moves the error below the member `name` of the body. Errors that may be retried stay unchanged.
    pub fn nest_under(self, name: &str) -> Self {
        let below = |pointer: String| format!("/{name}{pointer}");
        let moved = |faults: Vec<FieldError>| -> Vec<FieldError> {
            faults.into_iter().map(|fault| FieldError { pointer: below(fault.pointer), ..fault }).collect()
        };
        match self {
            Self::Invalid(faults) => Self::Invalid(moved(faults)),
            Self::Unprocessable { code, detail, faults } => Self::Unprocessable { code, detail, faults: moved(faults) },
            Self::Malformed { code: code @ "not_an_object", detail, .. } => Self::Invalid(vec![FieldError::new(
                below(String::new()),
                code,
                detail.replace("The body", &format!("`{name}`")),
            )]),
            Self::Conflict { code, detail, pointer, extra } => {
                Self::Conflict { code, detail, pointer: pointer.map(below), extra }
            }
            Self::Database(diesel::result::Error::DatabaseError(kind, info)) => match kind {
                Kind::UniqueViolation | Kind::ForeignKeyViolation | Kind::CheckViolation | Kind::NotNullViolation => {
                    constraint::explain(&kind, info.as_ref()).nest_under(name)
                }
                _ => Self::Database(diesel::result::Error::DatabaseError(kind, info)),
            },
            other => other,
        }
    }

    /// Whether the unique constraint `name` rejected a row.
    pub fn is_taken(&self, name: &str) -> bool {
        use diesel::result::Error::DatabaseError;
        matches!(self, Self::Database(DatabaseError(Kind::UniqueViolation, info)) if info.constraint_name() == Some(name))
    }

    /// Whether a lock could not be acquired in time.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Unavailable { code: "locked", .. })
            || matches!(self, Self::Database(error) if is_lock_timeout(error))
    }

    /// Whether the database is unreachable or overloaded, so that the request itself is not at fault.
    pub fn is_outage(&self) -> bool {
        let codes = ["database_unavailable", "database_pooler", "validation_unavailable", "busy"];
        let is = |error: &Self| matches!(error, Self::Unavailable { code, .. } if codes.contains(code));
        is(self) || self.translate().is_some_and(|known| is(&known))
    }

    /// Whether the service or its database failed. A refusal, such as 404 or 409, is an answer.
    pub fn is_failure(&self) -> bool {
        self.status_code().is_server_error()
    }

    /// Whether the same may succeed when it is tried again: after an outage, a conflict with another transaction, a lock, a time-out.
    pub fn is_transient(&self) -> bool {
        let is = |error: &Self| matches!(error, Self::Unavailable { .. });
        is(self) || self.translate().is_some_and(|known| is(&known))
    }

    /// Translates errors whose meaning for the client is known without another query.
    pub(super) fn translate(&self) -> Option<Error> {
        let Error::Database(error) = self else { return None };
        Some(match error {
            diesel::result::Error::NotFound => Error::NotFound("There is no such row.".into()),
            diesel::result::Error::DatabaseError(kind, info) => match kind {
                Kind::UniqueViolation | Kind::ForeignKeyViolation | Kind::CheckViolation | Kind::NotNullViolation => {
                    constraint::explain(kind, info.as_ref())
                }
                Kind::ClosedConnection | Kind::UnableToSendCommand => Error::Unavailable {
                    code: "database_unavailable",
                    detail: "The database is not reachable right now. Try again shortly.".into(),
                    after: 2,
                },
                // Bookings name the interval themselves; here a deleted booking came back, or several raced for a slot.
                Kind::ExclusionViolation => Error::conflict("overlapping_booking", "This time is already taken."),
                Kind::SerializationFailure => contended(),
                _ if is_deadlock(error) => contended(),
                _ if is_lock_timeout(error) => Error::locked(),
                _ if info.message().starts_with("canceling statement due to") => Error::Unavailable {
                    code: "statement_timeout",
                    detail: "The database took too long to answer. Narrow the request or try again.".into(),
                    after: 2,
                },
                _ if is_shutdown(info.message()) => Error::Unavailable {
                    code: "database_unavailable",
                    detail: "The database is restarting. Try again shortly.".into(),
                    after: 2,
                },
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Whether it concerns one row of a batch, so that other rows may succeed; constraint violations do as well.
    pub fn is_of_row(&self) -> bool {
        use diesel::result::Error::DatabaseError;
        match self {
            Error::Invalid(_) | Error::Conflict { .. } | Error::NotFound(_) | Error::PreconditionFailed => true,
            Error::Database(DatabaseError(kind, _)) => matches!(
                kind,
                Kind::UniqueViolation
                    | Kind::ForeignKeyViolation
                    | Kind::CheckViolation
                    | Kind::NotNullViolation
                    | Kind::ExclusionViolation
            ),
            _ => false,
        }
    }

    /// Whether PostgreSQL reported what it never reports of a database as migrated: a missing table, role or
    /// permission.
    pub fn is_unexpected_of_database(&self) -> bool {
        use diesel::result::Error::DatabaseError;
        matches!(self, Self::Database(DatabaseError(Kind::Unknown, _))) && self.translate().is_none()
    }

    /// Translates an error of the database into the API's terms.
    pub fn translated(self) -> Self {
        self.translate().unwrap_or(self)
    }
}

fn contended() -> Error {
    Error::Unavailable {
        code: "contended",
        detail: "Too many writers wanted the same rows at once. Try again shortly.".into(),
        after: 1,
    }
}
