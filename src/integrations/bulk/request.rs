//! A bulk request: which rows to change and how; parsed from the HTTP body, and restored from the input of its job.

use serde_json::{Map, Value as Json, json};

use crate::auth::{Action, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::resource::list_query::List;
use crate::resource::{Changeset, Field, FieldType, Resource, ValidationErrors, body, did_you_mean, registry};

pub const ACTIONS: [&str; 4] = ["update", "assign", "tag", "delete"];
/// Fields that reference the member responsible for a row.
pub const RESPONSIBLE: [&str; 2] = ["assignee_id", "owner_id"];
/// List query parameters that a bulk filter does not accept.
pub const WITHOUT: [&str; 8] = ["sort", "limit", "cursor", "include", "fields", "count", "deleted", "highlight"];

/// Those of `resources` that have bulk operations: those with batch writes.
pub fn with_bulk(resources: &'static [&'static Resource]) -> impl Iterator<Item = &'static Resource> {
    resources.iter().copied().filter(|resource| resource.operations.batch)
}

/// The selected rows and the action on them.
#[derive(Clone, Debug)]
pub struct BulkRequest {
    pub resource: &'static Resource,
    rows: Rows,
    pub action: BulkAction,
    /// JSON pointer to the values to set in the request body: `/set`, or empty.
    pub place: &'static str,
    pub dry_run: bool,
}

/// How the rows are selected.
#[derive(Clone, Debug)]
enum Rows {
    /// List filters as given; several values of one filter are an array.
    Filter(Map<String, Json>),
    /// The same, stored by a release that read a string as comma-separated values.
    CommaFilter(Map<String, Json>),
    /// The query string of the list, as jobs of an older release stored it.
    Query(String),
}

#[derive(Clone, Debug, PartialEq)]
pub enum BulkAction {
    /// Sets these fields.
    Set(Map<String, Json>),
    /// Adds and removes tags.
    Tag {
        add: Vec<String>,
        remove: Vec<String>,
    },
    Delete,
}

impl BulkRequest {
    /// Parses `{"action":…,"filter":{…},…}`. Errors: 400 when the body is no object; 422 with every validation error.
    pub fn read(resource: &'static Resource, body: Json, business: &TenantSettings) -> Result<Self> {
        let Json::Object(mut members) = body else {
            return Err(Error::malformed("not_an_object", "The body must be a JSON object."));
        };
        let mut faults = ValidationErrors::default();
        let actions = actions(resource);
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
            Some(Json::Object(filter)) => filtered(resource, filter, business, &mut faults),
            _ => {
                let detail = "`filter` is required: an object of the parameters that a list takes, such as \
                              {\"status\":\"new\"} or {\"status\":[\"new\",\"won\"]}. {} is all rows.";
                faults.field("filter", "required", detail);
                Map::new()
            }
        };
        let work = match action {
            Some("update") => set(resource, members.shift_remove("set"), business, &mut faults),
            Some("assign") => assign(resource, &mut members, business, &mut faults),
            Some("tag") => tag(resource, &mut members, &mut faults),
            _ => BulkAction::Delete,
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
        Ok(Self { resource, rows: Rows::Filter(rows), action: work, place, dry_run })
    }

    /// Returns the permission that the action requires.
    pub fn needs(&self) -> Action {
        if self.action == BulkAction::Delete { Action::Delete } else { Action::Write }
    }

    /// Returns the selection as a list query.
    pub fn list(&self, business: &TenantSettings) -> Result<List> {
        match &self.rows {
            Rows::Filter(filter) => List::of_filter(self.resource, filter, business),
            Rows::CommaFilter(filter) => List::of_comma_filter(self.resource, filter, business),
            Rows::Query(query) => List::parse(self.resource, query, business),
        }
    }

    /// Returns the changeset for every row; `None` unless the action sets fields.
    pub fn change(&self, business: &TenantSettings) -> Result<Option<Changeset>> {
        match &self.action {
            BulkAction::Set(members) => {
                Changeset::of_item(self.resource, members.clone(), false, business).map(Some).map_err(Error::Invalid)
            }
            _ => Ok(None),
        }
    }

    /// Serializes the request as job input.
    pub fn kept(&self) -> Json {
        let work = match &self.action {
            BulkAction::Set(members) => json!({ "set": members }),
            BulkAction::Tag { add, remove } => json!({ "add": add, "remove": remove }),
            BulkAction::Delete => json!({ "delete": true }),
        };
        let mut kept = json!({ "resource": self.resource.plural, "work": work });
        match &self.rows {
            Rows::Filter(filter) => kept["filter"] = as_lists(filter).into(),
            Rows::CommaFilter(filter) => kept["filter"] = json!(filter),
            Rows::Query(query) => kept["query"] = json!(query),
        }
        kept
    }

