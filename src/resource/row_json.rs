//! Writes rows as JSON, straight from PostgreSQL's binary format into the response buffer.

use uuid::Uuid;

use super::field::{Field, FieldType};
use super::row::Row;
use crate::db::RawRow;

/// Returns the id of a row, the first field of every resource.
pub fn id(cells: &RawRow) -> Uuid {
    cells.uuid(0).unwrap_or_default()
}

/// Returns the version of a row that was selected as its id and its version only.
pub fn version_after_id(cells: &RawRow) -> i64 {
    cells.int(1).unwrap_or_default()
}

/// Microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// Days between the two.
const EPOCH_DAYS: i64 = 10_957;
const DAY_MICROS: i64 = 86_400_000_000;

/// Which fields of a resource are shown, as a bit mask; `None`: all.
pub type FieldMask = Option<u64>;

/// Appends `"name":value` of each shown field, cells starting at `offset`, without the braces. Returns whether anything
/// was written.
pub fn members(out: &mut Vec<u8>, fields: &[Field], cells: &RawRow, offset: usize, shown: FieldMask) -> bool {
    let mut any = false;
    for (index, field) in fields.iter().enumerate() {
        if shown.is_some_and(|mask| mask & (1 << index) == 0) {
            continue;
        }
        if any {
            out.push(b',');
        }
        any = true;
        key(out, field.name);
        match cells.get(offset + index) {
            Some(cell) => value(out, field.field_type, cell),
            None => out.extend_from_slice(b"null"),
        }
    }
    any
}

/// Appends `"name":`. Names of fields and relations come from definitions and need no escaping.
pub fn key(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn value(out: &mut Vec<u8>, kind: FieldType, cell: &[u8]) {
    match kind {
        FieldType::Uuid => uuid(out, cell),
        FieldType::Int { .. } => int(out, cell),
        FieldType::Bool => out.extend_from_slice(if cell == [1] { b"true" } else { b"false" }),
        FieldType::Time => time(out, cell),
        FieldType::Date => date(out, cell),
        FieldType::Tags => texts(out, cell),
        // jsonb: one byte of version, then the text
        FieldType::Object | FieldType::Hours => out.extend_from_slice(cell.get(1..).unwrap_or(b"{}")),
        FieldType::Text { .. }
        | FieldType::Secret { .. }
        | FieldType::Choice(_)
        | FieldType::Email
        | FieldType::Domain
        | FieldType::Phone
        | FieldType::Zone
        | FieldType::Currency
        | FieldType::Country
        | FieldType::Decimal => string(out, cell),
    }
}

/// Formats a cell as plain text: strings without quotes and escapes, other values as JSON.
pub fn plain(kind: FieldType, cell: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match kind {
        FieldType::Uuid | FieldType::Time | FieldType::Date => {
            value(&mut out, kind, cell);
            out.pop();
            out.remove(0);
        }
        FieldType::Int { .. } | FieldType::Bool | FieldType::Tags | FieldType::Object | FieldType::Hours => {
            value(&mut out, kind, cell);
        }
        _ => out.extend_from_slice(cell),
    }
    out
}

/// Appends a JSON string. PostgreSQL sends valid UTF-8; few bytes need escaping (RFC 8259, section 7).
fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut clean = 0;
    for (at, &byte) in text.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text[clean..at]);
        clean = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&text[clean..]);
    out.push(b'"');
}

fn uuid(out: &mut Vec<u8>, cell: &[u8]) {
    let mut buffer = [0; 38];
    buffer[0] = b'"';
    buffer[37] = b'"';
    let id = uuid::Uuid::from_slice(cell).unwrap_or_default();
    id.hyphenated().encode_lower(&mut buffer[1..37]);
    out.extend_from_slice(&buffer);
}

fn int(out: &mut Vec<u8>, cell: &[u8]) {
    let number = match *cell {
        [a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        [a, b, c, d] => i32::from_be_bytes([a, b, c, d]).into(),
        _ => 0,
    };
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `"2026-11-20T09:30:00.123456Z"`: always six fractional digits, so that strings sort as times do.
fn time(out: &mut Vec<u8>, cell: &[u8]) {
    let micros = cell.try_into().map(i64::from_be_bytes).unwrap_or_default().saturating_add(EPOCH_MICROS);
    let (days, rest) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
    let mut text = *b"\"0000-00-00T00:00:00.000000Z\"";
    civil(days, &mut text[1..11]);
    let seconds = rest / 1_000_000;
    digits(&mut text[12..14], seconds / 3600);
    digits(&mut text[15..17], seconds / 60 % 60);
    digits(&mut text[18..20], seconds % 60);
    digits(&mut text[21..27], rest % 1_000_000);
    out.extend_from_slice(&text);
}

fn date(out: &mut Vec<u8>, cell: &[u8]) {
    let days = cell.try_into().map(i32::from_be_bytes).unwrap_or_default();
    let mut text = *b"\"0000-00-00\"";
    civil(i64::from(days) + EPOCH_DAYS, &mut text[1..11]);
    out.extend_from_slice(&text);
}

/// Writes the day `days` after 1970-01-01 as `YYYY-MM-DD`; for years 0 to 9999, which validation ensures. Howard
/// Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
fn civil(days: i64, text: &mut [u8]) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    digits(&mut text[0..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], day);
}

fn digits(text: &mut [u8], mut number: i64) {
    for place in text.iter_mut().rev() {
        *place = b'0' + (number.rem_euclid(10)) as u8;
        number = number.div_euclid(10);
    }
}

/// Splits a binary `text[]`: dimensions, has-null flag, element type, then length and lower bound of the one dimension,
/// then the elements, each after its length.
pub fn labels(cell: &[u8]) -> Vec<&[u8]> {
    let mut labels = Vec::new();
    let mut rest = cell.get(20..).unwrap_or_default();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let Some((element, after)) = tail.split_at_checked(u32::from_be_bytes(*length) as usize) else {
            break;
        };
        labels.push(element);
        rest = after;
    }
    labels
}

fn texts(out: &mut Vec<u8>, cell: &[u8]) {
    out.push(b'[');
    for (place, label) in labels(cell).into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        string(out, label);
    }
    out.push(b']');
}

/// `{"lead":{…},"contact":null}`: rows by name.
pub fn document(members: &[(&str, Option<&Row>)]) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (place, (name, row)) in members.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        key(&mut out, name);
        out.extend_from_slice(row.map_or(b"null".as_slice(), |row| &row.json));
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, SecondsFormat};
    use proptest::prelude::*;

    proptest! {
        /// The hand-written formatter agrees with chrono in every year that validation allows.
        #[test]
        fn time_format_matches_chrono(micros in -62_135_596_800_000_000_i64..253_402_300_799_999_999) {
            let mut out = Vec::new();
            time(&mut out, &(micros - EPOCH_MICROS).to_be_bytes());
            let chrono = DateTime::from_timestamp_micros(micros).unwrap().to_rfc3339_opts(SecondsFormat::Micros, true);
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("\"{chrono}\""));
        }

        #[test]
        fn string_escaping_round_trips_through_serde(text in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, text.as_bytes());
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
