//! Makes a file name that a customer chose safe to offer for download.

/// Longest file name in characters, with its extension.
const MAX_LEN: usize = 120;

/// Longest extension in characters that a cut name keeps.
const MAX_EXTENSION_LEN: usize = 16;

/// Name of a file of which nothing is left.
const FALLBACK: &str = "file";

/// Returns `name` without its path, without control characters and characters that hide or reorder text, without dots
/// and blanks at its ends, cut to 120 characters with its extension kept; `file` if nothing is left.
///
/// It is for display and download only: storage must not build paths from it.
pub fn safe_file_name(name: &str) -> String {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let shown: String = base.chars().filter(|c| !c.is_control() && !is_hidden(*c)).collect();
    let cut = shorten(trim(&shown));
    match trim(&cut) {
        "" => FALLBACK.to_owned(),
        safe => safe.to_owned(),
    }
}

/// A leading dot hides a file on Unix; Windows drops dots and blanks at the end, which changes the extension.
fn trim(name: &str) -> &str {
    name.trim_matches(|c: char| c == '.' || c.is_whitespace())
}

fn shorten(name: &str) -> String {
    if name.chars().count() <= MAX_LEN {
        return name.to_owned();
    }
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    match extension.filter(|extension| extension.chars().count() <= MAX_EXTENSION_LEN) {
        Some(extension) => {
            let stem_len = MAX_LEN - 1 - extension.chars().count();
            let stem: String = name.chars().take(stem_len).collect();
            format!("{}.{extension}", trim(&stem))
        }
        None => name.chars().take(MAX_LEN).collect(),
    }
}

/// Marks of writing direction, which can make `exe.pdf` look like `fdp.exe`, and characters without width or shape
/// (Unicode category Cf, fillers, line and paragraph separators), which make two names look alike.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}')
        || matches!(c, '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn safe_file_name_strips_paths_and_hidden_characters() {
        for (sent, expected) in [
            ("Invoice 5.pdf", "Invoice 5.pdf"),
            ("../../etc/\u{202e}fdp.exe\u{7} Prüfung №5.pdf", "fdp.exe Prüfung №5.pdf"),
            ("C:\\temp\\a.txt", "a.txt"),
            (" ..\u{200b}.bashrc. ", "bashrc"),
            ("a\u{0}b\r\n.pdf", "ab.pdf"),
            ("写真.jpg", "写真.jpg"),
            ("", "file"),
            ("../", "file"),
            ("\u{2066}\u{2069}. .", "file"),
        ] {
            assert_eq!(safe_file_name(sent), expected, "{sent:?}");
        }
    }

    #[test]
    fn safe_file_name_long_name_keeps_its_extension() {
        let safe = safe_file_name(&format!("{}.tar.gz", "ä".repeat(500)));
        assert_eq!(safe.chars().count(), 120);
        assert!(safe.ends_with("ä.gz"));
        assert_eq!(safe_file_name(&format!("a.{}", "b".repeat(500))).chars().count(), 120);
    }

    proptest! {
        #[test]
        fn safe_file_name_is_idempotent_and_bounded(
            name in r#"([a. /\\\u{202e}\u{200b}\u{7}ä]|aaaaaaaaaaaaaaaa|\PC){0,40}"#,
        ) {
            let safe = safe_file_name(&name);
            prop_assert!((1..=MAX_LEN).contains(&safe.chars().count()));
            prop_assert!(!safe.contains(|c: char| matches!(c, '/' | '\\') || c.is_control() || is_hidden(c)));
            prop_assert!(!safe.starts_with('.'));
            prop_assert_eq!(safe_file_name(&safe), safe);
        }
    }
}
