//! Keyset cursors: the (sort key, id) at which a page ended, bound to the sort and filters of its list.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta};
use uuid::Uuid;

use super::field::FieldType;
use super::instant;
use crate::db::{RawRow, SqlValue};

/// PostgreSQL counts time from 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

#[derive(Clone, Debug)]
pub struct Cursor {
    pub key: SqlValue,
    pub id: Uuid,
}

impl Cursor {
    /// Encodes the cursor after `row` in the list with this fingerprint and type of the sort key, which is the cell at
    /// `key`: fingerprint, id, key, in base64url.
    pub fn encode(fingerprint: u64, key_type: FieldType, id: Uuid, row: &RawRow, key: usize) -> String {
        let mut bytes = fingerprint.to_be_bytes().to_vec();
        bytes.extend_from_slice(id.as_bytes());
        match key_type {
            FieldType::Int { .. } => bytes.extend_from_slice(&row.int(key).unwrap_or_default().to_be_bytes()),
            _ => bytes.extend_from_slice(row.get(key).unwrap_or_default()),
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes a cursor; `None` if it is damaged or was made for another list. Its contents are only ever bound as
    /// values.
    pub fn decode(text: &str, fingerprint: u64, key_type: FieldType) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (made_for, rest) = bytes.split_first_chunk::<8>()?;
        if u64::from_be_bytes(*made_for) != fingerprint {
            return None;
        }
        let (id, key) = rest.split_first_chunk::<16>()?;
        let key = match key_type {
            FieldType::Time => {
                let micros = i64::from_be_bytes(key.try_into().ok()?).checked_add(EPOCH_MICROS)?;
                // A time outside the years 1 to 9999 never came from a row.
                let time = DateTime::from_timestamp_micros(micros).filter(instant::is_writable)?;
                SqlValue::Time(Some(time))
            }
            FieldType::Date => {
                let days = i64::from(i32::from_be_bytes(key.try_into().ok()?));
                let day = NaiveDate::from_ymd_opt(2000, 1, 1)?.checked_add_signed(TimeDelta::try_days(days)?)?;
                SqlValue::Date(Some(day).filter(|day| (1..=9999).contains(&day.year())))
            }
            FieldType::Int { .. } => SqlValue::Int(Some(i64::from_be_bytes(key.try_into().ok()?))),
            _ => {
                let text = std::str::from_utf8(key).ok()?;
                SqlValue::Text(Some((!text.contains('\0')).then(|| text.to_owned())?))
            }
        };
        Some(Self { key, id: Uuid::from_bytes(*id) })
    }
}
