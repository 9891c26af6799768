//! Parses the bodies of batches, with all errors of all items at once.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::action::BatchAction;
use super::items::{Batch, Item, MAX_ITEMS, Returning, Upsert};
use crate::auth::TenantSettings;
use crate::base::error::{Error, FieldError, Result};
use crate::base::suggest::did_you_mean;
use crate::http::precondition::IfMatch;
use crate::resource::body::{Changeset, ValidationErrors};
use crate::resource::definition::Resource;
use crate::resource::field::Field;

impl Batch {
    /// Parses `{"items":[…]}` or `{"ids":[…]}`. Errors: 400 if it is not an object; 422 with every error of the batch
    /// itself and, with `all_or_none`, of its items.
    pub fn read(resource: &'static Resource, act: BatchAction, body: Json, business: &TenantSettings) -> Result<Self> {
        let Json::Object(mut members) = body else {
            return Err(Error::malformed("not_an_object", "The body must be a JSON object."));
        };
        let mut faults = ValidationErrors::default();
        let all_or_none = match members.shift_remove("all_or_none") {
            None => true,
            Some(Json::Bool(flag)) => flag,
            Some(_) => {
                faults.field("all_or_none", "type", "`all_or_none` must be true or false.");
                true
            }
        };
        let key = if act == BatchAction::Upsert {
            property(resource, members.shift_remove("id_property"), &mut faults)
        } else {
            None
        };
        let items = list(act, members.shift_remove(act.list()), &mut faults);
        unknown(act, &members, &mut faults);
        let items = Reader { resource, act, key, business, seen: HashSet::new() }.items(items);
        // A batch that is invalid itself is rejected with the errors of its items, too.
        if all_or_none || !faults.is_empty() {
            for (place, item) in items.iter().enumerate() {
                if let Item::Wrong(wrong) = item {
                    faults.part(&format!("/{}/{place}", act.list()), wrong);
                }
            }
        }
        faults.into_result()?;
        Ok(Self { resource, act, key, items, all_or_none, returning: Returning::Rows })
    }
}

fn list(act: BatchAction, given: Option<Json>, faults: &mut ValidationErrors) -> Vec<Json> {
    let name = act.list();
    let of = if act == BatchAction::Delete { "UUIDs" } else { "objects" };
    match given {
        Some(Json::Array(items)) if (1..=MAX_ITEMS).contains(&items.len()) => return items,
        None | Some(Json::Null) => {
            faults.field(name, "required", format!("`{name}` is a list of 1 to {MAX_ITEMS} {of}."))
        }
        Some(Json::Array(items)) => {
            let detail = format!(
                "`{name}` has {} entries; it takes 1 to {MAX_ITEMS}. Send more in several batches.",
                items.len()
            );
            faults.field(name, "length", detail);
        }
        Some(_) => faults.field(name, "type", format!("`{name}` must be a list of 1 to {MAX_ITEMS} {of}.")),
    }
    Vec::new()
}

/// Returns the field that rows are matched by.
fn property(resource: &Resource, given: Option<Json>, faults: &mut ValidationErrors) -> Option<&'static Field> {
    let names: Vec<&str> = resource.unique_fields().map(|field| field.name).collect();
    let fields = names.join(", ");
    let detail = match given {
        None | Some(Json::Null) => {
            let detail = format!("`id_property` is required: by which of {fields} rows are recognised.");
            faults.field("id_property", "required", detail);
            return None;
        }
        Some(Json::String(name)) => match resource.unique_fields().find(|field| field.name == name) {
            Some(field) => return Some(field),
            None if name == "id" => {
                format!(
                    "`id_property` must be one of {fields}. Rows whose ids are known are changed with `batch/update`."
                )
            }
            None => format!("`id_property` must be one of {fields}.{}", did_you_mean(&name, names)),
        },
        Some(_) => format!("`id_property` must be one of {fields}."),
    };
    faults.field("id_property", "not_a_choice", detail);
    None
}

fn unknown(act: BatchAction, members: &Map<String, Json>, faults: &mut ValidationErrors) {
    let known: &[&str] = match act {
        BatchAction::Upsert => &["items", "id_property", "all_or_none"],
        BatchAction::Delete => &["ids", "all_or_none"],
        BatchAction::Create | BatchAction::Update => &["items", "all_or_none"],
    };
    for name in members.keys() {
        let hint = did_you_mean(name, known.iter().copied());
        faults.field(name, "unknown_field", format!("There is no field `{name}`.{hint}"));
    }
}

