//! The outermost middleware: gives each request its id and its time limit, catches panics, counts, logs, and puts on
//! every answer the headers that every answer has.

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

use crate::app::App;
use crate::context::{CONTEXT, Context};
use crate::error::Error;
use crate::http::connections::Activity;
use crate::http::reply::CACHE_STATUS;
use crate::http::{cors, quota};
use crate::limits::Limits;
use crate::ops::{access, metrics};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const LONGEST_REQUEST_ID: usize = 64;

pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let began = Instant::now();
    let method = request.method().clone();
    let id = request_id(&request);
    let app = request.app_data::<Data<App>>().cloned();
    let (limit, draining) = match &app {
        Some(app) => (Duration::from_millis(app.config.request_timeout_ms), app.life.is_draining()),
        None => (Duration::from_secs(15), false),
    };
    let in_flight = request.conn_data::<Rc<Activity>>().map(Activity::begin);
    let context = Context::new(id);
    let context = match &app {
        Some(app) => context.with_bounds(&app.outbound.bounds),
        None => context,
    };
    CONTEXT
        .scope(context, async move {
            let origins = app.as_ref().map_or(&[][..], |app| &app.config.cors_origins);
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
                    let limits = app.as_ref().map(|app| &*app.limits);
                    let response = response.map_into_boxed_body().map_body(|_, body| match in_flight {
                        Some(in_flight) => in_flight.until_sent(body),
                        None => body,
                    });
                    Ok(finish(response, &method, began, draining, limits))
                }
                Err(error) => {
                    let response = error.error_response();
                    record(method.as_str(), "-", response.status(), began);
                    // Made here, where the request still has its id.
                    Err(InternalError::from_response("refused before it was routed", response).into())
                }
            }
        })
        .await
}

/// What `serving` answers within `limit`, or whenever, if it takes its time.
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

/// The caller's id, where it is short and plain; else one of ours.
fn request_id(request: &ServiceRequest) -> Box<str> {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let plain = |id: &&str| {
        (1..=LONGEST_REQUEST_ID).contains(&id.len())
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
    limits: Option<&Limits>,
) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let route = response.request().match_pattern();
    record(method.as_str(), route.as_deref().unwrap_or("-"), status, began);
    let documents = route.as_deref().is_some_and(|route| route.starts_with("/docs"));
    let head = response.response_mut().head_mut();
    if draining {
        // So that clients move their kept connections elsewhere before we are gone.
        head.set_connection_type(actix_web::http::ConnectionType::Close);
    }
    if !head.headers.contains_key(CACHE_STATUS) {
        // What does not go through the cache (RFC 9211, section 2.2).
        let status = if method.is_safe() { "rapport; fwd=bypass" } else { "rapport; fwd=method" };
        head.headers.insert(CACHE_STATUS, HeaderValue::from_static(status));
    }
    dress(&mut head.headers, began, documents, limits);
    response
}

fn dress(headers: &mut HeaderMap, began: Instant, documents: bool, limits: Option<&Limits>) {
    let _ = CONTEXT.try_with(|context| {
        if let Ok(value) = HeaderValue::from_maybe_shared(timing(context, began.elapsed())) {
            headers.insert(SERVER_TIMING, value);
        }
        if let Ok(value) = HeaderValue::from_str(&context.request_id) {
            headers.insert(REQUEST_ID, value);
        }
        if let (Some(limits), Some(quota)) = (limits, context.quota.get()) {
            quota::tell(headers, limits, quota);
        }
    });
    // No Strict-Transport-Security: it must not be sent over plain HTTP (RFC 6797, section 7.2); whoever ends TLS adds it.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    let policy = match documents {
        // The explorer's page has styles and a script of its own, and calls the API it was served with.
        true => "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
        false => "default-src 'none'; frame-ancestors 'none'",
    };
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    if documents {
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    // Beside what the CORS middleware may have said.
    headers.append(header::VARY, HeaderValue::from_static("Authorization, Origin, Accept-Encoding"));
}

/// The value of `Server-Timing`, written by hand: this is on every answer.
fn timing(context: &Context, total: Duration) -> Bytes {
    let mut value = String::with_capacity(96);
    for (name, time) in [("db", context.database.get()), ("cache", context.cache.get()), ("total", total)] {
        value.push_str(name);
        value.push_str(";dur=");
        access::push_millis(&mut value, time);
        value.push_str(", ");
    }
    value.push_str("queries;desc=\"");
    value.push_str(itoa::Buffer::new().format(context.statements.get()));
    value.push('"');
    value.into()
}

/// Counts the request and logs it: by its route, never by its path, which may carry what people typed.
fn record(method: &str, route: &str, status: StatusCode, began: Instant) {
    let took = began.elapsed();
    metrics::served(method, route, status.as_u16(), took);
    let _ = CONTEXT.try_with(|context| {
        access::log(&access::Line {
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
