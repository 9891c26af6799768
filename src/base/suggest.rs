//! Suggests known names for an unknown one ("Did you mean …?").

use crate::base::request_context;

/// Maximum length of a name in characters; a longer one is no typing error, and comparing it is wasted work.
const MAX_NAME_LEN: usize = 64;

/// Returns the end of an error about the unknown name `asked`: the nearest of `known`, or all when none is near. Empty
/// for long names and once a request has had many: comparing is expensive, and a body may have a million names.
pub fn did_you_mean<'a>(asked: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    if asked.chars().nth(MAX_NAME_LEN).is_some() || !request_context::may_guess() {
        return String::new();
    }
    let known: Vec<&str> = known.into_iter().collect();
    match (nearest(asked, &known), known.as_slice()) {
        (Some(name), _) => format!(" Did you mean `{name}`?"),
        (None, []) => " There is none.".to_owned(),
        (None, known) => format!(" There are {}.", known.join(", ")),
    }
}

/// Returns the name in `known` that is most similar to `asked`, if one is; `None` for long names and once a request has had many.
/// For lists of names that are too long to be named all.
pub fn suggestion<'a>(asked: &str, known: &[&'a str]) -> Option<&'a str> {
    let is_too_long = asked.chars().nth(MAX_NAME_LEN).is_some();
    if is_too_long || !request_context::may_guess() { None } else { nearest(asked, known) }
}

/// Returns an unknown name for an error message, truncated when it is long.
pub fn shown(name: &str) -> std::borrow::Cow<'_, str> {
    match name.char_indices().nth(MAX_NAME_LEN) {
        Some((end, _)) => format!("{}…", &name[..end]).into(),
        None => name.into(),
    }
}

/// Returns the name in `known` that is most similar to `asked`, if one is similar.
pub fn nearest<'a>(asked: &str, known: &[&'a str]) -> Option<&'a str> {
    /// Similarity, of 1, below which a suggestion only confuses.
    const NEAR: f64 = 0.66;
    // Jaro-Winkler handles truncated names, Damerau-Levenshtein swapped characters in short ones.
    let like = |name| strsim::jaro_winkler(asked, name).max(strsim::normalized_damerau_levenshtein(asked, name));
    let rated = known.iter().map(|name| (like(name), *name));
    rated.max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(like, _)| *like >= NEAR).map(|(_, name)| name)
}
