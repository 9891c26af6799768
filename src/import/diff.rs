//! What a row of a file changes about the row of the database that it means, and what it gives to a new one.

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::bodies::Aside;
use super::matching::Current;
use super::rows::Parsed;
use crate::auth::Business;
use crate::db::Value;
use crate::error::{Error, Fault, Result};
use crate::noun::links::{self, Existing};
use crate::noun::{Change, clean, params};

/// What of `parsed` differs from `current`; nothing: it is as the file has it. Metadata of others' making stays. `company`: the
/// one that it links by its name. Errors: 422 for links that lead nowhere, and metadata that grows too large.
pub fn of_known(
    parsed: &Parsed,
    current: &Current,
    company: Option<Uuid>,
    existing: &Existing,
    business: &Business,
) -> Result<Option<Change>> {
    let mut given = parsed.update.clone();
    let mut metadata = parsed.metadata.clone();
    match parsed.id == Some(current.id) {
        // Known by that id, it needs no other.
        true if parsed.empties_external_id => given.set("external_id", Value::Text(None)),
        true if parsed.stands_in => given.unset("external_id"),
        true => {}
        false => parsed.asides.iter().filter(|aside| is_of_another(aside, current)).for_each(
            |Aside { key, value, .. }| {
                metadata.entry(key).or_insert_with(|| value.as_str().into());
            },
        ),
    }
    let is_new = |column: &str, id: &Uuid| current.text(column) != Some(id.to_string().as_str());
    follow(&mut given, &mut metadata, parsed, existing, is_new)?;
    if company.is_some() {
        given.set_default("company_id", Value::Uuid(company));
    }
    differences(&given, &metadata, current, business)
}

/// The row that is made of `parsed`, but for a company that it links by name. Errors: 422, as above.
pub fn of_new(parsed: &Parsed, create: &Change, existing: &Existing, business: &Business) -> Result<Change> {
    let mut given = create.clone();
    let mut metadata = Map::new();
    follow(&mut given, &mut metadata, parsed, existing, |_, _| true)?;
    if !metadata.is_empty() {
        if let Some(Value::Json(Some(Json::Object(own)))) = given.get("metadata") {
            metadata.extend(own.clone());
        }
        given.set("metadata", object(&given, metadata, business)?);
    }
    Ok(given)
}

/// The company that `parsed` links by id, if that leads somewhere: to a row that is there, or where `current` leads already.
pub fn company_by_id(parsed: &Parsed, current: Option<&Current>, existing: &Existing) -> Option<Uuid> {
    let id = parsed.update.get("company_id")?.as_uuid()?;
    let is_there = existing.get("company_id").is_some_and(|ids| ids.contains(&id));
    let is_same = current.is_some_and(|current| current.text("company_id") == Some(id.to_string().as_str()));
    (is_there || is_same).then_some(id)
}

/// Whether the row cannot have it of us: what the service sets is the same in an export of that row.
fn is_of_another(aside: &Aside, current: &Current) -> bool {
    let Some(field) = aside.field else { return false };
    match current.row.get(field.name) {
        Some(Json::String(text)) => *text != aside.value,
        Some(other) => {
            let text = other.to_string();
            text != aside.value
        }
        None => true,
    }
}

/// Looks at the links of `given` that are `new`. Those that may be of another system move to `metadata` where they lead nowhere.
/// Errors: 422 for the others.
fn follow(
    given: &mut Change,
    metadata: &mut Map<String, Json>,
    parsed: &Parsed,
    existing: &Existing,
    is_new: impl Fn(&str, &Uuid) -> bool,
) -> Result<()> {
    let broken: Vec<_> = links::links(given)
        .filter(|(relation, id)| {
            is_new(relation.column, id) && !existing.get(relation.column).is_some_and(|ids| ids.contains(id))
        })
        .collect();
    let mut faults: Vec<Fault> = Vec::new();
    for (relation, id) in broken {
        match parsed.guessed.iter().find(|(column, _)| *column == relation.column) {
            Some((column, header)) => {
                given.unset(column);
                metadata.entry(header).or_insert_with(|| id.to_string().into());
            }
            None => faults.push(links::fault(relation.column, relation.noun)),
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

fn differences(
    given: &Change,
    metadata: &Map<String, Json>,
    current: &Current,
    business: &Business,
) -> Result<Option<Change>> {
    let mut kept = current.row.get("metadata").and_then(Json::as_object).cloned().unwrap_or_default();
    let mut change = Change::nothing(given.noun);
    let is = |name: &str| current.row.get(name).unwrap_or(&Json::Null);
    let (fills, sets): (Vec<_>, Vec<_>) = given.values().iter().partition(|(field, _)| given.fills(field.name));
    for (field, value) in sets.into_iter().filter(|(field, _)| field.name != "metadata") {
        let follows_same =
            given.follows(field.name).is_some_and(|by| given.get(by).is_some_and(|value| is_same(value, is(by))));
        if !follows_same && !is_same(value, is(field.name)) {
            change.set(field.name, value.clone());
        }
    }
    // What fills makes no difference of its own: an amount that changes keeps its currency, or gets one where there is none.
    for (field, value) in fills.into_iter().filter(|(field, _)| is(field.name).is_null()) {
        if !change.values().is_empty() {
            change.set(field.name, value.clone());
        }
    }
    let differs = |(key, value): (&String, &Json)| kept.get(key).unwrap_or(&Json::Null) != value;
    if metadata.iter().any(differs) {
        kept.extend(metadata.clone());
        // As in a merge patch.
        kept.retain(|key, _| !metadata.get(key).is_some_and(Json::is_null));
        change.set("metadata", object(given, kept, business)?);
    }
    Ok((!change.values().is_empty()).then_some(change))
}

/// Metadata as it is written. Errors: 422 when it is too large.
fn object(of: &Change, metadata: Map<String, Json>, business: &Business) -> Result<Value> {
    let body = Map::from_iter([("metadata".to_owned(), Json::Object(metadata.clone()))]);
    Change::parse(of.noun, Json::Object(body), false, business)?;
    Ok(Value::Json(Some(Json::Object(metadata))))
}

fn is_same(value: &Value, json: &Json) -> bool {
    match value {
        _ if value.is_null() => json.is_null(),
        Value::Bool(Some(flag)) => json.as_bool() == Some(*flag),
        Value::Int(Some(number)) => json.as_i64() == Some(*number),
        // What cannot be seen is no part of a text, though an older row may hold it.
        Value::Text(Some(text)) => json.as_str().is_some_and(|is| {
            is == text || [clean::line(is), clean::prose(is), clean::address(is)].iter().any(|clean| *clean == *text)
        }),
        Value::Uuid(Some(id)) => json.as_str() == Some(&id.to_string()),
        Value::Texts(texts) => json.as_array().is_some_and(|items| items.iter().eq(texts)),
        Value::Time(time) => json.as_str().and_then(params::instant) == *time,
        Value::Date(Some(date)) => json.as_str() == Some(&date.to_string()),
        Value::Decimal(Some(text)) => {
            let number = |text: &str| text.parse::<f64>().ok();
            json.as_str().and_then(number) == number(text)
        }
        Value::Json(Some(object)) => object == json,
        _ => false,
    }
}
