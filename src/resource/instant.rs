//! Instants as clients write them.

use chrono::{DateTime, Utc};

/// Parses an instant; an offset's `+` that arrived as a space is read as `+`.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok()?;
    Some(time.with_timezone(&Utc)).filter(is_writable)
}

/// Whether `time` is in the years 1 to 9999.
pub fn is_writable(time: &DateTime<Utc>) -> bool {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    (at(-62_135_596_800)..=at(253_402_300_799)).contains(time)
}
