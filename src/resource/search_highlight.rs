//! The passage of a text in which a search for words found something. PostgreSQL's `ts_headline` leaves out what looks like a tag, so the
//! passage is cut here, from the text as it is.

use std::ops::Range;

use super::word_search::may_go_on;

/// Longest passage of one piece in characters; a text that is no longer is shown whole.
const MAX_PIECE_LEN: usize = 200;
/// How much of the text is shown before what was found, in characters.
const LEAD_LEN: usize = 60;
/// Pieces of a passage: the second one where more was found behind the first.
const MAX_PIECES: usize = 2;

/// The words that a search asks for, without those that it leaves out, in lower case.
#[derive(Debug, PartialEq, Eq)]
pub struct SearchedWords {
    words: Vec<String>,
    /// The last one, where it may be the beginning of a word.
    beginning: Option<String>,
}

impl SearchedWords {
    /// Reads what a person typed, as PostgreSQL's `websearch_to_tsquery` does.
    pub fn of(text: &str) -> Self {
        let (mut words, mut is_out) = (Vec::new(), false);
        for (place, part) in text.split('"').enumerate() {
            let is_phrase = place % 2 == 1;
            let mut is_after_sign = false;
            for word in part.split_whitespace() {
                let is_left_out = is_after_sign || word.starts_with('-') || word.eq_ignore_ascii_case("or");
                is_after_sign = word == "-";
                if is_phrase && is_out || !is_phrase && is_left_out {
                    continue;
                }
                words.extend(runs(word).map(|run| word[run].to_lowercase()));
            }
            is_out = !is_phrase && part.ends_with('-');
        }
        let beginning = if may_go_on(text) { words.last().cloned() } else { None };
        Self { words, beginning }
    }

    fn is_found(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        self.words.contains(&word) || self.beginning.as_ref().is_some_and(|beginning| word.starts_with(beginning))
    }

    /// Writes the passage of `text` as JSON: its parts in order, each with its text and whether it was found.
    pub fn write_passage(&self, out: &mut Vec<u8>, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let found: Vec<Range<usize>> = runs(&text).filter(|run| self.is_found(&text[run.clone()])).collect();
        let pieces = pieces(&text, &found);
        let mut parts = Parts { out, is_first: true };
        parts.out.push(b'[');
        for (place, piece) in pieces.iter().enumerate() {
            let gap = match (place, piece.start) {
                (0, 0) => "",
                (0, _) => "… ",
                _ => " … ",
            };
            let mut plain = gap.to_owned();
            let mut shown = piece.start;
            for word in found.iter().filter(|word| piece.start <= word.start && word.end <= piece.end) {
                plain.push_str(&text[shown..word.start]);
                parts.write(&plain, false);
                parts.write(&text[word.clone()], true);
                plain.clear();
                shown = word.end;
            }
            plain.push_str(&text[shown..piece.end]);
            if place + 1 == pieces.len() && piece.end < text.len() {
                plain.push_str(" …");
            }
            parts.write(&plain, false);
        }
        parts.out.push(b']');
    }
}

/// The runs of letters and digits.
fn runs(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let start = text.as_ptr() as usize;
    text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty()).map(move |run| {
        let from = run.as_ptr() as usize - start;
        from..from + run.len()
    })
}

/// Chooses the pieces of a text that are shown.
fn pieces(text: &str, found: &[Range<usize>]) -> Vec<Range<usize>> {
    if text.chars().count() <= MAX_PIECE_LEN {
        return Vec::from([Range { start: 0, end: text.len() }]);
    }
    let mut pieces: Vec<Range<usize>> = Vec::new();
    let first = found.first().map_or(0, |word| word.start);
    for start in std::iter::once(first).chain(found.iter().map(|word| word.start)) {
        if pieces.len() == MAX_PIECES || pieces.last().is_some_and(|piece| start < piece.end) {
            continue;
        }
        let earliest = pieces.last().map_or(0, |piece| piece.end);
        pieces.push(piece(text, start, earliest));
    }
    pieces
}

