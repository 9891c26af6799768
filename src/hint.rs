//! What was probably meant by a name that is not known.

use crate::context;

/// Characters of a name that anyone could have meant; comparing longer ones is only work.
const LONGEST: usize = 64;

/// What a refusal of the unknown name `asked` ends with: the nearest of `known`, or, when nothing is near, all of them.
/// Nothing, where one request has had many of them already: comparing names is dear, and somebody could send a million.
pub fn did_you_mean<'a>(asked: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    if asked.chars().nth(LONGEST).is_some() || !context::may_guess() {
        return String::new();
    }
    let known: Vec<&str> = known.into_iter().collect();
    match (nearest(asked, &known), known.as_slice()) {
        (Some(name), _) => format!(" Did you mean `{name}`?"),
        (None, []) => " There is none.".to_owned(),
        (None, known) => format!(" There are {}.", known.join(", ")),
    }
}

/// An unknown name as it is told back: its beginning, where it is long.
pub fn shown(name: &str) -> std::borrow::Cow<'_, str> {
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &name[..end]).into(),
        None => name.into(),
    }
}

/// The name in `known` that is like `asked`, if one is.
pub fn nearest<'a>(asked: &str, known: &[&'a str]) -> Option<&'a str> {
    /// Likeness, of 1, below which a guess only confuses.
    const NEAR: f64 = 0.66;
    // The one is good at what was cut off, the other at letters that changed places in short names.
    let like = |name| strsim::jaro_winkler(asked, name).max(strsim::normalized_damerau_levenshtein(asked, name));
    let rated = known.iter().map(|name| (like(name), *name));
    rated.max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(like, _)| *like >= NEAR).map(|(_, name)| name)
}
