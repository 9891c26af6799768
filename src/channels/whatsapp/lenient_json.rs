//! Parses JSON whose texts hold what PostgreSQL or serde_json refuse: invalid UTF-8, `\u0000`, half surrogate pairs.
//!
//! A webhook body that is refused is sent again for days, so these characters become U+FFFD instead of an error.

use std::borrow::Cow;

use serde_json::Value;

/// Length of `\uXXXX` in bytes.
const ESCAPE_LEN: usize = 6;

/// Parses `bytes` as JSON. Each invalid UTF-8 sequence, each escape `\u0000` and each surrogate escape without its
/// other half becomes U+FFFD. Everything else that is no JSON stays an error, also raw control characters within
/// strings and nesting deeper than serde_json's limit (128).
pub fn parse(bytes: &[u8]) -> serde_json::Result<Value> {
    let text = String::from_utf8_lossy(bytes);
    serde_json::from_str(&replace_escapes(&text))
}

/// Replaces the escapes that cannot be stored; copies only if it finds one.
///
/// It does not track strings: outside of them a backslash is an error, which the parser reports.
fn replace_escapes(text: &str) -> Cow<'_, str> {
    let mut replaced = String::new();
    let mut copied_to = 0;
    let mut at = 0;
    while let Some(offset) = text.get(at..).and_then(|rest| rest.find('\\')) {
        let start = at + offset;
        let Some(unit) = code_unit(text, start) else {
            // An escape of one character, such as `\\` or `\n`: its second character begins no other escape.
            at = start + 2;
            continue;
        };
        at = start + ESCAPE_LEN;
        let can_be_stored = match unit {
            0 | 0xdc00..=0xdfff => false,
            0xd800..=0xdbff => {
                let is_pair = matches!(code_unit(text, at), Some(0xdc00..=0xdfff));
                if is_pair {
                    at += ESCAPE_LEN;
                }
                is_pair
            }
            _ => true,
        };
        if !can_be_stored {
            replaced.push_str(text.get(copied_to..start).unwrap_or_default());
            replaced.push_str("\\ufffd");
            copied_to = at;
        }
    }
    if copied_to == 0 {
        return Cow::Borrowed(text);
    }
    replaced.push_str(text.get(copied_to..).unwrap_or_default());
    Cow::Owned(replaced)
}

/// Returns the UTF-16 code unit of the escape `\uXXXX` at byte `start`, if one stands there.
fn code_unit(text: &str, start: usize) -> Option<u16> {
    let digits = text.get(start..start + ESCAPE_LEN)?.strip_prefix("\\u")?;
    // from_str_radix alone would also take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn parse_escapes_that_cannot_be_stored_become_replacement_characters() {
        for (written, expected) in [
            (r#""a\u0000b""#, "a\u{fffd}b"),
            (r#""a\ud83d b""#, "a\u{fffd} b"),
            (r#""\uDE00""#, "\u{fffd}"),
            (r#""\ud83d\ude00""#, "\u{1f600}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\ud83d\u0000\ude00""#, "\u{fffd}\u{fffd}\u{fffd}"),
            (r#""\\u0000""#, "\\u0000"),
            (r#""\\\u0000""#, "\\\u{fffd}"),
            (r#""\\\\ud83d""#, "\\\\ud83d"),
            (r#""\n\"\u00e9""#, "\n\"\u{e9}"),
        ] {
            assert_eq!(parse(written.as_bytes()).unwrap(), json!(expected), "{written}");
        }
        assert_eq!(parse(b"\"a\xff\xed\xa0\xbd\"").unwrap(), json!("a\u{fffd}\u{fffd}\u{fffd}\u{fffd}"));
    }

    #[test]
    fn parse_other_faults_stay_errors() {
        for written in ["", "{", "\"a\0b\"", r#""\u00""#, r#""\u+123""#, "\"\\\u{e9}\"", "\\u0000", "\"\\"] {
            assert!(parse(written.as_bytes()).is_err(), "{written}");
        }
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn replace_escapes_without_findings_borrows() {
        assert!(matches!(replace_escapes(r#"{"a":"\\u0000 \ud83d\ude00"}"#), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn parse_never_leaves_a_nul(text in r#"(\\|u|0000|d83d|de00|n|x|é){0,24}"#) {
            if let Ok(Value::String(parsed)) = parse(format!("\"{text}\"").as_bytes()) {
                prop_assert!(!parsed.contains('\0'));
            }
        }

        #[test]
        fn parse_is_serde_json_where_that_succeeds_without_nul(text in any::<String>()) {
            let encoded = json!(text).to_string();
            let expected = text.replace('\0', "\u{fffd}");
            prop_assert_eq!(parse(encoded.as_bytes()).unwrap(), json!(expected));
        }

        #[test]
        fn parse_any_bytes_no_panic(bytes in any::<Vec<u8>>()) {
            let _ = parse(&bytes);
        }
    }
}
