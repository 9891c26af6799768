//! The one error of the house and its one way to HTTP (RFC 9457 problem documents).
//!
//! `diesel::Error` is kept whole until the edge, so that [`crate::db`] can see what may be retried; here, and only here,
//! it becomes a status. Nothing of SQL, and no backtrace, ever reaches a client.

pub mod constraint;
mod server_message;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind as Kind};
use serde_json::{Value as Json, json};

use self::server_message::is_lock_timeout;
pub use self::server_message::{is_deadlock, is_shutdown};
use crate::context;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// `Retry-After` of a request whose twin is being served, in seconds: most requests end within one.
const IN_PROGRESS_RETRY_AFTER: u32 = 1;

/// One fault of the input. All faults of a request are reported together.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// JSON pointer into the body (`/email`), or `/query/<name>` for a parameter of the query string.
    pub pointer: String,
    /// Stable, for programs: `required`, `type`, `unknown_field`, …
    pub code: &'static str,
    /// For people: what is wrong and what to do.
    pub detail: String,
}

impl Fault {
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 400: the request cannot be understood.
    #[error("malformed: {detail}")]
    Malformed { code: &'static str, detail: String, faults: Vec<Fault> },
    /// 401: no credential, or one that is not (any longer) good.
    #[error("unauthenticated")]
    Unauthenticated,
    /// 401 that says more: what was good once, or could be.
    #[error("refused: {code}")]
    Refused { code: &'static str, detail: &'static str },
    /// 422 that is about no field.
    #[error("unprocessable: {detail}")]
    Unprocessable { code: &'static str, detail: String },
    /// 403: a good credential that may not do this.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// 403: a preflight of a browser whose origin, method or headers are not allowed.
    #[error("cross-origin: {detail}")]
    CrossOrigin { code: &'static str, detail: String },
    /// 404: not there, or not the caller's.
    #[error("not found: {0}")]
    NotFound(String),
    /// 405, with what is allowed.
    #[error("method not allowed")]
    MethodNotAllowed { allow: String },
    /// 408: the body did not arrive in time.
    #[error("request timeout")]
    RequestTimeout,
    /// 409: it would break a rule between rows; `extra` members are added to the problem document.
    #[error("conflict: {detail}")]
    Conflict { code: &'static str, detail: String, pointer: Option<String>, extra: Box<Json> },
    /// 410: it was there, or could have been, and is not kept any more.
    #[error("gone: {detail}")]
    Gone { code: &'static str, detail: String },
    /// 412: `If-Match` lost.
    #[error("precondition failed")]
    Stale,
    /// 413.
    #[error("too large: {0}")]
    TooLarge(String),
    /// 415.
    #[error("unsupported media type: {0}")]
    Unsupported(String),
    /// 422: understood and wrong.
    #[error("invalid")]
    Invalid(Vec<Fault>),
    /// Items of a set that is done wholly or not at all: it is refused like one that is wrong as `like` says.
    #[error("several: {detail}")]
    Several { like: Box<Error>, detail: String, faults: Vec<Fault> },
    /// 429: too often. `after` is in seconds.
    #[error("too many requests: {detail}")]
    TooMany { code: &'static str, detail: String, after: u32 },
    /// 503: full, or the database is away. `after` is in seconds.
    #[error("unavailable: {detail}")]
    Unavailable { code: &'static str, detail: String, after: u32 },
    /// Whatever PostgreSQL said, not yet mapped.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
    /// 500: a fault of ours. The text is logged, never sent.
    #[error("internal: {0}")]
    Internal(String),
}

impl Error {
    pub fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Malformed { code, detail: detail.into(), faults: Vec::new() }
    }

    /// A fault in the query string or the path: 400.
    pub fn parameters(faults: Vec<Fault>) -> Self {
        let detail = match faults.as_slice() {
            [only] => only.detail.clone(),
            many => format!("{} parameters are wrong; see `errors`.", many.len()),
        };
        Self::Malformed { code: "invalid_parameter", detail, faults }
    }

    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict { code, detail: detail.into(), pointer: None, extra: Box::default() }
    }

    /// An access token whose time is over.
    pub fn expired() -> Self {
        let detail = "The access token has expired. Renew it: `POST /api/v1/auth/tokens` with the refresh token.";
        Self::Refused { code: "token_expired", detail }
    }

    /// The same, of what stands in the member `name` of the body. What may be tried again stays as it is.
    pub fn of_member(self, name: &str) -> Self {
        let below = |pointer: String| format!("/{name}{pointer}");
        match self {
            Self::Invalid(faults) => {
                Self::Invalid(faults.into_iter().map(|f| Fault { pointer: below(f.pointer), ..f }).collect())
            }
            Self::Malformed { code: code @ "not_an_object", detail, .. } => Self::Invalid(vec![Fault::new(
                below(String::new()),
                code,
                detail.replace("The body", &format!("`{name}`")),
            )]),
            Self::Conflict { code, detail, pointer, extra } => {
                Self::Conflict { code, detail, pointer: pointer.map(below), extra }
            }
            Self::Database(diesel::result::Error::DatabaseError(kind, info)) => match kind {
                Kind::UniqueViolation | Kind::ForeignKeyViolation | Kind::CheckViolation | Kind::NotNullViolation => {
                    constraint::explain(&kind, info.as_ref()).of_member(name)
                }
                _ => Self::Database(diesel::result::Error::DatabaseError(kind, info)),
            },
            other => other,
        }
    }

    /// Another transaction did first what this one was about to do: it is tried again as a whole, and sees what is there.
    pub fn outrun() -> Self {
        let info: Box<dyn DatabaseErrorInformation + Send + Sync> =
            Box::new("another transaction was faster".to_owned());
        Self::Database(diesel::result::Error::DatabaseError(Kind::SerializationFailure, info))
    }

    /// Whether it is that the unique key `name` refused a row.
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

    /// Another transaction has held a row or a table for longer than a caller is kept waiting for it.
    pub fn locked() -> Self {
        Self::Unavailable {
            code: "locked",
            detail: "Another transaction holds a row or a table that this request needs. Nothing was changed: send the same \
                     request again after `Retry-After`. If it stays so, an operator finds who holds it in pg_stat_activity."
                .into(),
            after: 1,
        }
    }

    /// Whether it is that a lock was not to be had in time.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Unavailable { code: "locked", .. })
            || matches!(self, Self::Database(error) if is_lock_timeout(error))
    }

    /// Whether the database is away, or has no place for more: nothing that is wrong with what was asked of it.
    pub fn is_outage(&self) -> bool {
        let codes = ["database_unavailable", "database_pooler", "validation_unavailable", "busy"];
        let is = |error: &Self| matches!(error, Self::Unavailable { code, .. } if codes.contains(code));
        is(self) || self.resolved().is_some_and(|known| is(&known))
    }

    /// Errors whose meaning for the client is known without the database having to be asked again.
    fn resolved(&self) -> Option<Error> {
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
                // Its own room names the interval; here a deleted booking came back, or many raced for one place.
                Kind::ExclusionViolation => Error::conflict("overlapping_booking", "This time is taken by now."),
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

    /// As a problem document (RFC 9457): nothing of SQL in it.
    pub fn problem(&self) -> Json {
        if let Some(known) = self.resolved() {
            return known.problem();
        }
        let (status, code, title, detail) = self.parts();
        let mut problem = json!({
            "type": format!("urn:rapport:problem:{code}"),
            "title": title,
            "status": status.as_u16(),
            "detail": detail,
            "code": code,
            "request_id": context::request_id(),
        });
        let faults = self.faults();
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
            Error::Refused { code, detail } => (S::UNAUTHORIZED, code, "Unauthorized", (*detail).into()),
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
            Error::Stale => (
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
            Error::Several { like, detail, .. } => {
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
    /// What is wrong with which part of the input, as far as it is about parts.
    pub fn faults(&self) -> Vec<Fault> {
        match self {
            Error::Malformed { faults, .. } | Error::Invalid(faults) | Error::Several { faults, .. } => faults.clone(),
            Error::Conflict { code, detail, pointer: Some(pointer), .. } => {
                vec![Fault::new(pointer.as_str(), code, detail.as_str())]
            }
            _ => Vec::new(),
        }
    }

    /// Whether it is about one row of a set, so that the others may do: what constraints refuse as well.
    pub fn is_of_row(&self) -> bool {
        use diesel::result::Error::DatabaseError;
        match self {
            Error::Invalid(_) | Error::Conflict { .. } | Error::NotFound(_) | Error::Stale => true,
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

    /// Whether PostgreSQL said what it never says of a database that is as the migrations made it: a table, a role or a
    /// permission is missing.
    pub fn is_unexpected_of_database(&self) -> bool {
        use diesel::result::Error::DatabaseError;
        matches!(self, Self::Database(DatabaseError(Kind::Unknown, _))) && self.resolved().is_none()
    }

    /// The same in the words of the API, where the database said it.
    pub fn explained(self) -> Self {
        self.resolved().unwrap_or(self)
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
        match self.resolved() {
            Some(known) => known.parts().0,
            None => self.parts().0,
        }
    }

    fn error_response(&self) -> HttpResponse {
        if let Some(known) = self.resolved() {
            return known.error_response();
        }
        let status = self.parts().0;
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(request_id = %context::request_id(), error = %self, "request failed");
        }
        let problem = self.problem();
        let mut reply = HttpResponse::build(status);
        match self {
            Error::Unauthenticated => {
                reply.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            // RFC 6750, section 3.1.
            Error::Refused { .. } => {
                reply.insert_header((header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""));
            }
            Error::MethodNotAllowed { allow } => {
                reply.insert_header((header::ALLOW, allow.as_str()));
            }
            Error::Unavailable { after, .. } | Error::TooMany { after, .. } => {
                reply.insert_header((header::RETRY_AFTER, *after));
            }
            // The request that holds the key is under way: its answer is there when it ends.
            Error::Conflict { code: "idempotency_in_progress", .. } => {
                reply.insert_header((header::RETRY_AFTER, IN_PROGRESS_RETRY_AFTER));
            }
            // The rest of the body was not read, so the connection cannot be used again.
            Error::RequestTimeout | Error::TooLarge(_) => {
                reply.force_close();
            }
            _ => {}
        }
        reply.insert_header(("x-request-id", context::request_id()));
        reply.content_type("application/problem+json").body(problem.to_string())
    }
}
