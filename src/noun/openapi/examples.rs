//! Examples and words of a noun.

use serde_json::{Map, Value as Json, json};

use super::schemas::writable;
use crate::noun::Noun;
use crate::noun::field::{Field, Kind};
use crate::noun::params::DEFAULT_LIMIT;

/// The examples in descriptions are JSON; a test reads them all.
pub fn example(json: &str) -> Json {
    serde_json::from_str(json).unwrap_or(Json::Null)
}

pub fn row_example(noun: &Noun) -> Json {
    let members: Map<String, Json> = noun.fields.iter().map(|f| (f.name.to_owned(), example(f.example))).collect();
    members.into()
}

pub(super) fn page_example(noun: &Noun) -> Json {
    json!({ "data": [row_example(noun)], "page": { "limit": DEFAULT_LIMIT, "next": null } })
}

/// What a client typically sends: no links, whose rows would have to exist.
pub(super) fn body_example(noun: &Noun, creates: bool) -> Json {
    let plain = |f: &&Field| f.kind != Kind::Uuid || f.required;
    let shown = |f: &&Field| creates || !f.required;
    let members: Map<String, Json> =
        writable(noun, creates).filter(plain).filter(shown).map(|f| (f.name.to_owned(), example(f.example))).collect();
    members.into()
}

/// `api_key` → `api key`; `api-keys` → `api keys`.
pub(super) fn spaced(name: &str) -> String {
    name.replace(['_', '-'], " ")
}

pub(super) fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// `Leads`, `ApiKeys`: the plural as part of an operation's id.
pub(super) fn many(noun: &Noun) -> String {
    noun.plural.split('-').map(capital).collect()
}

pub(super) fn article(noun: &Noun) -> String {
    let name = spaced(noun.name);
    let vowel = name.starts_with(['a', 'e', 'i', 'o']);
    format!("{} {name}", if vowel { "an" } else { "a" })
}
