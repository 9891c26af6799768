//! The error type of the service.
//!
//! `diesel::Error` is kept whole until the response is built, so that [`crate::db`] can see what may be retried.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind as Kind};
use serde_json::Value as Json;

use super::field_error::FieldError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of a command, or of another place where only its text counts.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 400: the request is malformed.
    #[error("malformed: {detail}")]
    Malformed { code: &'static str, detail: String, faults: Vec<FieldError> },
    /// 401: no credential, or one that is not (any longer) valid.
    #[error("unauthenticated")]
    Unauthenticated,
    /// 401 with a reason: the credential was valid once, or could be.
    #[error("refused: {code}")]
    AuthRejected { code: &'static str, detail: &'static str },
    /// 422 with a code of its own, and the fields that it concerns, if any.
    #[error("unprocessable: {detail}")]
    Unprocessable { code: &'static str, detail: String, faults: Vec<FieldError> },
    /// 403: a valid credential without the permission.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// 403: a preflight of a browser whose origin, method or headers are not allowed.
    #[error("cross-origin: {detail}")]
    CrossOrigin { code: &'static str, detail: String },
    /// 404: it does not exist, or is not the caller's.
    #[error("not found: {0}")]
    NotFound(String),
    /// 405, with the allowed methods.
    #[error("method not allowed")]
    MethodNotAllowed { allow: String },
    /// 408: the body did not arrive in time.
    #[error("request timeout")]
    RequestTimeout,
    /// 409: it would break a rule between rows; `extra` members are added to the problem document.
    #[error("conflict: {detail}")]
    Conflict { code: &'static str, detail: String, pointer: Option<String>, extra: Box<Json> },
    /// 410: it existed, or could have, and is not kept any more.
    #[error("gone: {detail}")]
    Gone { code: &'static str, detail: String },
    /// 412: `If-Match` does not match.
    #[error("precondition failed")]
    PreconditionFailed,
    /// 413.
    #[error("too large: {0}")]
    TooLarge(String),
    /// 415.
    #[error("unsupported media type: {0}")]
    Unsupported(String),
    /// 422: well-formed but invalid.
    #[error("invalid")]
    Invalid(Vec<FieldError>),
    /// Rejected items of a batch that is applied entirely or not at all; the status and code are those of `like`.
    #[error("several: {detail}")]
    BatchRejected { like: Box<Error>, detail: String, faults: Vec<FieldError> },
    /// 429: too many requests. `after` is in seconds.
    #[error("too many requests: {detail}")]
    TooMany { code: &'static str, detail: String, after: u32 },
    /// 503: overloaded, or the database is unreachable. `after` is in seconds.
    #[error("unavailable: {detail}")]
    Unavailable { code: &'static str, detail: String, after: u32 },
    /// An error of PostgreSQL, not yet translated.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
    /// 500: a fault of the service. The text is logged, never sent.
    #[error("internal: {0}")]
    Internal(String),
}

impl Error {
    pub fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Malformed { code, detail: detail.into(), faults: Vec::new() }
    }

    /// Errors in the query string or the path: 400.
    pub fn parameters(faults: Vec<FieldError>) -> Self {
        let detail = match faults.as_slice() {
            [only] => only.detail.clone(),
            many => format!("{} parameters are wrong; see `errors`.", many.len()),
        };
        Self::Malformed { code: "invalid_parameter", detail, faults }
    }

    /// Errors of fields that a program tells from others by their code: 422.
    pub fn invalid_as(code: &'static str, faults: Vec<FieldError>) -> Self {
        let detail = match faults.as_slice() {
            [only] => only.detail.clone(),
            many => format!("{} fields are wrong; see `errors`.", many.len()),
        };
        Self::Unprocessable { code, detail, faults }
    }

    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict { code, detail: detail.into(), pointer: None, extra: Box::default() }
    }

    /// An expired access token.
    pub fn expired() -> Self {
        let detail = "The access token has expired. Renew it: `POST /api/v1/auth/tokens` with the refresh token.";
        Self::AuthRejected { code: "token_expired", detail }
    }

    /// A conflict: another transaction did first what this one was about to do, which is retried as a whole.
    pub fn serialization_conflict() -> Self {
        let info: Box<dyn DatabaseErrorInformation + Send + Sync> =
            Box::new("another transaction was faster".to_owned());
        Self::Database(diesel::result::Error::DatabaseError(Kind::SerializationFailure, info))
    }

    pub fn busy() -> Self {
        Self::Unavailable {
            code: "busy",
            detail: "All database connections are in use and the wait would be too long. Try again shortly.".into(),
            after: 1,
        }
    }

    /// Another transaction holds a row or a table for longer than requests wait for locks.
    pub fn locked() -> Self {
        Self::Unavailable {
            code: "locked",
            detail: "Another transaction holds a row or a table that this request needs. Nothing was changed: send the same \
                     request again after `Retry-After`. If it stays so, an operator finds who holds it in pg_stat_activity."
                .into(),
            after: 1,
        }
    }

    /// Returns the errors of parts of the input, if it has any.
    pub fn field_errors(&self) -> Vec<FieldError> {
        match self {
            Error::Malformed { faults, .. }
            | Error::Invalid(faults)
            | Error::Unprocessable { faults, .. }
            | Error::BatchRejected { faults, .. } => faults.clone(),
            Error::Conflict { code, detail, pointer: Some(pointer), .. } => {
                vec![FieldError::new(pointer.as_str(), code, detail.as_str())]
            }
            _ => Vec::new(),
        }
    }
}