/// The piece around byte `at`, not before byte `earliest`, from blank to blank.
fn piece(text: &str, at: usize, earliest: usize) -> Range<usize> {
    let before = text[earliest..at].char_indices().rev().take(LEAD_LEN).last();
    let mut start = before.map_or(at, |(place, _)| earliest + place);
    if start > earliest {
        // A word that is cut is left out.
        let blank = text[start..at].find(char::is_whitespace);
        start = blank.map_or(at, |place| start + place);
    }
    start += text[start..at].len() - text[start..at].trim_start().len();
    let after = text[start..].char_indices().nth(MAX_PIECE_LEN);
    let Some((length, _)) = after else { return start..text.len() };
    let end = start + length;
    let blank = text[at..end].rfind(char::is_whitespace).map(|place| at + place).filter(|blank| *blank > at);
    start..blank.unwrap_or(end)
}

/// Writes parts, none of them empty.
struct Parts<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
}

impl Parts<'_> {
    fn write(&mut self, text: &str, is_found: bool) {
        if text.is_empty() {
            return;
        }
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b',');
        }
        let text = serde_json::Value::from(text);
        self.out.extend_from_slice(format!("{{\"text\":{text},\"match\":{is_found}}}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passage(query: &str, text: &str) -> Vec<(String, bool)> {
        let mut out = Vec::new();
        SearchedWords::of(query).write_passage(&mut out, text.as_bytes());
        let parts: Vec<serde_json::Value> = serde_json::from_slice(&out).expect("JSON");
        parts.iter().map(|part| (part["text"].as_str().expect("text").to_owned(), part["match"] == true)).collect()
    }

    fn found(query: &str, text: &str) -> Vec<String> {
        passage(query, text).into_iter().filter(|part| part.1).map(|part| part.0).collect()
    }

    #[test]
    fn words_phrases_and_beginnings_found() {
        let text = "The <b>Roof</b>, a flat-roof; roofers say: Größe 7.";
        assert_eq!(found("roof", text), ["Roof", "roof", "roofers"]);
        assert_eq!(found("roof or flat", text), ["Roof", "flat", "roof"]);
        assert_eq!(found("\"flat roof\" -roofers", text), ["Roof", "flat", "roof"]);
        assert_eq!(found("-\"flat roof\" größ", text), ["Größe"]);
        assert_eq!(found("- roof größe", text), ["Größe"]);
        assert_eq!((found("flat-roof", text).len(), found("none", text).len()), (4, 0));
    }

    #[test]
    fn long_text_cut_at_blanks_around_what_was_found() {
        let text = format!(
            "{}the roof leaks {}and the roof again {}",
            "before ".repeat(99),
            "between ".repeat(99),
            "after ".repeat(99)
        );
        let whole: String = passage("roof", &text).into_iter().map(|part| part.0).collect();
        assert!(whole.starts_with("… before ") && whole.ends_with(" after …"), "{whole}");
        assert!(whole.contains("before the roof leaks between") && whole.contains("between … between"), "{whole}");
        assert_eq!(found("roof", &text).len(), 2);
    }

    proptest! {
        #[test]
        fn passage_is_text_in_its_order(query in ".{0,20}", words in prop::collection::vec("\\PC{1,9}", 0..120)) {
            let text = words.join(" ");
            let parts = passage(&query, &text);
            prop_assert!(parts.iter().all(|part| !part.0.is_empty()));
            let mut rest = text.as_str();
            for (part, _) in &parts {
                for piece in part.split('…').map(str::trim).filter(|piece| !piece.is_empty()) {
                    let at = rest.find(piece);
                    prop_assert!(at.is_some() || text.contains('…'), "{piece:?} is not in {rest:?}");
                    rest = &rest[at.map_or(0, |at| at + piece.len())..];
                }
            }
            let shown: usize = parts.iter().map(|part| part.0.chars().count()).sum();
            prop_assert!(shown <= MAX_PIECES * MAX_PIECE_LEN + 8);
        }
    }
}
