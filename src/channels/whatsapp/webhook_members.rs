//! Reads members of a webhook's JSON objects; a missing member and one of the wrong type are the same: None.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// Longest id in characters that is taken as one. Meta's are below 200; an index row of PostgreSQL cannot hold any.
pub const MAX_ID_LEN: usize = 255;

/// Unix seconds of 2009-01-01 (WhatsApp's first year) and 2100-01-01: times outside, such as 0 or milliseconds, are
/// faults of a device's clock or of the sender.
const USABLE_SECONDS: std::ops::Range<i64> = 1_230_768_000..4_102_444_800;

/// Returns a short text, trimmed; a number as its digits, because ids come as both. None if it is blank.
pub fn text(object: &Value, member: &str) -> Option<String> {
    match object.get(member)? {
        Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// As [`text`], for a member that is looked up: None if it is longer than [`MAX_ID_LEN`].
pub fn id(object: &Value, member: &str) -> Option<String> {
    text(object, member).filter(|id| id.chars().count() <= MAX_ID_LEN)
}

/// Returns a text that people wrote, unchanged; None if it is empty.
pub fn prose(object: &Value, member: &str) -> Option<String> {
    object.get(member)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Returns the elements of a list; none if it is no list.
pub fn list<'a>(object: &'a Value, member: &str) -> &'a [Value] {
    object.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns a member that is an object.
pub fn object<'a>(parent: &'a Value, member: &str) -> Option<&'a Value> {
    parent.get(member).filter(|value| value.is_object())
}

/// Returns a time given in Unix seconds, as text or number; None if it is not within 2009 to 2099.
pub fn time(object: &Value, member: &str) -> Option<DateTime<Utc>> {
    let seconds = match object.get(member)? {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    USABLE_SECONDS.contains(&seconds).then(|| DateTime::from_timestamp(seconds, 0)).flatten()
}

/// Returns the first of `errors` as `code` (a number where it is one), `title` and `details`, each null if it is
/// missing. Meta has not been seen to send several.
pub fn error(object: &Value) -> Option<Value> {
    let error = list(object, "errors").iter().find(|error| error.is_object())?;
    let code = match error.get("code") {
        Some(Value::String(code)) => code.parse::<i64>().map_or_else(|_| json!(code), |code| json!(code)),
        Some(Value::Number(code)) => json!(code),
        _ => Value::Null,
    };
    let details = error.get("error_data").and_then(|data| text(data, "details")).or_else(|| text(error, "details"));
    let title = text(error, "title").or_else(|| text(error, "message"));
    Some(json!({"code": code, "title": title, "details": details}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_text_or_number_within_range() {
        for (written, seconds) in [
            (json!("1795860000"), Some(1_795_860_000)),
            (json!(1_795_860_000), Some(1_795_860_000)),
            (json!(0), None),
            (json!("1795860000000"), None),
            (json!(-1), None),
            (json!(1.5), None),
            (json!("soon"), None),
            (json!(null), None),
        ] {
            let found = time(&json!({"at": written}), "at").map(|time| time.timestamp());
            assert_eq!(found, seconds, "{written}");
        }
    }

    #[test]
    fn text_blank_or_of_wrong_type_none() {
        let object = json!({"a": " x ", "b": " ", "c": 7, "d": {}, "e": "y".repeat(256)});
        assert_eq!(text(&object, "a").as_deref(), Some("x"));
        assert_eq!(text(&object, "b"), None);
        assert_eq!(text(&object, "c").as_deref(), Some("7"));
        assert_eq!(text(&object, "d"), None);
        assert_eq!(id(&object, "e"), None);
        assert_eq!(text(&json!([1]), "a"), None);
    }

    #[test]
    fn error_first_with_all_members() {
        let object = json!({"errors": [{"code": "131047", "message": "Re-engagement"}, {"code": 1}]});
        assert_eq!(error(&object), Some(json!({"code": 131047, "title": "Re-engagement", "details": null})));
        assert_eq!(error(&json!({"errors": []})), None);
    }
}
