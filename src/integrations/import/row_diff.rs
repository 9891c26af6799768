//! Computes what a file row changes in the database row which it matches, or sets in a new row.

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::matching::CurrentRow;
use super::row::{Aside, ParsedRow};
use crate::auth::TenantSettings;
use crate::base::error::{Error, FieldError, Result};
use crate::db::SqlValue;
use crate::resource::references::{self, ExistingIds};
use crate::resource::{Changeset, Resource, clean_text, instant};

/// Returns the changeset which `parsed` makes to `current`; `None` if nothing differs. Metadata keys which the file
/// does not have stay. `company`: the company linked by name or domain. Errors: 422 for references to missing rows, and
/// for metadata which grows too large.
pub fn of_known(
    parsed: &ParsedRow,
    current: &CurrentRow,
    company: Option<Uuid>,
    existing: &ExistingIds,
    business: &TenantSettings,
) -> Result<Option<Changeset>> {
    let mut given = parsed.update.clone();
    let mut metadata = parsed.metadata.clone();
    match parsed.id == Some(current.id) {
        // Matched by that id, the row does not need it as its external id.
        true if parsed.empties_external_id => {
            given.set_field(parsed.resource.own_field("external_id"), SqlValue::Text(None))
        }
        true if parsed.stands_in => given.unset_field("external_id"),
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
        given.set_default_field(parsed.resource.own_field("company_id"), company.into());
    }
    differences(parsed.resource, &given, &metadata, current, business)
}

/// Returns the changeset which creates a row from `parsed`, without a company linked by name. Errors: 422, as above.
pub fn of_new(
    parsed: &ParsedRow,
    create: &Changeset,
    existing: &ExistingIds,
    business: &TenantSettings,
) -> Result<Changeset> {
    let mut given = create.clone();
    let mut metadata = Map::new();
    follow(&mut given, &mut metadata, parsed, existing, |_, _| true)?;
    if !metadata.is_empty() {
        if let Some(SqlValue::Json(Some(Json::Object(own)))) = given.get_field("metadata") {
            metadata.extend(own.clone());
        }
        given.set_field(parsed.resource.own_field("metadata"), object(parsed.resource, metadata, business)?);
    }
    Ok(given)
}

/// The company which `parsed` references by id, if that row exists or `current` references it already.
pub fn company_by_id(parsed: &ParsedRow, current: Option<&CurrentRow>, existing: &ExistingIds) -> Option<Uuid> {
    let id = parsed.update.get_field("company_id")?.as_uuid()?;
    let is_there = existing.get("company_id").is_some_and(|ids| ids.contains(&id));
    let is_same = current.is_some_and(|current| current.text("company_id") == Some(id.to_string().as_str()));
    (is_there || is_same).then_some(id)
}

/// Whether the value comes from another system: an export of `current` has the same value in a read-only field.
fn is_of_another(aside: &Aside, current: &CurrentRow) -> bool {
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

/// Checks the references of `given` which are new. Unresolvable ones which may be ids of another system move to
/// `metadata`. Errors: 422 for the other unresolvable ones.
fn follow(
    given: &mut Changeset,
    metadata: &mut Map<String, Json>,
    parsed: &ParsedRow,
    existing: &ExistingIds,
    is_new: impl Fn(&str, &Uuid) -> bool,
) -> Result<()> {
    let broken: Vec<_> = references::references(parsed.resource, given)
        .filter(|(relation, id)| {
            is_new(relation.column, id) && !existing.get(relation.column).is_some_and(|ids| ids.contains(id))
        })
        .collect();
    let mut faults: Vec<FieldError> = Vec::new();
    for (relation, id) in broken {
        match parsed.guessed.iter().find(|(column, _)| *column == relation.column) {
            Some((column, header)) => {
                given.unset_field(column);
                metadata.entry(header).or_insert_with(|| id.to_string().into());
            }
            None => faults.push(references::missing_reference(relation.column, relation.resource())),
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

fn differences(
    resource: &'static Resource,
    given: &Changeset,
    metadata: &Map<String, Json>,
    current: &CurrentRow,
    business: &TenantSettings,
) -> Result<Option<Changeset>> {
    let mut kept = current.row.get("metadata").and_then(Json::as_object).cloned().unwrap_or_default();
    let mut change = Changeset::replacing(resource.fields);
    let is = |name: &str| current.row.get(name).unwrap_or(&Json::Null);
    let (fills, sets): (Vec<_>, Vec<_>) = given.values().iter().partition(|(field, _)| given.fills(field.name));
    for (field, value) in sets.into_iter().filter(|(field, _)| field.name != "metadata") {
        let follows_same =
            given.follows(field.name).is_some_and(|by| given.get_field(by).is_some_and(|value| is_same(value, is(by))));
        if !follows_same && !is_same(value, is(field.name)) {
            change.set_field(field, value.clone());
        }
    }
    // A value which only fills an empty field is no difference: a changed amount keeps its currency, or gets one if it
    // has none.
    for (field, value) in fills.into_iter().filter(|(field, _)| is(field.name).is_null()) {
        if !change.values().is_empty() {
            change.set_field(field, value.clone());
        }
    }
    let differs = |(key, value): (&String, &Json)| kept.get(key).unwrap_or(&Json::Null) != value;
    if metadata.iter().any(differs) {
        kept.extend(metadata.clone());
        // A null removes its key, as in a JSON merge patch.
        kept.retain(|key, _| !metadata.get(key).is_some_and(Json::is_null));
        change.set_field(resource.own_field("metadata"), object(resource, kept, business)?);
    }
    Ok((!change.values().is_empty()).then_some(change))
}

/// Validates metadata and returns it as a value. Errors: 422 when it is too large.
fn object(resource: &'static Resource, metadata: Map<String, Json>, business: &TenantSettings) -> Result<SqlValue> {
    let body = Map::from_iter([("metadata".to_owned(), Json::Object(metadata.clone()))]);
    Changeset::parse(resource, Json::Object(body), false, business)?;
    Ok(SqlValue::Json(Some(Json::Object(metadata))))
}

fn is_same(value: &SqlValue, json: &Json) -> bool {
    match value {
        _ if value.is_null() => json.is_null(),
        SqlValue::Bool(Some(flag)) => json.as_bool() == Some(*flag),
        SqlValue::Int(Some(number)) => json.as_i64() == Some(*number),
        // Invisible characters are not part of a text, though an older row may hold them.
        SqlValue::Text(Some(text)) => json.as_str().is_some_and(|is| {
            is == text
                || [clean_text::line(is), clean_text::multi_line(is), clean_text::address(is)]
                    .iter()
                    .any(|clean| *clean == *text)
        }),
        SqlValue::Uuid(Some(id)) => json.as_str() == Some(&id.to_string()),
        SqlValue::Texts(texts) => json.as_array().is_some_and(|items| items.iter().eq(texts)),
        SqlValue::Time(time) => json.as_str().and_then(instant::parse) == *time,
        SqlValue::Date(Some(date)) => json.as_str() == Some(&date.to_string()),
        SqlValue::Decimal(Some(text)) => {
            let number = |text: &str| text.parse::<f64>().ok();
            json.as_str().and_then(number) == number(text)
        }
        SqlValue::Json(Some(object)) => object == json,
        _ => false,
    }
}