    /// Restores the request from job input; `None` when this version cannot read it.
    pub fn of_job(kept: &Json) -> Option<Self> {
        let resource = with_bulk(registry::all()).find(|resource| kept["resource"] == resource.plural)?;
        let texts = |list: &Json| -> Option<Vec<String>> {
            list.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let work = &kept["work"];
        let work = match (work.get("set"), work.get("add")) {
            (Some(Json::Object(members)), _) => BulkAction::Set(members.clone()),
            (None, Some(add)) => BulkAction::Tag { add: texts(add)?, remove: texts(&work["remove"])? },
            _ if work["delete"] == true => BulkAction::Delete,
            _ => return None,
        };
        let rows = match &kept["filter"] {
            // This release stores strings only inside arrays.
            Json::Object(filter) if filter.values().any(Json::is_string) => Rows::CommaFilter(filter.clone()),
            Json::Object(filter) => Rows::Filter(filter.clone()),
            _ => Rows::Query(kept["query"].as_str()?.to_owned()),
        };
        Some(Self { resource, rows, action: work, place: "", dry_run: false })
    }
}

/// Wraps each string of `filter` in an array of one, so that every release, including a worker of the previous one,
/// reads it as one value.
fn as_lists(filter: &Map<String, Json>) -> Map<String, Json> {
    let as_list = |value: &Json| if value.is_string() { json!([value]) } else { value.clone() };
    filter.iter().map(|(name, value)| (name.clone(), as_list(value))).collect()
}

/// Returns the actions that the resource supports.
pub fn actions(resource: &Resource) -> Vec<&'static str> {
    let has = |action: &str| match action {
        "assign" => responsible(resource).next().is_some(),
        "tag" => resource.fields.iter().any(is_tags),
        _ => true,
    };
    ACTIONS.into_iter().filter(|action| has(action)).collect()
}

pub fn responsible(resource: &Resource) -> impl Iterator<Item = &'static Field> + use<> {
    resource.fields.iter().filter(|field| RESPONSIBLE.contains(&field.name))
}

fn is_tags(field: &Field) -> bool {
    field.field_type == FieldType::Tags && field.name == "tags"
}

/// Validates the filter. Removes parameters that are no filters, each with a validation error.
fn filtered(
    resource: &'static Resource,
    mut filter: Map<String, Json>,
    business: &TenantSettings,
    faults: &mut ValidationErrors,
) -> Map<String, Json> {
    let mut wrong = Vec::new();
    filter.retain(|name, _| {
        let is_filter = !WITHOUT.contains(&name.as_str());
        if !is_filter {
            let detail = format!("`{name}` says nothing of which rows are meant. Leave it out.");
            wrong.push(FieldError::new(format!("/filter/{name}"), "unknown_parameter", detail));
        }
        is_filter
    });
    if let Err(Error::Malformed { faults: more, .. }) = List::of_filter(resource, &filter, business) {
        wrong.extend(more);
    }
    faults.part("", &wrong);
    filter
}

fn set(
    resource: &'static Resource,
    given: Option<Json>,
    business: &TenantSettings,
    faults: &mut ValidationErrors,
) -> BulkAction {
    let members = match given {
        Some(Json::Object(members)) if !members.is_empty() => members,
        _ => {
            faults.field(
                "set",
                "required",
                "`set` is required: an object of the fields that every row is to have, with at least one.",
            );
            return BulkAction::Delete;
        }
    };
    let unique = resource.unique_fields().filter(|key| members.get(key.name).is_some_and(|value| !value.is_null()));
    for key in unique {
        let detail = format!("`{}` is unique, so several rows cannot have the same.", key.name);
        faults.field("set", "out_of_range", detail);
    }
    checked(resource, members, "/set", business, faults)
}

fn assign(
    resource: &'static Resource,
    members: &mut Map<String, Json>,
    business: &TenantSettings,
    faults: &mut ValidationErrors,
) -> BulkAction {
    let fields: Vec<&Field> = responsible(resource).collect();
    let given: Map<String, Json> =
        fields.iter().filter_map(|field| Some((field.name.to_owned(), members.shift_remove(field.name)?))).collect();
    if given.is_empty() {
        let names = fields.iter().map(|field| field.name).collect::<Vec<_>>().join(" or ");
        let name = fields.first().map_or("assignee_id", |field| field.name);
        faults.field(name, "required", format!("{names} is required: the id of a member, or null for nobody."));
    }
    checked(resource, given, "", business, faults)
}

/// Validates the fields to set; errors point below `place`.
fn checked(
    resource: &'static Resource,
    members: Map<String, Json>,
    place: &str,
    business: &TenantSettings,
    faults: &mut ValidationErrors,
) -> BulkAction {
    match Changeset::of_item(resource, members.clone(), false, business) {
        Err(wrong) => faults.part(place, &wrong),
        // A row can repeat what it has of itself; many rows cannot.
        Ok(change) => change.repeated().iter().for_each(|(field, _)| {
            let detail = format!("`{}` is not a field that a change sets. Leave it out.", field.name);
            faults.add(format!("{place}/{}", field.name), "read_only", detail);
        }),
    }
    BulkAction::Set(members)
}

fn tag(resource: &'static Resource, members: &mut Map<String, Json>, faults: &mut ValidationErrors) -> BulkAction {
    // An empty list counts as missing. Any other value counts as given; if it is no list, only its type error is
    // reported.
    let given = ["add", "remove"].iter().any(|name| members.get(*name).is_some_and(|tags| *tags != json!([])));
    let kind = resource.field("tags").map_or(FieldType::Tags, |field| field.field_type);
    let mut read = |name: &str| match members.shift_remove(name) {
        None => Vec::new(),
        Some(given) => match body::value(kind, given, &TenantSettings::nowhere()) {
            Ok(crate::db::SqlValue::Texts(tags)) => tags,
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
    BulkAction::Tag { add, remove }
}
