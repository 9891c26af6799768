//! The raw value of a parameter: text in which commas separate values, or values that arrived separately.

use std::borrow::Cow;

use serde_json::Value as Json;

/// Maximum values of one filter, and names of one projection.
pub const MAX_FILTER_VALUES: usize = 100;

#[derive(Clone, Debug)]
pub(super) enum RawFilterValue {
    /// From a query string.
    Text(String),
    /// From a list: each is one value, commas included.
    Values(Vec<String>),
}

impl RawFilterValue {
    /// Formats a JSON scalar as a query string would write it.
    fn scalar(value: &Json) -> Option<String> {
        match value {
            Json::String(text) => Some(text.clone()),
            Json::Number(number) => Some(number.to_string()),
            Json::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    /// Reads a member of a JSON filter: one value, or a non-empty list of values. `None`: neither.
    pub(super) fn json(value: &Json) -> Option<Self> {
        let values = match value {
            Json::Array(several) if several.is_empty() => return None,
            Json::Array(several) => several.iter().map(Self::scalar).collect::<Option<_>>(),
            one => Self::scalar(one).map(|text| vec![text]),
        };
        values.map(RawFilterValue::Values)
    }

    /// Returns it as several values.
    pub(super) fn several(self) -> Vec<String> {
        match self {
            RawFilterValue::Text(text) => words(&text),
            RawFilterValue::Values(values) => values,
        }
    }

    /// Returns it as one value; `None` where there are several.
    pub(super) fn one(self) -> Option<String> {
        match self {
            RawFilterValue::Text(text) => Some(text),
            RawFilterValue::Values(mut values) => values.pop().filter(|_| values.is_empty()),
        }
    }

    pub(super) fn has_nul(&self) -> bool {
        match self {
            RawFilterValue::Text(text) => text.contains('\0'),
            RawFilterValue::Values(values) => values.iter().any(|value| value.contains('\0')),
        }
    }
}

/// Splits `a,b`; a comma or a backslash within a value is escaped by a backslash.
pub(super) fn words(value: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, words.last_mut()) {
            ('\\', Some(word)) if matches!(characters.peek(), Some(',' | '\\')) => word.extend(characters.next()),
            (',', _) => words.push(String::new()),
            (other, Some(word)) => word.push(other),
            (_, None) => {}
        }
    }
    words.into_iter().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

/// Keeps the `+` before the first digit of a phone number in a `name=value` of a query string, where it cannot be an
/// encoded blank. Those within a number stay blanks, as forms write them.
pub(super) fn signs_kept(pair: &str) -> Cow<'_, str> {
    let (Some((name, value)), true) = (pair.split_once('='), pair.contains('+')) else {
        return pair.into();
    };
    let mut kept = format!("{name}=");
    // Whether the next character is the first of a number.
    let mut begins = true;
    let mut rest = value;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        let is_blank = character == '+' || rest.starts_with("%20");
        let is_followed = after.starts_with(|c: char| c.is_ascii_digit() || c == '(') || after.starts_with("%28");
        match character {
            '+' if begins && is_followed => kept.push_str("%2B"),
            other => kept.push(other),
        }
        begins = match character {
            ',' => true,
            _ if is_blank => begins && !(character == '+' && is_followed),
            _ => rest.get(..3).is_some_and(|code| code.eq_ignore_ascii_case("%2c")),
        };
        // An encoded character counts as one.
        let encoded = if character == '%' { after.get(..2).filter(|code| code.is_ascii()) } else { None };
        kept.push_str(encoded.unwrap_or_default());
        rest = &after[encoded.map_or(0, str::len)..];
    }
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_kept_encodes_plus_only_before_a_number() {
        for (pair, expected) in [
            ("phone=+4930901820", "phone=%2B4930901820"),
            ("phone=+49+30+901820", "phone=%2B49+30+901820"),
            ("phone=%2B49+30", "phone=%2B49+30"),
            ("phone=+(49)30", "phone=%2B(49)30"),
            ("phone=+4930,+4940", "phone=%2B4930,%2B4940"),
            ("phone=%2B4930%2C+4940", "phone=%2B4930%2C%2B4940"),
            ("phone=%20+4930", "phone=%20%2B4930"),
            ("phone=++4930", "phone=+%2B4930"),
            ("phone=030+901820", "phone=030+901820"),
            ("phone=+anna+5", "phone=+anna+5"),
            ("phone=+", "phone=+"),
            ("phone", "phone"),
            ("phone=+\u{e9}%zz%\u{e9}", "phone=+\u{e9}%zz%\u{e9}"),
        ] {
            assert_eq!(signs_kept(pair), expected, "{pair}");
        }
    }
}
