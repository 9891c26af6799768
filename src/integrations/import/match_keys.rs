//! Match keys: by what a row of the file is recognised as one which exists, or as another of the same file.

use std::collections::{HashMap, HashSet};

use super::row::Row;
use crate::base::error::{Error, FieldError, Result};
use crate::db::schema::companies;
use crate::resource::{Changeset, Resource, did_you_mean};

/// Keys by which rows of a resource can be matched, the most specific first. An import without any creates every row.
pub fn available(resource: &Resource) -> &'static [&'static str] {
    match resource.name {
        "contact" => &["id", "external_id", "email", "name", "phone"],
        "company" => &["id", "external_id", "domain", "name"],
        _ => &["id", "external_id"],
    }
}

/// Checks match keys. Errors: 422 for those by which the resource cannot be matched.
pub fn check(resource: &Resource, given: &[String]) -> Result<()> {
    let known = available(resource);
    let wrong = |(index, name): (usize, &String)| {
        let hint = did_you_mean(name, known.iter().copied());
        let detail = format!("{} are not found by `{name}`.{hint}", resource.plural);
        (!known.contains(&name.as_str())).then(|| FieldError::new(format!("/match_by/{index}"), "not_a_choice", detail))
    };
    let faults: Vec<FieldError> = given.iter().enumerate().filter_map(wrong).collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// Match keys of the rows of a chunk. No two of its rows may match the same database row, because the later one must
/// find what the earlier one has written.
#[derive(Default)]
pub struct ChunkKeys {
    unique: HashSet<String>,
    /// By name: the unique keys of the rows with that name.
    names: HashMap<String, Vec<[Option<String>; 2]>>,
}

impl ChunkKeys {
    /// Adds `row` and returns true, unless it could match the same database row as one in the chunk.
    pub fn add(&mut self, row: &Row) -> bool {
        let Ok(parsed) = &row.parsed else { return true };
        let unique = unique_keys(&parsed.update);
        let name = name_key(&parsed.update, parsed.company.as_ref());
        let own = [&unique[0], &unique[1]].map(|key| key.clone());
        let unique: Vec<String> = unique.into_iter().flatten().chain(parsed.id.map(|id| format!("id {id}"))).collect();
        let other = |there: &[Option<String>; 2]| {
            there.iter().zip(&own).any(|(one, other)| one.is_some() && other.is_some() && one != other)
        };
        let named = name.as_ref().and_then(|name| self.names.get(name));
        if unique.iter().any(|key| self.unique.contains(key)) || !named.is_none_or(|all| all.iter().all(other)) {
            return false;
        }
        self.unique.extend(unique);
        if let Some(name) = name {
            self.names.entry(name).or_default().push(own);
        }
        true
    }
}

/// Returns the external id and the other unique field; see [`super::matching`].
pub fn unique_keys(change: &Changeset) -> [Option<String>; 2] {
    let key = |name: &str| change.text_field(name).map(|text| format!("{name} {}", text.to_lowercase()));
    [key("external_id"), key("email").or_else(|| key("domain"))]
}

/// Returns the name, with the company; or the phone number if the row has no name.
fn name_key(change: &Changeset, company: Option<&Changeset>) -> Option<String> {
    let text = |name| change.text_field(name).map(str::to_lowercase);
    match (text("last_name"), text("first_name")) {
        (None, None) => text("name").or_else(|| text("phone")),
        (last, first) => {
            let company = company.and_then(|company| company.text(companies::name)).unwrap_or_default();
            Some(format!("{last:?}, {first:?} of {}", company.to_lowercase()))
        }
    }
}
