//! Parses one value of a field: cleans it, and validates it by the field's type.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::auth::TenantSettings;
use crate::base::error::MAX_OBJECT_BYTES;
use crate::base::phone;
use crate::base::suggest::nearest;
use crate::base::zones;
use crate::db::SqlValue;
use crate::resource::field::{FieldType, MAX_HOURS};
use crate::resource::{clean_text, instant, iso_codes};

/// Maximum tags of one row.
pub const MAX_TAGS: usize = 50;
const MAX_TAG_LEN: usize = 50;

type ValueError = (&'static str, String);

/// Parses one JSON value of a field. `null` is the NULL of the field's type.
pub fn value(kind: FieldType, json: Json, business: &TenantSettings) -> Result<SqlValue, ValueError> {
    match (kind, json) {
        (_, Json::Null) => Ok(null(kind)),
        (FieldType::Bool, Json::Bool(flag)) => Ok(SqlValue::Bool(Some(flag))),
        (FieldType::Int { min, max }, Json::Number(number)) => match number.as_i64() {
            Some(number) if (min..=max).contains(&number) => Ok(SqlValue::Int(Some(number))),
            _ => Err(("out_of_range", must_be(kind))),
        },
        (FieldType::Tags, Json::Array(items)) => tags(items),
        (FieldType::Object, Json::Object(members)) => object(members),
        (FieldType::Hours, Json::Array(items)) if items.len() <= MAX_HOURS => {
            Ok(SqlValue::Json(Some(Json::Array(items))))
        }
        (FieldType::Hours, Json::Array(_)) => Err(("length", must_be(kind))),
        (FieldType::Bool | FieldType::Int { .. } | FieldType::Tags | FieldType::Object | FieldType::Hours, _) => {
            Err(("type", must_be(kind)))
        }
        (_, Json::String(text)) => scalar(kind, &text, business),
        _ => Err(("type", must_be(kind))),
    }
}

/// Returns a value that a row had, from its JSON: not validated, since rows may be older than a rule.
pub fn stored(kind: FieldType, json: Json) -> SqlValue {
    let value = match (kind, json) {
        (FieldType::Uuid, Json::String(text)) => Uuid::try_parse(&text).ok().map(SqlValue::from),
        (FieldType::Int { .. }, Json::Number(number)) => number.as_i64().map(SqlValue::from),
        (FieldType::Bool, Json::Bool(flag)) => Some(flag.into()),
        (FieldType::Time, Json::String(text)) => instant::parse(&text).map(SqlValue::from),
        (FieldType::Date, Json::String(text)) => date(&text).map(SqlValue::from),
        (FieldType::Decimal, Json::String(text)) => Some(SqlValue::Decimal(Some(text))),
        (FieldType::Object, object @ Json::Object(_)) => Some(object.into()),
        (FieldType::Hours, list @ Json::Array(_)) => Some(list.into()),
        (FieldType::Tags, Json::Array(items)) => {
            let tags = items.into_iter().filter_map(|tag| tag.as_str().map(str::to_owned));
            Some(SqlValue::Texts(tags.collect()))
        }
        (
            FieldType::Uuid
            | FieldType::Time
            | FieldType::Date
            | FieldType::Object
            | FieldType::Hours
            | FieldType::Tags,
            _,
        ) => None,
        (_, Json::String(text)) => Some(text.into()),
        _ => None,
    };
    value.unwrap_or_else(|| null(kind))
}

/// Parses one value from text: a parameter of a list, a string of a body, a cell of an import.
pub fn scalar(kind: FieldType, text: &str, business: &TenantSettings) -> Result<SqlValue, ValueError> {
    if text.contains('\0') {
        return Err(("nul", "must not contain the character U+0000.".into()));
    }
    let text = cleaned(kind, text);
    let text = text.as_ref();
    let wrong = |code| Err((code, must_be(kind)));
    let length = text.chars().count();
    match kind {
        FieldType::Uuid => match Uuid::try_parse(text) {
            Ok(id) => Ok(SqlValue::Uuid(Some(id))),
            Err(_) => wrong("format"),
        },
        FieldType::Text { min: 1.., .. } | FieldType::Secret { min: 1.., .. } if text.trim().is_empty() => {
            Err(("blank", "must not be blank.".into()))
        }
        FieldType::Text { min, max } | FieldType::Secret { min, max } if (min..=max).contains(&length) => {
            Ok(SqlValue::Text(Some(text.to_owned())))
        }
        FieldType::Text { .. } | FieldType::Secret { .. } => wrong("length"),
        FieldType::Choice(among) if among.contains(&text) => Ok(SqlValue::Text(Some(text.to_owned()))),
        FieldType::Choice(among) => {
            let hint = nearest(text, among).map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
            Err(("not_a_choice", format!("must be {}.{hint}", expected(kind))))
        }
        FieldType::Domain if is_domain(text) => Ok(SqlValue::Text(Some(text.to_owned()))),
        FieldType::Email if is_email(text) => Ok(SqlValue::Text(Some(text.to_owned()))),
        FieldType::Phone if is_phone(text) => Ok(SqlValue::Text(Some(phone::normalise(text, &business.country)))),
        FieldType::Int { min, max } => match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(SqlValue::Int(Some(number))),
            _ => wrong("out_of_range"),
        },
        FieldType::Bool => match text {
            "true" => Ok(SqlValue::Bool(Some(true))),
            "false" => Ok(SqlValue::Bool(Some(false))),
            _ => wrong("type"),
        },
        FieldType::Time => match instant::parse(text) {
            Some(time) => Ok(SqlValue::Time(Some(time))),
            None => wrong("format"),
        },
        FieldType::Date => match date(text) {
            Some(date) => Ok(SqlValue::Date(Some(date))),
            None => wrong("format"),
        },
        FieldType::Zone if zones::get(text).is_some() => Ok(SqlValue::Text(Some(text.to_owned()))),
        FieldType::Currency if iso_codes::minor_units(text).is_some() => Ok(SqlValue::Text(Some(text.to_owned()))),
        FieldType::Country if iso_codes::is_country(text) => Ok(SqlValue::Text(Some(text.to_owned()))),
        FieldType::Currency | FieldType::Country => {
            let meant = if kind == FieldType::Country {
                iso_codes::meant_country(text)
            } else {
                iso_codes::meant_currency(text)
            };
            let hint = meant.map(|code| format!(" Did you mean `{code}`?")).unwrap_or_default();
            Err(("format", format!("{}{hint}", must_be(kind))))
        }
        FieldType::Decimal if is_decimal(text) => Ok(SqlValue::Decimal(Some(text.to_owned()))),
        FieldType::Tags if (1..=MAX_TAG_LEN).contains(&length) => Ok(SqlValue::Text(Some(text.to_owned()))),
        _ => wrong("format"),
    }
}

