//! The translation of errors to HTTP: status, headers, and problem documents (RFC 9457). No SQL and no backtrace ever
//! reaches a client.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Value as Json, json};

use super::error::Error;
use crate::base::request_context;

/// `Retry-After` while a request with the same idempotency key is served, in seconds: most requests end within one.
const IN_PROGRESS_RETRY_AFTER: u32 = 1;

impl Error {
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
            Error::Unprocessable { code, detail, .. } => (S::UNPROCESSABLE_ENTITY, code, "Invalid", detail.clone()),
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
