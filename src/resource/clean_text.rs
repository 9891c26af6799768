//! Cleans texts before they are validated, stored or compared: NFC, without invisible characters.
//!
//! Writes and filters share these functions ([`super::body`]), so stored texts can be found. A field's type and length
//! select the function: texts of at most [`MAX_LINE_LEN`] characters are one line (names, titles, codes, sources);
//! longer ones keep their line breaks (message bodies, notes, descriptions, postal addresses). Passwords
//! ([`super::FieldType::Secret`]) and texts within a client's own JSON object stay unchanged.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// Longest text that is one line: the maximum length of an email address. The next longer limits are those of postal
/// addresses and reasons (500).
pub const MAX_LINE_LEN: usize = 254;

/// Cleans a text of one line: NFC, trimmed, without invisible characters. Line breaks and tabs within become spaces.
/// Joiners within stay, because Persian and Indic names and emoji are spelled with them.
pub fn line(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return text.into();
    }
    let seen = text.chars().filter_map(|c| match c {
        '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some(' '),
        c if c.is_control() || is_invisible(c) => None,
        c => Some(c),
    });
    let seen: String = seen.collect();
    let ends = |c: char| c.is_whitespace() || is_joiner(c);
    composed(seen.trim_matches(ends)).into()
}

/// Cleans a text of several lines: NFC, without trailing blanks, a leading byte order mark, and control characters
/// other than tabs and line breaks.
pub fn multi_line(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return text.into();
    }
    let keeps = |c: &char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    let seen: String = text.chars().filter(keeps).collect();
    composed(seen.trim_start_matches('\u{feff}').trim_end()).into()
}

/// Cleans an email address, host name or phone number: NFC, trimmed, without invisible characters and joiners. Control
/// characters within stay, for validation to reject: they are not typing errors.
pub fn address(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return text.into();
    }
    let seen: String = text.chars().filter(|c| !is_invisible(*c) && !is_joiner(*c)).collect();
    composed(seen.trim()).into()
}

/// Printable ASCII without blanks at its ends: most texts, nothing to clean.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !text.starts_with(' ') && !text.ends_with(' ')
}

/// NFC (Unicode Standard Annex 15).
fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// Zero-width characters without meaning within a line: soft hyphen, zero-width space, word joiner, byte order mark,
/// and the marks and embeddings of writing direction, which can make one text look like another.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Zero-width joiner and non-joiner.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn line_strips_invisible_and_control_characters() {
        for (written, expected) in [
            ("web", "web"),
            (" web ", "web"),
            ("\u{a0}web\u{3000}\n", "web"),
            ("\u{feff}we\u{200b}b\u{2060}", "web"),
            ("two\r\nlines", "two  lines"),
            ("ne\u{301}e", "n\u{e9}e"),
            ("\u{7f}a\u{0}b\u{1b}", "ab"),
            // Spelled with joiners.
            (
                "\u{639}\u{644}\u{6cc}\u{200c}\u{631}\u{636}\u{627}",
                "\u{639}\u{644}\u{6cc}\u{200c}\u{631}\u{636}\u{627}",
            ),
            ("\u{1f468}\u{200d}\u{1f469}\u{200d}", "\u{1f468}\u{200d}\u{1f469}"),
            ("\u{2764}\u{fe0f}", "\u{2764}\u{fe0f}"),
            ("\u{200b} \u{200d}", ""),
        ] {
            assert_eq!(line(written), expected, "{written:?}");
        }
    }

    #[test]
    fn prose_keeps_line_breaks() {
        assert_eq!(multi_line("  one\n\n\ttwo \r\n "), "  one\n\n\ttwo");
        assert_eq!(multi_line("\u{feff}ne\u{301}e\u{7}"), "n\u{e9}e");
    }

    #[test]
    fn address_trims_surrounding_invisible_characters() {
        assert_eq!(address("\u{feff}a@b.example\u{200b}\r\n"), "a@b.example");
        assert_eq!(address("a@b\r\nc"), "a@b\r\nc");
    }

    proptest! {
        #[test]
        fn cleaning_is_idempotent(text in any::<String>()) {
            for clean in [line, multi_line, address] {
                let once = clean(&text).into_owned();
                let twice = clean(&once).into_owned();
                prop_assert_eq!(twice, once);
            }
        }
    }
}
