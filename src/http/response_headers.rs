//! The headers that every response has: timing, request id, rate limit, and security policies.

use std::time::{Duration, Instant};

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::web::Bytes;

use super::access_log;
use super::rate_limit::check as rate_limit_check;
use super::rate_limit::limiter::RateLimiter;
use super::request_id::REQUEST_ID;
use crate::base::request_context::{CONTEXT, RequestContext};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Adds the headers of the request in progress, which began at `began`. `is_docs`: the response is of the API explorer.
pub fn add_headers(headers: &mut HeaderMap, began: Instant, is_docs: bool, rate_limiter: &RateLimiter) {
    let _ = CONTEXT.try_with(|context| {
        if let Ok(value) = HeaderValue::from_maybe_shared(timing(context, began.elapsed())) {
            headers.insert(SERVER_TIMING, value);
        }
        if let Ok(value) = HeaderValue::from_str(&context.request_id) {
            headers.insert(REQUEST_ID, value);
        }
        if let Some(quota) = context.quota.get() {
            rate_limit_check::add_headers(headers, rate_limiter, quota);
        }
    });
    // No Strict-Transport-Security: plain HTTP must not have it (RFC 6797, section 7.2); the TLS terminator adds it.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    let policy = match is_docs {
        // The explorer page has inline styles and its own script, and calls the API that serves it.
        true => "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
        false => "default-src 'none'; frame-ancestors 'none'",
    };
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    if is_docs {
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