/// Returns `text` as it is validated, stored and compared.
fn cleaned(kind: FieldType, text: &str) -> Cow<'_, str> {
    match kind {
        FieldType::Text { max, .. } if max > clean_text::MAX_LINE_LEN => clean_text::multi_line(text),
        FieldType::Text { .. } | FieldType::Tags => clean_text::line(text),
        FieldType::Email | FieldType::Domain | FieldType::Phone => clean_text::address(text),
        _ => text.into(),
    }
}

fn must_be(kind: FieldType) -> String {
    format!("must be {}.", expected(kind))
}

/// Describes the valid values of a field type, for error messages.
fn expected(kind: FieldType) -> String {
    match kind {
        FieldType::Uuid => "a UUID".into(),
        FieldType::Text { min, max } | FieldType::Secret { min, max } => format!("a text of {min} to {max} characters"),
        FieldType::Choice(among) => format!("one of {}", among.join(", ")),
        FieldType::Domain => "a domain such as example.com, without https:// or a path".into(),
        FieldType::Email => "an e-mail address of at most 254 characters".into(),
        FieldType::Phone => "a phone number of at most 50 characters, without line breaks".into(),
        FieldType::Int { min, max } => format!("a whole number from {min} to {max}"),
        FieldType::Bool => "true or false".into(),
        FieldType::Time => "an RFC 3339 date-time such as 2026-11-20T09:30:00Z".into(),
        FieldType::Date => "a date such as 2026-11-20".into(),
        FieldType::Zone => "an IANA time zone such as Europe/Berlin".into(),
        FieldType::Currency => "the ISO 4217 code of a currency in use, such as EUR".into(),
        FieldType::Country => "an ISO 3166-1 code such as DE".into(),
        FieldType::Decimal => {
            "a decimal number as a string, such as \"0.0125\": at most 8 digits before and 6 after the point".into()
        }
        FieldType::Tags => format!("at most {MAX_TAGS} texts of 1 to {MAX_TAG_LEN} characters"),
        FieldType::Hours => format!("a list of at most {MAX_HOURS} objects with `start` and `end`"),
        FieldType::Object => format!("a JSON object of at most {MAX_OBJECT_BYTES} bytes"),
    }
}

