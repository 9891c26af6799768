//! Answers: JSON with its ETag, as it is or compressed, and the preconditions of HTTP (RFC 9110, section 13).

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};

use bytes::Bytes;

use crate::cache::{Coding, Entry, Source};
use crate::error::{Error, Result};

/// A read's answer; compressed where the caller takes `coding` and it was done already.
pub fn entry(request: &HttpRequest, entry: &Entry, source: Source, coding: Option<Coding>) -> HttpResponse {
    let known = request.headers().get(header::IF_NONE_MATCH).filter(|_| *request.method() != Method::POST);
    let fresh = known.and_then(|known| Some(matches_weakly(known.to_str().ok()?, entry.etag.to_str().ok()?)));
    let form = Form::chosen(entry, coding);
    let mut reply = if fresh == Some(true) { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    reply
        .insert_header((header::ETAG, form.etag))
        .insert_header((CACHE_STATUS, HeaderValue::from_static(source.status())));
    if fresh == Some(true) {
        return reply.finish();
    }
    if let Some(coding) = form.coding {
        reply.insert_header((header::CONTENT_ENCODING, HeaderValue::from_static(coding)));
    }
    reply.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json"))).body(form.body)
}

pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A form in which an entry can be sent.
struct Form {
    coding: Option<&'static str>,
    body: Bytes,
    etag: HeaderValue,
}

impl Form {
    fn chosen(entry: &Entry, coding: Option<Coding>) -> Self {
        let Some((coding, body)) = coding.and_then(|coding| Some((coding, entry.packed(coding)?))) else {
            return Self { coding: None, body: entry.body.clone(), etag: entry.etag.clone() };
        };
        // Not the same bytes: the tag is a weak one (RFC 9110, section 8.8.3.3).
        let weak = [b"W/", entry.etag.as_bytes()].concat();
        let etag = HeaderValue::from_bytes(&weak).unwrap_or_else(|_| entry.etag.clone());
        Self { coding: Some(coding.name()), body: body.clone(), etag }
    }
}

/// The best coding that the caller takes, of those that we have.
pub fn coding(request: &HttpRequest) -> Option<Coding> {
    let accepted = request.headers().get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    Coding::ALL.into_iter().find(|coding| accepts(accepted, coding.name()))
}

/// Whether `Accept-Encoding` names `coding` with a weight above nothing (RFC 9110, section 12.5.3).
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

/// `If-None-Match` compares weakly: a proxy that compressed the answer may have weakened its tag.
fn matches_weakly(known: &str, etag: &str) -> bool {
    known.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == "*" || tag == etag)
}

/// The version that `If-Match` asks for; `None` when there is no such header, or `*`.
/// Errors: 400 when it is no ETag of a row.
pub fn if_match(request: &HttpRequest) -> Result<Option<i64>> {
    let Some(value) = request.headers().get(header::IF_MATCH) else {
        return Ok(None);
    };
    match value.to_str().map(str::trim) {
        Ok("*") => Ok(None),
        text => text.ok().and_then(version).map(Some).ok_or_else(|| {
            Error::malformed(
                "invalid_etag",
                "`If-Match` takes the ETag of the row as it was answered, such as \"3\", or *.",
            )
        }),
    }
}

/// `"3"` or `"3.0123456789abcdef"`, weak or not → 3.
fn version(tag: &str) -> Option<i64> {
    let tag = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?;
    let (version, hash) = tag.split_once('.').unwrap_or((tag, "0000000000000000"));
    let plain = version.bytes().all(|byte| byte.is_ascii_digit()) && hash.len() == 16;
    if plain && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) { version.parse().ok() } else { None }
}
