//! The id of a request, by which its log lines, its audit log entries and its errors are found.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::HeaderName;
use uuid::Uuid;

/// Header in which a client may send an id, and in which every response has it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_LEN: usize = 64;

/// Returns the client's request id if it is short and plain; else a new UUID.
pub fn request_id(request: &ServiceRequest) -> Box<str> {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_plain = |id: &&str| {
        (1..=MAX_REQUEST_ID_LEN).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    let generated = || (*Uuid::now_v7().hyphenated().encode_lower(&mut Uuid::encode_buffer())).into();
    given.filter(is_plain).map_or_else(generated, Into::into)
}
