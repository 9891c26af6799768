//! Builds JSON responses with their ETag, compressed where the client accepts it.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};

use bytes::Bytes;

use super::precondition;
use crate::cache::{Coding, Entry, Source};

/// Builds a read's response from a cache entry, in `coding` if the entry has been compressed; 304 if the client has it.
pub fn entry(request: &HttpRequest, entry: &Entry, source: Source, coding: Option<Coding>) -> HttpResponse {
    let known = |etag| *request.method() != Method::POST && precondition::is_known(request, etag);
    let fresh = entry.etag.to_str().is_ok_and(known);
    let form = Negotiated::chosen(entry, coding);
    let mut reply = if fresh { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    reply
        .insert_header((header::ETAG, form.etag))
        .insert_header((CACHE_STATUS, HeaderValue::from_static(source.status())));
    if fresh {
        return reply.finish();
    }
    if let Some(coding) = form.coding {
        reply.insert_header((header::CONTENT_ENCODING, HeaderValue::from_static(coding)));
    }
    reply.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json"))).body(form.body)
}

/// Marks a response that was last validated `age` ago: `Age`, and in `Cache-Status` how long ago its lifetime ended.
pub fn mark_age(reply: &mut HttpResponse, source: Source, age: Duration) {
    let seconds = age.as_secs();
    let status = format!("{}; ttl={}", source.status(), -i64::try_from(seconds).unwrap_or(i64::MAX));
    let headers = reply.headers_mut();
    headers.insert(header::AGE, HeaderValue::from(seconds));
    if let Ok(status) = HeaderValue::from_str(&status) {
        headers.insert(CACHE_STATUS, status);
    }
}

pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A representation in which an entry can be sent.
struct Negotiated {
    coding: Option<&'static str>,
    body: Bytes,
    etag: HeaderValue,
}

impl Negotiated {
    fn chosen(entry: &Entry, coding: Option<Coding>) -> Self {
        let Some((coding, body)) = coding.and_then(|coding| Some((coding, entry.compressed(coding)?))) else {
            return Self { coding: None, body: entry.body.clone(), etag: entry.etag.clone() };
        };
        let tag = entry.etag.to_str().ok().and_then(|etag| precondition::coded(etag, coding).try_into().ok());
        let etag = tag.unwrap_or_else(|| entry.etag.clone());
        Self { coding: Some(coding.name()), body: body.clone(), etag }
    }
}

/// Returns the best supported coding that the client accepts.
pub fn coding(request: &HttpRequest) -> Option<Coding> {
    let accepted = request.headers().get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    Coding::ALL.into_iter().find(|coding| accepts(accepted, coding.name()))
}

/// Whether `Accept-Encoding` names `coding` with a weight above 0 (RFC 9110, section 12.5.3).
pub fn accepts(accepted: &str, coding: &str) -> bool {
    accepted.split(',').any(|offer| {
        let mut parts = offer.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let refused = |weight: &str| weight.strip_prefix("q=").is_some_and(|q| q.parse().is_ok_and(|q: f32| q <= 0.0));
        named && !parts.any(refused)
    })
}

pub fn json(mut reply: HttpResponseBuilder, body: Vec<u8>) -> HttpResponse {
    reply.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json"))).body(body)
}
