//! Examples and names of a resource for its OpenAPI description.

use serde_json::{Map, Value as Json};

use crate::resource::Resource;
use crate::resource::field::{Field, FieldType};

/// Parses an example of a definition; a test checks that all are JSON.
pub fn example(json: &str) -> Json {
    serde_json::from_str(json).unwrap_or(Json::Null)
}

pub fn row_example(resource: &Resource) -> Json {
    let members: Map<String, Json> = resource.fields.iter().map(|f| (f.name.to_owned(), example(f.example))).collect();
    members.into()
}

/// A typical request body that can be sent as it is, and again: without optional references, whose rows would have to
/// exist, and without optional values that are unique.
pub(super) fn body_example(resource: &Resource, creates: bool) -> Json {
    let plain = |f: &&Field| (f.field_type != FieldType::Uuid && !f.unique) || f.required;
    let shown = |f: &&Field| creates || !f.required;
    let members: Map<String, Json> = resource
        .writable_fields(creates)
        .filter(plain)
        .filter(shown)
        .map(|f| (f.name.to_owned(), example(f.example)))
        .collect();
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
pub(super) fn many(resource: &Resource) -> String {
    resource.plural.split('-').map(capital).collect()
}

pub(super) fn article(resource: &Resource) -> String {
    let name = spaced(resource.name);
    let vowel = name.starts_with(['a', 'e', 'i', 'o']);
    format!("{} {name}", if vowel { "an" } else { "a" })
}
