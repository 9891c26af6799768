//! CORS: which origins, methods and headers browsers may use, and refusals that name what was refused and the option
//! that allows it, which browsers themselves do not report.

use std::collections::HashSet;
use std::sync::LazyLock;

use actix_cors::Cors;
use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap};
use parking_lot::Mutex;

use crate::base::error::Error;
use crate::base::suggest::shown;

/// Methods of the API.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Request headers that a page may set: those that the API reads, and those that front ends send by themselves (tracing
/// headers, the flag of older libraries).
pub const REQUEST_HEADERS: [&str; 17] = [
    "accept-language",
    "authorization",
    "baggage",
    "cache-control",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "if-range",
    "last-event-id",
    "prefer",
    "range",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "x-request-id",
    "x-requested-with",
];

/// Response headers that a page may read: every one that the API documents or that a client has a use for.
pub const RESPONSE_HEADERS: [&str; 15] = [
    "Accept-Ranges",
    "Age",
    "Allow",
    "Cache-Status",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Server-Timing",
    "WWW-Authenticate",
    "X-Request-Id",
];

/// How long a browser may cache a preflight response, in seconds: an hour, so that a changed configuration reaches
/// every page within it.
const MAX_AGE_SECONDS: usize = 3600;

/// Maximum number of distinct refusals that a process logs: refused values are client input.
const MAX_LOGGED: usize = 64;

/// Builds the CORS middleware for `origins`.
pub fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(METHODS)
        .allowed_headers(REQUEST_HEADERS)
        .expose_headers(RESPONSE_HEADERS)
        .max_age(MAX_AGE_SECONDS);
    origins.iter().fold(cors, |cors, origin| match origin.as_str() {
        "*" => cors.allow_any_origin(),
        origin => cors.allowed_origin(origin),
    })
}

/// Returns why `request` is refused if it is a preflight that [`cors`] would refuse. Each refusal is logged once.
pub fn refused(request: &ServiceRequest, origins: &[String]) -> Option<Error> {
    if !is_preflight(request) {
        return None;
    }
    let Refusal { code, detail } = refusal(request.headers(), origins)?;
    log_once(code, &detail);
    Some(Error::CrossOrigin { code, detail })
}

struct Refusal {
    code: &'static str,
    detail: String,
}

fn is_preflight(request: &ServiceRequest) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Returns why a preflight is refused, if it is.
fn refusal(headers: &HeaderMap, origins: &[String]) -> Option<Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let origin = text(header::ORIGIN);
    if !origins.iter().any(|allowed| allowed == "*" || allowed == origin) {
        let detail = format!(
            "The origin `{}` may not call this API from a browser. The operator allows origins with RAPPORT_CORS_ORIGINS, \
             comma-separated: scheme, host and port as the browser sends them.",
            shown(origin)
        );
        return Some(Refusal { code: "cors_origin_refused", detail });
    }
    let method = text(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !METHODS.contains(&method) {
        let detail = format!(
            "The method `{}` is refused for every origin in RAPPORT_CORS_ORIGINS; the API has {}.",
            shown(method),
            METHODS.join(", ")
        );
        return Some(Refusal { code: "cors_method_refused", detail });
    }
    let asked = text(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let unknown: Vec<_> = asked
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && !REQUEST_HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name)))
        .map(|name| format!("`{}`", shown(name)))
        .collect();
    if unknown.is_empty() {
        return None;
    }
    let detail = format!(
        "The request header {} is not allowed for origins in RAPPORT_CORS_ORIGINS. Allowed are {}. Leave the header out.",
        unknown.join(", "),
        REQUEST_HEADERS.join(", ")
    );
    Some(Refusal { code: "cors_header_refused", detail })
}

fn log_once(code: &'static str, detail: &str) {
    static LOGGED: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    let mut logged = LOGGED.lock();
    if logged.len() < MAX_LOGGED && logged.insert(detail.to_owned()) {
        tracing::warn!(code, detail, "refused a preflight request of a browser");
    }
}
