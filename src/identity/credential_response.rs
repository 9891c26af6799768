//! Responses which carry credentials.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

/// Builds a response which carries credentials; no cache may store it (RFC 6749, section 5.1).
pub fn credential_response(mut builder: HttpResponseBuilder, body: &impl Serialize) -> HttpResponse {
    let mut response = builder.json(body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
