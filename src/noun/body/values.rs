//! One value of a field: cleaned, and checked by what its kind allows.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::auth::Business;
use crate::db::Value;
use crate::noun::field::Kind;
use crate::noun::{clean, codes, nearest, params, phone};

/// Labels of one row.
pub const MOST_TAGS: usize = 50;
const LONGEST_TAG: usize = 50;
/// Bytes of a caller's own object, as text.
pub const LARGEST_OBJECT: usize = 64 * 1024;

type Refusal = (&'static str, String);

/// One JSON value as a field of `kind`. `null` is the kind's NULL.
pub fn value(kind: Kind, json: Json, business: &Business) -> Result<Value, Refusal> {
    match (kind, json) {
        (_, Json::Null) => Ok(null(kind)),
        (Kind::Bool, Json::Bool(flag)) => Ok(Value::Bool(Some(flag))),
        (Kind::Int { min, max }, Json::Number(number)) => match number.as_i64() {
            Some(number) if (min..=max).contains(&number) => Ok(Value::Int(Some(number))),
            _ => Err(("out_of_range", must_be(kind))),
        },
        (Kind::Tags, Json::Array(items)) => tags(items),
        (Kind::Object, Json::Object(members)) => object(members),
        (Kind::Bool | Kind::Int { .. } | Kind::Tags | Kind::Object, _) => Err(("type", must_be(kind))),
        (_, Json::String(text)) => scalar(kind, &text, business),
        _ => Err(("type", must_be(kind))),
    }
}

/// One value from text: a parameter of a list, a string of a body, a cell of an import.
pub fn scalar(kind: Kind, text: &str, business: &Business) -> Result<Value, Refusal> {
    if text.contains('\0') {
        return Err(("nul", "must not contain the character U+0000.".into()));
    }
    let text = cleaned(kind, text);
    let text = text.as_ref();
    let wrong = |code| Err((code, must_be(kind)));
    let length = text.chars().count();
    match kind {
        Kind::Uuid => match Uuid::try_parse(text) {
            Ok(id) => Ok(Value::Uuid(Some(id))),
            Err(_) => wrong("format"),
        },
        Kind::Text { min: 1.., .. } | Kind::Secret { min: 1.., .. } if text.trim().is_empty() => {
            Err(("blank", "must not be blank.".into()))
        }
        Kind::Text { min, max } | Kind::Secret { min, max } if (min..=max).contains(&length) => {
            Ok(Value::Text(Some(text.to_owned())))
        }
        Kind::Text { .. } | Kind::Secret { .. } => wrong("length"),
        Kind::Choice(among) if among.contains(&text) => Ok(Value::Text(Some(text.to_owned()))),
        Kind::Choice(among) => {
            let hint = nearest(text, among).map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
            Err(("not_a_choice", format!("must be {}.{hint}", expected(kind))))
        }
        Kind::Domain if is_domain(text) => Ok(Value::Text(Some(text.to_owned()))),
        Kind::Email if is_email(text) => Ok(Value::Text(Some(text.to_owned()))),
        Kind::Phone if is_phone(text) => Ok(Value::Text(Some(phone::normalise(text, &business.country)))),
        Kind::Int { min, max } => match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(Value::Int(Some(number))),
            _ => wrong("out_of_range"),
        },
        Kind::Bool => match text {
            "true" => Ok(Value::Bool(Some(true))),
            "false" => Ok(Value::Bool(Some(false))),
            _ => wrong("type"),
        },
        Kind::Time => match params::instant(text) {
            Some(time) => Ok(Value::Time(Some(time))),
            None => wrong("format"),
        },
        Kind::Date => match date(text) {
            Some(date) => Ok(Value::Date(Some(date))),
            None => wrong("format"),
        },
        Kind::Zone if text.parse::<chrono_tz::Tz>().is_ok() => Ok(Value::Text(Some(text.to_owned()))),
        Kind::Currency if codes::minor_units(text).is_some() => Ok(Value::Text(Some(text.to_owned()))),
        Kind::Country if codes::is_country(text) => Ok(Value::Text(Some(text.to_owned()))),
        Kind::Currency | Kind::Country => {
            let meant = if kind == Kind::Country { codes::meant_country(text) } else { codes::meant_currency(text) };
            let hint = meant.map(|code| format!(" Did you mean `{code}`?")).unwrap_or_default();
            Err(("format", format!("{}{hint}", must_be(kind))))
        }
        Kind::Decimal if is_decimal(text) => Ok(Value::Decimal(Some(text.to_owned()))),
        Kind::Tags if (1..=LONGEST_TAG).contains(&length) => Ok(Value::Text(Some(text.to_owned()))),
        _ => wrong("format"),
    }
}

