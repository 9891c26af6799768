//! What is to be done to which rows: read from a request, and again from the job that it became.

use serde_json::{Map, Value as Json, json};

use crate::auth::{Action, Business};
use crate::error::{Error, Fault, Result};
use crate::noun::params::List;
use crate::noun::{Change, Faults, Field, Kind, Noun, body, did_you_mean};

pub const ACTIONS: [&str; 4] = ["update", "assign", "tag", "delete"];
/// Fields that name whoever is responsible for a row.
pub const RESPONSIBLE: [&str; 2] = ["assignee_id", "owner_id"];
/// Parameters of a list that say nothing of which rows are in it.
pub const WITHOUT: [&str; 7] = ["sort", "limit", "cursor", "include", "fields", "count", "deleted"];

/// Rows, and what is done to them.
#[derive(Clone, Debug)]
pub struct Order {
    pub noun: &'static Noun,
    rows: Rows,
    pub work: Work,
    /// Where in the body what is set stands.
    pub place: &'static str,
    pub dry_run: bool,
}

/// Which rows.
#[derive(Clone, Debug)]
enum Rows {
    /// Filters of their list, as they were given: several values are a list.
    Filter(Map<String, Json>),
    /// The same, kept by a release that took a text for values separated by commas.
    CommaFilter(Map<String, Json>),
    /// The query string of their list: what jobs kept that an older version took.
    Query(String),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Sets these members.
    Set(Map<String, Json>),
    /// Adds and removes labels.
    Tag {
        add: Vec<String>,
        remove: Vec<String>,
    },
    Delete,
}

impl Order {
    /// Reads `{"action":…,"filter":{…},…}`. Errors: 400 if it is no object; 422 with every fault.
    pub fn read(noun: &'static Noun, body: Json, business: &Business) -> Result<Self> {
        let Json::Object(mut members) = body else {
            return Err(Error::malformed("not_an_object", "The body must be a JSON object."));
        };
        let mut faults = Faults::default();
        let actions = actions(noun);
        let action = match members.shift_remove("action") {
            Some(Json::String(action)) => actions.iter().copied().find(|known| *known == action),
            _ => None,
        };
        if action.is_none() {
            faults.field("action", "not_a_choice", format!("`action` must be one of {}.", actions.join(", ")));
        }
        let dry_run = match members.shift_remove("dry_run") {
            None => false,
            Some(Json::Bool(flag)) => flag,
            Some(_) => {
                faults.field("dry_run", "type", "`dry_run` must be true or false.");
                false
            }
        };
        let rows = match members.shift_remove("filter") {
            Some(Json::Object(filter)) => filtered(noun, filter, business, &mut faults),
            _ => {
                let detail = "`filter` is required: an object of the parameters that a list takes, such as \
                              {\"status\":\"new\"} or {\"status\":[\"new\",\"won\"]}. {} is all rows.";
                faults.field("filter", "required", detail);
                Map::new()
            }
        };
        let work = match action {
            Some("update") => set(noun, members.shift_remove("set"), business, &mut faults),
            Some("assign") => assign(noun, &mut members, business, &mut faults),
            Some("tag") => tag(noun, &mut members, &mut faults),
            _ => Work::Delete,
        };
        for name in members.keys().filter(|_| action.is_some()) {
            let known: &[&str] = match action {
                Some("update") => &["action", "filter", "dry_run", "set"],
                Some("assign") => &["action", "filter", "dry_run", "assignee_id", "owner_id"],
                Some("tag") => &["action", "filter", "dry_run", "add", "remove"],
                _ => &["action", "filter", "dry_run"],
            };
            let hint = did_you_mean(name, known.iter().copied());
            faults.field(name, "unknown_field", format!("There is no field `{name}` with this action.{hint}"));
        }
        faults.into_result()?;
        let place = if action == Some("update") { "/set" } else { "" };
        Ok(Self { noun, rows: Rows::Filter(rows), work, place, dry_run })
    }

    /// What may be done to do it.
    pub fn needs(&self) -> Action {
        if self.work == Work::Delete { Action::Delete } else { Action::Write }
    }

    /// The rows, as a list.
    pub fn list(&self, business: &Business) -> Result<List> {
        match &self.rows {
            Rows::Filter(filter) => List::of_filter(self.noun, filter, business),
            Rows::CommaFilter(filter) => List::of_comma_filter(self.noun, filter, business),
            Rows::Query(query) => List::parse(self.noun, query, business),
        }
    }

    /// What is set, if that is it.
    pub fn change(&self, business: &Business) -> Result<Option<Change>> {
        match &self.work {
            Work::Set(members) => {
                Change::of_item(self.noun, members.clone(), false, business).map(Some).map_err(Error::Invalid)
            }
            _ => Ok(None),
        }
    }

    /// As a job keeps it.
    pub fn kept(&self) -> Json {
        let work = match &self.work {
            Work::Set(members) => json!({ "set": members }),
            Work::Tag { add, remove } => json!({ "add": add, "remove": remove }),
            Work::Delete => json!({ "delete": true }),
        };
        let mut kept = json!({ "noun": self.noun.plural, "work": work });
        match &self.rows {
            Rows::Filter(filter) => kept["filter"] = as_lists(filter).into(),
            Rows::CommaFilter(filter) => kept["filter"] = json!(filter),
            Rows::Query(query) => kept["query"] = json!(query),
        }
        kept
    }

