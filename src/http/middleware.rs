//! The outermost middleware: assigns each request its id and time limit, catches panics, records metrics and the access
//! log, and adds the headers that all responses have.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::app::state::AppState;
use crate::base::error::Error;
use crate::base::request_context::{CONTEXT, RequestContext};
use crate::base::telemetry::metrics;
use crate::http::access_log;
use crate::http::connections::Activity;
use crate::http::cors;
use crate::http::rate_limit::check as rate_limit_check;
use crate::http::rate_limit::limiter::RateLimiter;
use crate::http::response::CACHE_STATUS;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const MAX_REQUEST_ID_LEN: usize = 64;

pub async fn handle(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let began = Instant::now();
    let method = request.method().clone();
    let id = request_id(&request);
    let app = request.app_data::<Data<AppState>>().cloned();
    let (limit, draining) = match &app {
        Some(app) => (Duration::from_millis(app.config.http.request_timeout_ms), app.lifecycle.is_draining()),
        None => (Duration::from_secs(15), false),
    };
    let in_flight = request.conn_data::<Rc<Activity>>().map(Activity::begin);
    let context = RequestContext::new(id);
    let context = match &app {
        Some(app) => context.with_egress_policy(&app.egress.policy),
        None => context,
    };
    CONTEXT
        .scope(context, async move {
            let origins = app.as_ref().map_or(&[][..], |app| &app.config.http.cors_origins);
            let outcome = match cors::refused(&request, origins) {
                Some(refusal) => Err(refusal.into()),
                None => match AssertUnwindSafe(within(limit, next.call(request))).catch_unwind().await {
                    Ok(Some(answered)) => answered,
                    Ok(None) => Err(too_slow().into()),
                    Err(_) => Err(Error::Internal("a handler panicked".into()).into()),
                },
            };
            match outcome {
                Ok(response) => {
                    let limits = app.as_ref().map(|app| &*app.rate_limiter);
                    let response = response.map_into_boxed_body().map_body(|_, body| match in_flight {
                        Some(in_flight) => in_flight.until_sent(body),
                        None => body,
                    });
                    Ok(finish(response, &method, began, draining, limits))
                }
                Err(error) => {
                    let response = error.error_response();
                    record(method.as_str(), "-", response.status(), began);
                    // Built here, where the request id is still available.
                    Err(InternalError::from_response("refused before it was routed", response).into())
                }
            }
        })
        .await
}

/// Awaits `serving` for at most `limit`, or without limit if the request lifted it. `None`: it took too long.
async fn within<T>(limit: Duration, serving: impl Future<Output = T>) -> Option<T> {
    let mut serving = pin!(serving);
    match tokio::time::timeout(limit, &mut serving).await {
        Ok(answered) => Some(answered),
        Err(_) if CONTEXT.try_with(|context| context.unhurried.get()).unwrap_or_default() => Some(serving.await),
        Err(_) => None,
    }
}

fn too_slow() -> Error {
    Error::Unavailable {
        code: "request_timeout",
        detail: "The request took too long. Narrow it or try again.".into(),
        after: 2,
    }
}

/// Returns the client's request id if it is short and plain; else a new UUID.
fn request_id(request: &ServiceRequest) -> Box<str> {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let plain = |id: &&str| {
        (1..=MAX_REQUEST_ID_LEN).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    let ours = || (*Uuid::now_v7().hyphenated().encode_lower(&mut Uuid::encode_buffer())).into();
    given.filter(plain).map_or_else(ours, Into::into)
}

fn finish(
    mut response: ServiceResponse<BoxBody>,
    method: &actix_web::http::Method,
    began: Instant,
    draining: bool,
    limits: Option<&RateLimiter>,
) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let route = response.request().match_pattern();
    record(method.as_str(), route.as_deref().unwrap_or("-"), status, began);
    let documents = route.as_deref().is_some_and(|route| route.starts_with("/docs"));
    let head = response.response_mut().head_mut();
    if draining {
        // So that clients move kept-alive connections elsewhere before this process stops.
        head.set_connection_type(actix_web::http::ConnectionType::Close);
    }
    if !head.headers.contains_key(CACHE_STATUS) {
        // Responses that do not go through the cache (RFC 9211, section 2.2).
        let status = if method.is_safe() { "rapport; fwd=bypass" } else { "rapport; fwd=method" };
        head.headers.insert(CACHE_STATUS, HeaderValue::from_static(status));
    }
    add_headers(&mut head.headers, began, documents, limits);
    response
}

fn add_headers(headers: &mut HeaderMap, began: Instant, documents: bool, limits: Option<&RateLimiter>) {
    let _ = CONTEXT.try_with(|context| {
        if let Ok(value) = HeaderValue::from_maybe_shared(timing(context, began.elapsed())) {
            headers.insert(SERVER_TIMING, value);
        }
        if let Ok(value) = HeaderValue::from_str(&context.request_id) {
            headers.insert(REQUEST_ID, value);
        }
        if let (Some(limits), Some(quota)) = (limits, context.quota.get()) {
            rate_limit_check::tell(headers, limits, quota);
        }
    });
    // No Strict-Transport-Security: plain HTTP must not have it (RFC 6797, section 7.2); the TLS terminator adds it.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    let policy = match documents {
        // The explorer page has inline styles and its own script, and calls the API that serves it.
        true => "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
        false => "default-src 'none'; frame-ancestors 'none'",
    };
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    if documents {
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    // In addition to what the CORS middleware set.
    headers.append(header::VARY, HeaderValue::from_static("Authorization, Origin, Accept-Encoding"));
}

/// Formats `Server-Timing` by hand: this runs on every response.
fn timing(context: &RequestContext, total: Duration) -> Bytes {
    let mut value = String::with_capacity(96);
    for (name, time) in [("db", context.database.get()), ("cache", context.cache.get()), ("total", total)] {
        value.push_str(name);
        value.push_str(";dur=");
        access_log::push_millis(&mut value, time);
        value.push_str(", ");
    }
    value.push_str("queries;desc=\"");
    value.push_str(itoa::Buffer::new().format(context.statements.get()));
    value.push('"');
    value.into()
}

/// Counts and logs the request by its route, never by its path, which may contain personal input.
fn record(method: &str, route: &str, status: StatusCode, began: Instant) {
    let took = began.elapsed();
    metrics::served(method, route, status.as_u16(), took);
    let _ = CONTEXT.try_with(|context| {
        access_log::log(&access_log::Line {
            request_id: &context.request_id,
            method,
            route,
            status: status.as_u16(),
            took,
            in_database: context.database.get(),
            queries: context.statements.get(),
        });
    });
}
