//! One row as a response.

use actix_web::http::StatusCode;
use serde_json::value::RawValue;

use crate::base::error::{Error, Result};
use crate::http::idempotency::ApiResponse;

/// One row as a response: its JSON and its version.
#[derive(Clone, Debug)]
pub struct Row {
    pub json: Vec<u8>,
    pub version: i64,
}

impl Row {
    /// Returns the version and a hash of the JSON: a response can change where the version does not (a reference that
    /// was cleared because its row is gone, a row changed from psql), and varies with `include` and `fields`. Any ETag
    /// of a row can be sent back as `If-Match`, which compares the version only.
    pub fn etag(&self) -> String {
        format!("\"{}.{:016x}\"", self.version, xxhash_rust::xxh3::xxh3_64(&self.json))
    }

    /// Returns its JSON, to be part of a response. Errors: 500 when it is not JSON.
    pub fn raw(self) -> Result<Box<RawValue>> {
        let wrong = |error: &dyn std::fmt::Display| Error::Internal(format!("a row that is not JSON: {error}"));
        let text = String::from_utf8(self.json).map_err(|error| wrong(&error))?;
        RawValue::from_string(text).map_err(|error| wrong(&error))
    }

    /// Returns a 201 response with the location `path`.
    pub fn created(self, path: String) -> ApiResponse {
        let etag = self.etag();
        ApiResponse::new(StatusCode::CREATED, self.json).location(path).etag(etag)
    }

    /// Returns a 200 response.
    pub fn answer(self) -> ApiResponse {
        let etag = self.etag();
        ApiResponse::new(StatusCode::OK, self.json).etag(etag)
    }
}
