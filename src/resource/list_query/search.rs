//! Parses the parameter `q`.

use super::parameter_errors::ParameterErrors;
use crate::resource::clean_text;
use crate::resource::definition::Search;

/// Trigrams need three characters.
const MIN_SEARCH_LEN: usize = 3;
const MAX_SEARCH_LEN: usize = 200;

pub(super) fn parse_search(search: Search, value: &str, errors: &mut ParameterErrors) -> Option<String> {
    let value = clean_text::line(value);
    let length = value.chars().count();
    let shortest = if search == Search::Substring { MIN_SEARCH_LEN } else { 1 };
    if (shortest..=MAX_SEARCH_LEN).contains(&length) {
        return Some(value.into_owned());
    }
    errors.add("q", "out_of_range", format!("`q` needs {shortest} to {MAX_SEARCH_LEN} characters."));
    None
}
