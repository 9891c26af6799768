//! Placeholders in the texts of templates: `{{1}}`, `{{first_name}}` (Meta, "Templates", parameter formats).

/// A piece of a template's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    Literal(&'t str),
    /// The name of a placeholder: digits, or lower-case letters, digits and underscores.
    Placeholder(&'t str),
}

/// Takes a text apart. Braces around anything else than a name are text.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut literal, mut at) = (0, 0);
    while let Some(begin) = text[at..].find("{{").map(|offset| at + offset) {
        let inner = begin + 2;
        let Some(end) = text[inner..].find("}}").map(|offset| inner + offset) else { break };
        let name = text[inner..end].trim();
        if is_name(name) {
            if literal < begin {
                pieces.push(Piece::Literal(&text[literal..begin]));
            }
            pieces.push(Piece::Placeholder(name));
            (literal, at) = (end + 2, end + 2);
        } else {
            // `{{{1}}`: the second brace may begin a placeholder.
            at = begin + 1;
        }
    }
    if literal < text.len() {
        pieces.push(Piece::Literal(&text[literal..]));
    }
    pieces
}

/// Returns the names of the placeholders, each once: numbers by their value, other names in the order of the text.
pub fn names(text: &str) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for piece in pieces(text) {
        if let Piece::Placeholder(name) = piece
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    // Stable: names that are no numbers keep their order.
    names.sort_by_key(|name| if is_positional(name) { name.parse::<u32>().unwrap_or(u32::MAX) } else { u32::MAX });
    names
}

/// Whether a placeholder is a number, whose value is sent without its name.
pub fn is_positional(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_name(name: &str) -> bool {
    /// Longer than any that Meta accepts.
    const MAX_LEN: usize = 64;
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.len() <= MAX_LEN && name.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_braces_around_names_only() {
        use Piece::{Literal, Placeholder};
        for (text, expected) in [
            ("Hi {{1}}!", vec![Literal("Hi "), Placeholder("1"), Literal("!")]),
            ("{{first_name}}{{ 2 }}", vec![Placeholder("first_name"), Placeholder("2")]),
            ("{{{1}}", vec![Literal("{"), Placeholder("1")]),
            ("a {{B}} {{}} {{1", vec![Literal("a {{B}} {{}} {{1")]),
            ("{{é}}é{{1}}", vec![Literal("{{é}}é"), Placeholder("1")]),
            ("", vec![]),
        ] {
            assert_eq!(pieces(text), expected, "{text}");
        }
        assert_eq!(names("{{10}} {{b}} {{2}} {{a}} {{2}}"), ["2", "10", "b", "a"]);
    }
}