    /// As a job has kept it.
    pub fn of_job(kept: &Json) -> Option<Self> {
        let noun = super::nouns().find(|noun| kept["noun"] == noun.plural)?;
        let texts = |list: &Json| -> Option<Vec<String>> {
            list.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let work = &kept["work"];
        let work = match (work.get("set"), work.get("add")) {
            (Some(Json::Object(members)), _) => Work::Set(members.clone()),
            (None, Some(add)) => Work::Tag { add: texts(add)?, remove: texts(&work["remove"])? },
            _ if work["delete"] == true => Work::Delete,
            _ => return None,
        };
        let rows = match &kept["filter"] {
            // This release keeps no texts outside of lists.
            Json::Object(filter) if filter.values().any(Json::is_string) => Rows::CommaFilter(filter.clone()),
            Json::Object(filter) => Rows::Filter(filter.clone()),
            _ => Rows::Query(kept["query"].as_str()?.to_owned()),
        };
        Some(Self { noun, rows, work, place: "", dry_run: false })
    }
}

/// `filter` with each text as a list of one: so every release reads it as one value, also a worker of the release before.
fn as_lists(filter: &Map<String, Json>) -> Map<String, Json> {
    let as_list = |value: &Json| if value.is_string() { json!([value]) } else { value.clone() };
    filter.iter().map(|(name, value)| (name.clone(), as_list(value))).collect()
}

/// What can be done to rows of `noun`.
pub fn actions(noun: &Noun) -> Vec<&'static str> {
    let has = |action: &str| match action {
        "assign" => responsible(noun).next().is_some(),
        "tag" => noun.fields.iter().any(is_tags),
        _ => true,
    };
    ACTIONS.into_iter().filter(|action| has(action)).collect()
}

pub fn responsible(noun: &Noun) -> impl Iterator<Item = &'static Field> + use<> {
    noun.fields.iter().filter(|field| RESPONSIBLE.contains(&field.name))
}

fn is_tags(field: &Field) -> bool {
    field.kind == Kind::Tags && field.name == "tags"
}

/// The filter, without what is none.
fn filtered(
    noun: &'static Noun,
    mut filter: Map<String, Json>,
    business: &Business,
    faults: &mut Faults,
) -> Map<String, Json> {
    let mut wrong = Vec::new();
    filter.retain(|name, _| {
        let is_filter = !WITHOUT.contains(&name.as_str());
        if !is_filter {
            let detail = format!("`{name}` says nothing of which rows are meant. Leave it out.");
            wrong.push(Fault::new(format!("/filter/{name}"), "unknown_parameter", detail));
        }
        is_filter
    });
    if let Err(Error::Malformed { faults: more, .. }) = List::of_filter(noun, &filter, business) {
        wrong.extend(more);
    }
    faults.part("", &wrong);
    filter
}

fn set(noun: &'static Noun, given: Option<Json>, business: &Business, faults: &mut Faults) -> Work {
    let members = match given {
        Some(Json::Object(members)) if !members.is_empty() => members,
        _ => {
            faults.field(
                "set",
                "required",
                "`set` is required: an object of the fields that every row is to have, with at least one.",
            );
            return Work::Delete;
        }
    };
    let unique = noun.keys().filter(|key| members.get(key.name).is_some_and(|value| !value.is_null()));
    for key in unique {
        let detail = format!("`{}` is unique, so several rows cannot have the same.", key.name);
        faults.field("set", "out_of_range", detail);
    }
    checked(noun, members, "/set", business, faults)
}

fn assign(noun: &'static Noun, members: &mut Map<String, Json>, business: &Business, faults: &mut Faults) -> Work {
    let fields: Vec<&Field> = responsible(noun).collect();
    let given: Map<String, Json> =
        fields.iter().filter_map(|field| Some((field.name.to_owned(), members.shift_remove(field.name)?))).collect();
    if given.is_empty() {
        let names = fields.iter().map(|field| field.name).collect::<Vec<_>>().join(" or ");
        let name = fields.first().map_or("assignee_id", |field| field.name);
        faults.field(name, "required", format!("{names} is required: the id of a member, or null for nobody."));
    }
    checked(noun, given, "", business, faults)
}

/// What is to be set, if it can be.
fn checked(
    noun: &'static Noun,
    members: Map<String, Json>,
    place: &str,
    business: &Business,
    faults: &mut Faults,
) -> Work {
    if let Err(wrong) = Change::of_item(noun, members.clone(), false, business) {
        faults.part(place, &wrong);
    }
    Work::Set(members)
}

fn tag(noun: &'static Noun, members: &mut Map<String, Json>, faults: &mut Faults) -> Work {
    // A list of none is as good as no list; what is no list at all is told as that.
    let given = ["add", "remove"].iter().any(|name| members.get(*name).is_some_and(|tags| *tags != json!([])));
    let kind = noun.field("tags").map_or(Kind::Tags, |field| field.kind);
    let mut read = |name: &str| match members.shift_remove(name) {
        None => Vec::new(),
        Some(given) => match body::value(kind, given, &Business::nowhere()) {
            Ok(crate::db::Value::Texts(tags)) => tags,
            Ok(_) => Vec::new(),
            Err((code, detail)) => {
                faults.field(name, code, format!("`{name}` {detail}"));
                Vec::new()
            }
        },
    };
    let (add, remove) = (read("add"), read("remove"));
    if add.is_empty() && remove.is_empty() && !given {
        faults.field("add", "required", "Give labels to `add`, to `remove`, or both.");
    } else if add.iter().any(|tag| remove.contains(tag)) {
        faults.field("remove", "out_of_range", "No label can be added and removed at once.");
    }
    Work::Tag { add, remove }
}