fn null(kind: FieldType) -> SqlValue {
    match kind {
        FieldType::Uuid => SqlValue::Uuid(None),
        FieldType::Int { .. } => SqlValue::Int(None),
        FieldType::Bool => SqlValue::Bool(None),
        FieldType::Time => SqlValue::Time(None),
        FieldType::Date => SqlValue::Date(None),
        FieldType::Object | FieldType::Hours => SqlValue::Json(None),
        FieldType::Decimal => SqlValue::Decimal(None),
        FieldType::Tags => SqlValue::Texts(Vec::new()),
        _ => SqlValue::Text(None),
    }
}

fn tags(items: Vec<Json>) -> Result<SqlValue, ValueError> {
    let refusal = || ("format", must_be(FieldType::Tags));
    // Before the tags are compared with each other, which takes quadratic time.
    if items.len() > MAX_TAGS {
        return Err(refusal());
    }
    let mut tags = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Json::String(tag) if !tag.contains('\0') => {
                let tag = cleaned(FieldType::Tags, &tag);
                if !(1..=MAX_TAG_LEN).contains(&tag.chars().count()) {
                    return Err(refusal());
                }
                if !tags.iter().any(|known| *known == *tag) {
                    tags.push(tag.into_owned());
                }
            }
            _ => return Err(refusal()),
        }
    }
    Ok(SqlValue::Texts(tags))
}

fn object(members: Map<String, Json>) -> Result<SqlValue, ValueError> {
    let object = Json::Object(members);
    if has_nul(&object) {
        return Err(("nul", "must not contain the character U+0000.".into()));
    }
    if has_wild_number(&object) {
        let detail =
            "may hold numbers that are 0 or between 1e-15 and 1e15, or their negatives; write others as strings.";
        return Err(("out_of_range", detail.into()));
    }
    if object.to_string().len() > MAX_OBJECT_BYTES {
        return Err(("length", must_be(FieldType::Object)));
    }
    Ok(SqlValue::Json(Some(object)))
}

/// Whether a number is one that PostgreSQL would write with hundreds of digits: five characters of a body would become
/// three hundred of every response.
fn has_wild_number(json: &Json) -> bool {
    match json {
        Json::Number(number) => {
            number.as_f64().is_none_or(|n| n != 0.0 && !(1e-15..=1e15).contains(&n.abs())) && !number.is_i64()
        }
        Json::Array(items) => items.iter().any(has_wild_number),
        Json::Object(members) => members.values().any(has_wild_number),
        _ => false,
    }
}

fn has_nul(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(has_nul),
        Json::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// A host name with at least two labels (RFC 1123, section 2.1), alphanumeric in any script (RFC 5890): at most 253
/// characters.
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.chars().count())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.chars().count() <= 253 && text.contains('.') && text.split('.').all(label)
}

/// Whether `text` has the form that mail systems accept in practice; only a delivery shows whether it exists. At most
/// 254 characters (RFC 5321, section 4.5.3.1.3, less the angle brackets).
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let clean =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control());
    let dotted = domain.split('.').count() > 1 && domain.split('.').all(|label| !label.is_empty());
    // No address literals (`a@[127.0.0.1]`): they direct a mail server to hosts of the client's choice.
    text.chars().count() <= 254 && clean(local) && clean(domain) && dotted && !domain.contains(['[', ']', ':'])
}

fn is_phone(text: &str) -> bool {
    let length = text.trim().chars().count();
    (1..=50).contains(&length) && !text.contains(char::is_control)
}

/// What `numeric(14, 6)` holds without rounding.
fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str, most| (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole, 8) && digits(fraction, 6)
}

fn date(text: &str) -> Option<NaiveDate> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    let first = DateTime::from_timestamp(-62_135_596_800, 0)?.date_naive();
    let last = DateTime::from_timestamp(253_402_300_799, 0)?.date_naive();
    (text.len() == 10 && (first..=last).contains(&date)).then_some(date)
}
