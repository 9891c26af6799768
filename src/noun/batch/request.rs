//! Bodies of batches, read with all faults of all items at once.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{Act, Batch, Item, MOST_ITEMS, Upsert};
use crate::auth::Business;
use crate::error::{Error, Fault, Result};
use crate::noun::{Change, Faults, Field, Noun, did_you_mean};

impl Batch {
    /// Reads `{"items":[…]}` or `{"ids":[…]}`. Errors: 400 if it is no object; 422 with every fault of the batch itself, and,
    /// if it is to be done wholly or not at all, of its items.
    pub fn read(noun: &'static Noun, act: Act, body: Json, business: &Business) -> Result<Self> {
        let Json::Object(mut members) = body else {
            return Err(Error::malformed("not_an_object", "The body must be a JSON object."));
        };
        let mut faults = Faults::default();
        let all_or_none = match members.shift_remove("all_or_none") {
            None => true,
            Some(Json::Bool(flag)) => flag,
            Some(_) => {
                faults.field("all_or_none", "type", "`all_or_none` must be true or false.");
                true
            }
        };
        let key =
            if act == Act::Upsert { property(noun, members.shift_remove("id_property"), &mut faults) } else { None };
        let items = list(act, members.shift_remove(act.list()), &mut faults);
        unknown(act, &members, &mut faults);
        let items = Reader { noun, act, key, business, seen: HashSet::new() }.items(items);
        // What is wrong with the batch itself is wrong for all its items.
        if all_or_none || !faults.is_empty() {
            for (place, item) in items.iter().enumerate() {
                if let Item::Wrong(wrong) = item {
                    faults.part(&format!("/{}/{place}", act.list()), wrong);
                }
            }
        }
        faults.into_result()?;
        Ok(Self { noun, act, key, items, all_or_none })
    }
}

fn list(act: Act, given: Option<Json>, faults: &mut Faults) -> Vec<Json> {
    let name = act.list();
    let of = if act == Act::Delete { "UUIDs" } else { "objects" };
    match given {
        Some(Json::Array(items)) if (1..=MOST_ITEMS).contains(&items.len()) => return items,
        None | Some(Json::Null) => {
            faults.field(name, "required", format!("`{name}` is a list of 1 to {MOST_ITEMS} {of}."))
        }
        Some(Json::Array(items)) => {
            let detail = format!(
                "`{name}` has {} entries; it takes 1 to {MOST_ITEMS}. Send more in several batches.",
                items.len()
            );
            faults.field(name, "length", detail);
        }
        Some(_) => faults.field(name, "type", format!("`{name}` must be a list of 1 to {MOST_ITEMS} {of}.")),
    }
    Vec::new()
}

/// The field that rows are recognised by.
fn property(noun: &Noun, given: Option<Json>, faults: &mut Faults) -> Option<&'static Field> {
    let names: Vec<&str> = noun.keys().map(|field| field.name).collect();
    let fields = names.join(", ");
    let detail = match given {
        None | Some(Json::Null) => {
            let detail = format!("`id_property` is required: by which of {fields} rows are recognised.");
            faults.field("id_property", "required", detail);
            return None;
        }
        Some(Json::String(name)) => match noun.keys().find(|field| field.name == name) {
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

fn unknown(act: Act, members: &Map<String, Json>, faults: &mut Faults) {
    let known: &[&str] = match act {
        Act::Upsert => &["items", "id_property", "all_or_none"],
        Act::Delete => &["ids", "all_or_none"],
        Act::Create | Act::Update => &["items", "all_or_none"],
    };
    for name in members.keys() {
        let hint = did_you_mean(name, known.iter().copied());
        faults.field(name, "unknown_field", format!("There is no field `{name}`.{hint}"));
    }
}

struct Reader<'b> {
    noun: &'static Noun,
    act: Act,
    key: Option<&'static Field>,
    business: &'b Business,
    /// Ids and keys of the items so far.
    seen: HashSet<String>,
}

impl Reader<'_> {
    fn items(mut self, items: Vec<Json>) -> Vec<Item> {
        items.into_iter().map(|item| self.item(item).unwrap_or_else(Item::Wrong)).collect()
    }

    fn item(&mut self, item: Json) -> Result<Item, Vec<Fault>> {
        let fault = |pointer: &str, code, detail: &str| Err(vec![Fault::new(pointer, code, detail)]);
        match (self.act, item) {
            (Act::Delete, Json::String(id)) => match Uuid::try_parse(&id) {
                Ok(id) if self.seen.insert(id.to_string()) => Ok(Item::Delete(id)),
                Ok(_) => fault("", "duplicate", "An earlier entry has this id already."),
                Err(_) => fault("", "format", "Each id is a UUID."),
            },
            (Act::Delete, _) => fault("", "type", "Each id is a UUID."),
            (Act::Create, Json::Object(members)) => {
                Change::of_item(self.noun, members, true, self.business).map(Item::Create)
            }
            (Act::Update, Json::Object(members)) => self.update(members),
            (Act::Upsert, Json::Object(members)) => self.upsert(members),
            _ => fault("", "type", "Each item must be a JSON object."),
        }
    }

    fn update(&mut self, mut members: Map<String, Json>) -> Result<Item, Vec<Fault>> {
        let mut faults = Faults::default();
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
            None => None,
            Some(given) => match given.as_i64().filter(|version| *version >= 1) {
                Some(version) => Some(version),
                None => {
                    let detail =
                        "`version` must be the row's version as it was read. Leave it out to change whatever is there.";
                    faults.field("version", "type", detail);
                    None
                }
            },
        };
        match (Change::of_item(self.noun, members, false, self.business), id) {
            (Ok(change), Some(id)) if faults.is_empty() => Ok(Item::Update(id, version, change)),
            (Err(more), _) => {
                faults.part("", &more);
                Err(faults.into_inner())
            }
            _ => Err(faults.into_inner()),
        }
    }

    fn upsert(&mut self, members: Map<String, Json>) -> Result<Item, Vec<Fault>> {
        let new = Change::of_item(self.noun, members.clone(), true, self.business);
        let known = Change::of_match(self.noun, members.clone(), self.business);
        let mut faults = Faults::default();
        let key = self.key.and_then(|field| {
            let known = known.as_ref().ok()?.text(field.name).map(str::to_owned);
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

/// `key` as it is compared.
pub fn folded(field: &Field, key: &str) -> String {
    if field.fold_case { key.to_lowercase() } else { key.to_owned() }
}