struct Reader<'b> {
    resource: &'static Resource,
    act: BatchAction,
    key: Option<&'static Field>,
    business: &'b TenantSettings,
    /// Ids and keys of the previous items.
    seen: HashSet<String>,
}

impl Reader<'_> {
    fn items(mut self, items: Vec<Json>) -> Vec<Item> {
        items.into_iter().map(|item| self.item(item).unwrap_or_else(Item::Wrong)).collect()
    }

    fn item(&mut self, item: Json) -> Result<Item, Vec<FieldError>> {
        let fault = |pointer: &str, code, detail: &str| Err(vec![FieldError::new(pointer, code, detail)]);
        match (self.act, item) {
            (BatchAction::Delete, Json::String(id)) => match Uuid::try_parse(&id) {
                Ok(id) if self.seen.insert(id.to_string()) => Ok(Item::Delete(id, IfMatch::ANY)),
                Ok(_) => fault("", "duplicate", "An earlier entry has this id already."),
                Err(_) => fault("", "format", "Each id is a UUID."),
            },
            (BatchAction::Delete, _) => fault("", "type", "Each id is a UUID."),
            (BatchAction::Create, Json::Object(members)) => {
                Changeset::of_item(self.resource, members, true, self.business)
                    .map(|change| Item::Create(Uuid::now_v7(), change))
            }
            (BatchAction::Update, Json::Object(members)) => self.update(members),
            (BatchAction::Upsert, Json::Object(members)) => self.upsert(members),
            _ => fault("", "type", "Each item must be a JSON object."),
        }
    }

    fn update(&mut self, mut members: Map<String, Json>) -> Result<Item, Vec<FieldError>> {
        let mut faults = ValidationErrors::default();
        let id = match members.shift_remove("id") {
            None | Some(Json::Null) => {
                faults.field("id", "required", "`id` is required: which row is to be changed.");
                None
            }
            Some(Json::String(text)) if Uuid::try_parse(&text).is_ok() => Uuid::try_parse(&text).ok(),
            Some(_) => {
                faults.field("id", "format", "`id` must be a UUID.");
                None
            }
        };
        if id.is_some_and(|id| !self.seen.insert(id.to_string())) {
            faults.field("id", "duplicate", "An earlier item has this `id` already. Put their fields into one item.");
        }
        let version = match members.shift_remove("version") {
            None => IfMatch::ANY,
            Some(given) => match given.as_i64().filter(|version| *version >= 1) {
                Some(version) => IfMatch::version(version),
                None => {
                    let detail =
                        "`version` must be the row's version as it was read. Leave it out to change whatever is there.";
                    faults.field("version", "type", detail);
                    IfMatch::ANY
                }
            },
        };
        match (Changeset::of_item(self.resource, members, false, self.business), id) {
            (Ok(change), Some(id)) if faults.is_empty() => Ok(Item::Update(id, version, change)),
            (Err(more), _) => {
                faults.part("", &more);
                Err(faults.into_inner())
            }
            _ => Err(faults.into_inner()),
        }
    }

    fn upsert(&mut self, members: Map<String, Json>) -> Result<Item, Vec<FieldError>> {
        let new = Changeset::of_item(self.resource, members.clone(), true, self.business);
        let known = Changeset::of_item(self.resource, members.clone(), false, self.business);
        let mut faults = ValidationErrors::default();
        let key = self.key.and_then(|field| {
            let known = known.as_ref().ok()?.given_text(field.name).map(str::to_owned);
            let name = field.name;
            match known {
                None => {
                    let detail = format!("`{name}` is required: the row is recognised by it.");
                    faults.field(name, "required", detail);
                    None
                }
                Some(key) if !self.seen.insert(folded(field, &key)) => {
                    let detail = format!("An earlier item has this `{name}` already. Put their fields into one item.");
                    faults.field(name, "duplicate", detail);
                    None
                }
                Some(key) => Some(key),
            }
        });
        match (known, key) {
            (Ok(known), Some(key)) => Ok(Item::Upsert(Upsert { key, known, new })),
            (Err(wrong), _) => Err(wrong),
            (Ok(_), None) => Err(faults.into_inner()),
        }
    }
}

/// Returns `key` as it is compared.
pub fn folded(field: &Field, key: &str) -> String {
    if field.fold_case { key.to_lowercase() } else { key.to_owned() }
}
