//! The error type of the service and its translation to HTTP (RFC 9457 problem documents).
//!
//! `diesel::Error` is kept whole until the response is built, so that [`crate::db`] can see what may be retried; here,
//! and only here, it becomes a status. No SQL and no backtrace ever reaches a client.

pub mod constraint;
mod server_message;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind as Kind};
use serde_json::{Value as Json, json};

use self::server_message::is_lock_timeout;
pub use self::server_message::{is_deadlock, is_shutdown};
use crate::base::request_context;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// `Retry-After` while a request with the same idempotency key is served, in seconds: most requests end within one.
const IN_PROGRESS_RETRY_AFTER: u32 = 1;

/// One validation error of the input. All errors of a request are reported together.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    /// JSON pointer into the body (`/email`), or `/query/<name>` for a parameter of the query string.
    pub pointer: String,
    /// Stable, for programs: `required`, `type`, `unknown_field`, …
    pub code: &'static str,
    /// For people: what is wrong and what to do.
    pub detail: String,
}

impl FieldError {
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into() }
    }
}

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
    /// 422 that concerns no field.
    #[error("unprocessable: {detail}")]
    Unprocessable { code: &'static str, detail: String },
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

    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict { code, detail: detail.into(), pointer: None, extra: Box::default() }
    }

    /// An expired access token.
    pub fn expired() -> Self {
        let detail = "The access token has expired. Renew it: `POST /api/v1/auth/tokens` with the refresh token.";
        Self::AuthRejected { code: "token_expired", detail }
    }

    /// Moves the error below the member `name` of the body. Errors that may be retried stay unchanged.
    pub fn nest_under(self, name: &str) -> Self {
        let below = |pointer: String| format!("/{name}{pointer}");
        match self {
            Self::Invalid(faults) => {
                Self::Invalid(faults.into_iter().map(|f| FieldError { pointer: below(f.pointer), ..f }).collect())
            }
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

    /// A conflict: another transaction did first what this one was about to do, which is retried as a whole.
    pub fn serialization_conflict() -> Self {
        let info: Box<dyn DatabaseErrorInformation + Send + Sync> =
            Box::new("another transaction was faster".to_owned());
        Self::Database(diesel::result::Error::DatabaseError(Kind::SerializationFailure, info))
    }

    /// Whether the unique constraint `name` rejected a row.
    pub fn is_taken(&self, name: &str) -> bool {
        use diesel::result::Error::DatabaseError;
        matches!(self, Self::Database(DatabaseError(Kind::UniqueViolation, info)) if info.constraint_name() == Some(name))
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

    /// Translates errors whose meaning for the client is known without another query.
    fn translate(&self) -> Option<Error> {
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

    /// Returns the problem document (RFC 9457), without any SQL.
    pub fn problem(&self) -> Json {
        if let Some(known) = self.translate() {
            return known.problem();
        }
        let (status, code, title, detail) = self.parts();
        let mut problem = json!({
            "type": format!("urn:rapport:problem:{code}"),
            "title": title,
            "status": status.as_u16(),
            "detail": detail,
            "code": code,
            "request_id": request_context::request_id(),
        });
        let faults = self.field_errors();
        if !faults.is_empty() {
            problem["errors"] = json!(faults);
        }
        if let (Error::Conflict { extra, .. }, Some(members)) = (self, problem.as_object_mut())
            && let Json::Object(more) = extra.as_ref()
        {
            members.extend(more.clone());
        }
        problem
    }

    fn parts(&self) -> (StatusCode, &'static str, &'static str, String) {
        use StatusCode as S;
        match self {
            Error::Malformed { code, detail, .. } => (S::BAD_REQUEST, code, "Bad request", detail.clone()),
            Error::Unauthenticated => (
                S::UNAUTHORIZED,
                "unauthenticated",
                "Unauthorized",
                "Send a valid API key or access token: `Authorization: Bearer <credential>`.".into(),
            ),
            Error::Unprocessable { code, detail } => (S::UNPROCESSABLE_ENTITY, code, "Invalid", detail.clone()),
            Error::AuthRejected { code, detail } => (S::UNAUTHORIZED, code, "Unauthorized", (*detail).into()),
            Error::Forbidden(detail) => (S::FORBIDDEN, "forbidden", "Forbidden", detail.clone()),
            Error::CrossOrigin { code, detail } => (S::FORBIDDEN, code, "Forbidden", detail.clone()),
            Error::NotFound(detail) => (S::NOT_FOUND, "not_found", "Not found", detail.clone()),
            Error::MethodNotAllowed { allow } => (
                S::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method not allowed",
                format!("This resource answers to {allow}."),
            ),
            Error::RequestTimeout => (
                S::REQUEST_TIMEOUT,
                "request_timeout",
                "Request timeout",
                "The body did not arrive in time. Send it faster or in smaller parts.".into(),
            ),
            Error::Conflict { code, detail, .. } => (S::CONFLICT, code, "Conflict", detail.clone()),
            Error::Gone { code, detail } => (S::GONE, code, "Gone", detail.clone()),
            Error::PreconditionFailed => (
                S::PRECONDITION_FAILED,
                "precondition_failed",
                "Precondition failed",
                "The row has changed since you read it. Read it again and retry with its new ETag.".into(),
            ),
            Error::TooLarge(detail) => (S::PAYLOAD_TOO_LARGE, "too_large", "Payload too large", detail.clone()),
            Error::Unsupported(detail) => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Unsupported media type", detail.clone())
            }
            Error::Invalid(faults) => {
                let detail = match faults.as_slice() {
                    [only] => only.detail.clone(),
                    many => format!("{} fields are wrong; see `errors`.", many.len()),
                };
                (S::UNPROCESSABLE_ENTITY, "invalid", "Invalid", detail)
            }
            Error::BatchRejected { like, detail, .. } => {
                let (status, code, title, _) = like.parts();
                (status, code, title, detail.clone())
            }
            Error::TooMany { code, detail, .. } => (S::TOO_MANY_REQUESTS, code, "Too many requests", detail.clone()),
            Error::Unavailable { code, detail, .. } => {
                (S::SERVICE_UNAVAILABLE, code, "Service unavailable", detail.clone())
            }
            Error::Database(_) | Error::Internal(_) => (
                S::INTERNAL_SERVER_ERROR,
                "internal",
                "Internal server error",
                "Something went wrong on our side. Quote `request_id` when you report it.".into(),
            ),
        }
    }
}

impl Error {
    /// Returns the errors of parts of the input, if it has any.
    pub fn field_errors(&self) -> Vec<FieldError> {
        match self {
            Error::Malformed { faults, .. } | Error::Invalid(faults) | Error::BatchRejected { faults, .. } => {
                faults.clone()
            }
            Error::Conflict { code, detail, pointer: Some(pointer), .. } => {
                vec![FieldError::new(pointer.as_str(), code, detail.as_str())]
            }
            _ => Vec::new(),
        }
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

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self.translate() {
            Some(known) => known.parts().0,
            None => self.parts().0,
        }
    }

    fn error_response(&self) -> HttpResponse {
        if let Some(known) = self.translate() {
            return known.error_response();
        }
        let status = self.parts().0;
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(request_id = %request_context::request_id(), error = %self, "request failed");
        }
        let problem = self.problem();
        let mut reply = HttpResponse::build(status);
        match self {
            Error::Unauthenticated => {
                reply.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            // RFC 6750, section 3.1.
            Error::AuthRejected { .. } => {
                reply.insert_header((header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""));
            }
            Error::MethodNotAllowed { allow } => {
                reply.insert_header((header::ALLOW, allow.as_str()));
            }
            Error::Unavailable { after, .. } | Error::TooMany { after, .. } => {
                reply.insert_header((header::RETRY_AFTER, *after));
            }
            // The request that holds the key is being served: its response is available when it ends.
            Error::Conflict { code: "idempotency_in_progress", .. } => {
                reply.insert_header((header::RETRY_AFTER, IN_PROGRESS_RETRY_AFTER));
            }
            // The rest of the body was not read, so the connection cannot be used again.
            Error::RequestTimeout | Error::TooLarge(_) => {
                reply.force_close();
            }
            _ => {}
        }
        reply.insert_header(("x-request-id", request_context::request_id()));
        reply.content_type("application/problem+json").body(problem.to_string())
    }
}
