//! How the API writes times: RFC 3339 in UTC, always with six fractional digits, so that strings sort as times do.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// Returns `2026-11-20T09:30:00.123456Z`.
pub fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// As [`serialize`], for a time that may be missing.
pub fn serialize_option<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serialize(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// Serializes a time as [`text`]: for `#[serde(serialize_with = "timestamp::serialize")]`.
pub fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*time))
}