/// `text` as it is validated, stored and compared.
fn cleaned(kind: Kind, text: &str) -> Cow<'_, str> {
    match kind {
        Kind::Text { max, .. } if max > clean::LONGEST_LINE => clean::prose(text),
        Kind::Text { .. } | Kind::Tags => clean::line(text),
        Kind::Email | Kind::Domain | Kind::Phone => clean::address(text),
        _ => text.into(),
    }
}

fn must_be(kind: Kind) -> String {
    format!("must be {}.", expected(kind))
}

/// What a value of `kind` has to be, for people.
fn expected(kind: Kind) -> String {
    match kind {
        Kind::Uuid => "a UUID".into(),
        Kind::Text { min, max } | Kind::Secret { min, max } => format!("a text of {min} to {max} characters"),
        Kind::Choice(among) => format!("one of {}", among.join(", ")),
        Kind::Domain => "a domain such as example.com, without https:// or a path".into(),
        Kind::Email => "an e-mail address of at most 254 characters".into(),
        Kind::Phone => "a phone number of at most 50 characters, without line breaks".into(),
        Kind::Int { min, max } => format!("a whole number from {min} to {max}"),
        Kind::Bool => "true or false".into(),
        Kind::Time => "an RFC 3339 date-time such as 2026-11-20T09:30:00Z".into(),
        Kind::Date => "a date such as 2026-11-20".into(),
        Kind::Zone => "an IANA time zone such as Europe/Berlin".into(),
        Kind::Currency => "the ISO 4217 code of a currency in use, such as EUR".into(),
        Kind::Country => "an ISO 3166-1 code such as DE".into(),
        Kind::Decimal => {
            "a decimal number as a string, such as \"0.0125\": at most 8 digits before and 6 after the point".into()
        }
        Kind::Tags => format!("at most {MOST_TAGS} texts of 1 to {LONGEST_TAG} characters"),
        Kind::Object => format!("a JSON object of at most {LARGEST_OBJECT} bytes"),
    }
}

fn null(kind: Kind) -> Value {
    match kind {
        Kind::Uuid => Value::Uuid(None),
        Kind::Int { .. } => Value::Int(None),
        Kind::Bool => Value::Bool(None),
        Kind::Time => Value::Time(None),
        Kind::Date => Value::Date(None),
        Kind::Object => Value::Json(None),
        Kind::Decimal => Value::Decimal(None),
        Kind::Tags => Value::Texts(Vec::new()),
        _ => Value::Text(None),
    }
}

fn tags(items: Vec<Json>) -> Result<Value, Refusal> {
    let refusal = || ("format", must_be(Kind::Tags));
    // Before they are compared with each other.
    if items.len() > MOST_TAGS {
        return Err(refusal());
    }
    let mut tags = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Json::String(tag) if !tag.contains('\0') => {
                let tag = cleaned(Kind::Tags, &tag);
                if !(1..=LONGEST_TAG).contains(&tag.chars().count()) {
                    return Err(refusal());
                }
                if !tags.iter().any(|known| *known == *tag) {
                    tags.push(tag.into_owned());
                }
            }
            _ => return Err(refusal()),
        }
    }
    Ok(Value::Texts(tags))
}

fn object(members: Map<String, Json>) -> Result<Value, Refusal> {
    let object = Json::Object(members);
    if has_nul(&object) {
        return Err(("nul", "must not contain the character U+0000.".into()));
    }
    if has_wild_number(&object) {
        let detail =
            "may hold numbers that are 0 or between 1e-15 and 1e15, or their negatives; write others as strings.";
        return Err(("out_of_range", detail.into()));
    }
    if object.to_string().len() > LARGEST_OBJECT {
        return Err(("length", must_be(Kind::Object)));
    }
    Ok(Value::Json(Some(object)))
}

/// Whether a number lies where PostgreSQL would write it out in hundreds of digits: five characters of a body would
/// become three hundred of every answer.
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

/// A host name with at least two labels (RFC 1123, section 2.1), in letters of any script (RFC 5890): at most 253
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

/// Whether `text` has the shape that mail systems accept in practice; whether it exists only a mail can tell. At most 254
/// characters (RFC 5321, section 4.5.3.1.3, less the angle brackets).
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let clean =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control());
    let dotted = domain.split('.').count() > 1 && domain.split('.').all(|label| !label.is_empty());
    // No address literals (`a@[127.0.0.1]`): they lead a mail server to hosts of someone's choice.
    text.chars().count() <= 254 && clean(local) && clean(domain) && dotted && !domain.contains(['[', ']', ':'])
}

fn is_phone(text: &str) -> bool {
    let length = text.trim().chars().count();
    (1..=50).contains(&length) && !text.contains(char::is_control)
}

/// As `numeric(14, 6)` holds without rounding.
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
