//! One clean-up of texts, before they are validated, stored or compared: what a reader cannot see is no part of a value.
//!
//! Writes and filters pass texts through here alike ([`super::body`]), so what is stored can be asked for. Which of the functions
//! a field takes follows from its kind and length: texts of at most [`LONGEST_LINE`] characters are one line (names, titles, codes,
//! sources), longer ones are prose (message bodies, notes, descriptions, postal addresses), whose line breaks mean something.
//! Passwords ([`super::Kind::Secret`]) are taken to the letter, and so are the texts in an object of the caller's own.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;

/// The longest text that is one line: as long as an e-mail address can be. The next longer limits are those of postal addresses
/// and reasons (500).
pub const LONGEST_LINE: usize = 254;

/// A text of one line: in NFC, without blanks at its ends and without characters that cannot be seen. Line breaks and tabs
/// within are blanks. Joiners within stay, because Persian and Indic names and emoji are spelled with them.
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
    composed(seen.trim_matches(ends)).into_owned().into()
}

/// A text of many lines: in NFC, without blanks at its end and without control characters but tabs and line breaks.
pub fn prose(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return text.into();
    }
    let keeps = |c: &char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    let seen: String = text.chars().filter(keeps).collect();
    composed(seen.trim_start_matches('\u{feff}').trim_end()).into_owned().into()
}

/// An e-mail address, a host name or a phone number: in NFC, without blanks at its ends and without anything that cannot be seen.
/// Control characters within stay, for the kind to refuse: they are no slip of a keyboard.
pub fn address(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return text.into();
    }
    let seen: String = text.chars().filter(|c| !is_invisible(*c) && !is_joiner(*c)).collect();
    composed(seen.trim()).into_owned().into()
}

/// Printable ASCII without blanks at its ends: most texts, and nothing to be done.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !text.starts_with(' ') && !text.ends_with(' ')
}

fn composed(text: &str) -> Cow<'_, str> {
    const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfc();
    NFC.normalize(text)
}

/// Characters without a width that say nothing within a line: soft hyphen, zero-width space, word joiner, byte order mark, and
/// the marks and embeddings of writing direction, with which one text can be made to look like another.
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
    fn a_line_has_what_can_be_seen() {
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
    fn prose_keeps_its_lines() {
        assert_eq!(prose("  one\n\n\ttwo \r\n "), "  one\n\n\ttwo");
        assert_eq!(prose("\u{feff}ne\u{301}e\u{7}"), "n\u{e9}e");
    }

    #[test]
    fn an_address_is_what_was_pasted_without_its_wrapping() {
        assert_eq!(address("\u{feff}a@b.example\u{200b}\r\n"), "a@b.example");
        assert_eq!(address("a@b\r\nc"), "a@b\r\nc");
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing(text in any::<String>()) {
            for clean in [line, prose, address] {
                let once = clean(&text).into_owned();
                let twice = clean(&once).into_owned();
                prop_assert_eq!(twice, once);
            }
        }
    }
}
