//! Answers: JSON with its ETag, and the preconditions of HTTP (RFC 9110, section 13).

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};

use crate::error::{Error, Result};
use crate::noun::store::Row;

/// A document whose ETag is a hash of its bytes: lists and whatever has no version of its own.
pub fn document(request: &HttpRequest, body: Vec<u8>) -> HttpResponse {
    let etag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body));
    conditional(request, etag, body)
}

/// A row. Its ETag is its version; where the answer shows more or less than the row (`include`, `fields`), a hash of it
/// follows the version, so that any ETag of a row can be sent back as `If-Match`.
pub fn row(request: &HttpRequest, row: Row) -> HttpResponse {
    let etag = match request.query_string() {
        "" => version_tag(row.version),
        _ => format!("\"{}.{:016x}\"", row.version, xxhash_rust::xxh3::xxh3_64(&row.json)),
    };
    conditional(request, etag, row.json)
}

pub fn created(location: &str, row: Row) -> HttpResponse {
    let mut reply = HttpResponse::Created();
    reply.insert_header((header::LOCATION, location)).insert_header((header::ETAG, version_tag(row.version)));
    json(reply, row.json)
}

pub fn updated(row: Row) -> HttpResponse {
    let mut reply = HttpResponse::Ok();
    reply.insert_header((header::ETAG, version_tag(row.version)));
    json(reply, row.json)
}

pub fn json(mut reply: HttpResponseBuilder, body: Vec<u8>) -> HttpResponse {
    reply.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json"))).body(body)
}

fn version_tag(version: i64) -> String {
    format!("\"{version}\"")
}

fn conditional(request: &HttpRequest, etag: String, body: Vec<u8>) -> HttpResponse {
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| matches_weakly(known, &etag)) {
        return HttpResponse::NotModified().insert_header((header::ETAG, etag)).finish();
    }
    let mut reply = HttpResponse::Ok();
    reply.insert_header((header::ETAG, etag));
    json(reply, body)
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
