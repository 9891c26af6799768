//! Instants as clients write and read them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// Parses an instant; an offset's `+` that arrived as a space is read as `+`.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok()?;
    Some(time.with_timezone(&Utc)).filter(is_writable)
}

/// Writes an instant as the rows of resources have it: `2026-11-20T09:30:00.123456Z`.
pub fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// Whether `time` is in the years 1 to 9999.
pub fn is_writable(time: &DateTime<Utc>) -> bool {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    (at(-62_135_596_800)..=at(253_402_300_799)).contains(time)
}
