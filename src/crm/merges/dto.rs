//! What a merge takes, and what merges and their reversions return.

use deserr::Deserr;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields::mergeable_fields;
use super::resource::MergeRow;
use crate::base::error::Result;
use crate::crm::companies::CompanyRow;
use crate::crm::contacts::ContactRow;
use crate::http::problem_schema::RowCounts;
use crate::resource::body::{BodyErrors, JsonObject};
use crate::resource::{Resource, Row, ValidationErrors, did_you_mean};

/// Rows that can be merged into one at once.
pub const MAX_MERGED: usize = 20;

/// The rows that go into another, and which values count.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "from": ["01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c72"] })))]
pub struct MergeRequest {
    /// The rows that go into this one, in the order in which their values count.
    #[deserr(default)]
    #[schema(value_type = Vec<Uuid>, min_items = 1, max_items = 20)]
    from: Json,
    /// By field, the id of the row whose value wins: this one, or one of `from`.
    #[deserr(default)]
    #[schema(value_type = Option<HashMap<String, Uuid>>)]
    prefer: Option<JsonObject>,
}

/// A validated merge.
pub struct RequestedMerge {
    /// The rows that go into the survivor.
    pub from: Vec<Uuid>,
    /// Fields, and the row whose value wins.
    pub prefer: Vec<(&'static str, Uuid)>,
}

impl MergeRequest {
    /// Validates it as a merge into `survivor`. Errors: 422, with those of `errors`.
    pub fn validate(
        self,
        resource: &'static Resource,
        survivor: Uuid,
        mut errors: ValidationErrors,
    ) -> Result<RequestedMerge> {
        let from = match self.from {
            Json::Array(items) if (1..=MAX_MERGED).contains(&items.len()) => ids(&items, survivor, &mut errors),
            _ => {
                let detail = format!("`from` is a list of 1 to {MAX_MERGED} ids of {}.", resource.plural);
                errors.field("from", "required", detail);
                Vec::new()
            }
        };
        let (mut prefer, mut wrong) = (Vec::new(), ValidationErrors::default());
        for (name, id) in self.prefer.map(|JsonObject(members)| members).unwrap_or_default() {
            let mut error = |code, detail: String| wrong.field(&name, code, detail);
            let Some(field) = mergeable_fields(resource).find(|field| field.name == name) else {
                let hint = did_you_mean(&name, mergeable_fields(resource).map(|field| field.name));
                let united = ["tags", "metadata"].contains(&name.as_str());
                let hint = if united { " They are united." } else { &hint };
                error("unknown_field", format!("No row's `{name}` can be preferred.{hint}"));
                continue;
            };
            match id.as_str().and_then(|id| Uuid::try_parse(id).ok()) {
                Some(id) if id == survivor || from.contains(&id) => prefer.push((field.name, id)),
                _ => error("format", format!("`{name}` takes the id of the survivor, or one of `from`.")),
            }
        }
        errors.member("prefer", wrong.into_result())?;
        errors.into_result()?;
        Ok(RequestedMerge { from, prefer })
    }
}

fn ids(items: &[Json], survivor: Uuid, errors: &mut ValidationErrors) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let mut error = |code, detail: &str| errors.add(format!("/from/{place}"), code, detail);
        match item.as_str().and_then(|text| Uuid::try_parse(text).ok()) {
            None => error("format", "Each id is a UUID."),
            Some(id) if id == survivor => error("survivor", "A row cannot be merged into itself."),
            Some(id) if ids.contains(&id) => error("duplicate", "This id is there already."),
            Some(id) => ids.push(id),
        }
    }
    ids
}

/// A merge that was done: its id, its record, and the row that is left.
pub struct Merged {
    pub id: Uuid,
    pub merge: Row,
    pub survivor: Row,
}

/// Contacts that became one.
#[derive(Serialize, ToSchema)]
pub struct ContactMerge {
    /// What was done.
    pub merge: MergeRow,
    /// The contact that is left.
    pub contact: ContactRow,
}

/// Companies that became one.
#[derive(Serialize, ToSchema)]
pub struct CompanyMerge {
    /// What was done.
    pub merge: MergeRow,
    /// The company that is left.
    pub company: CompanyRow,
}

/// A merge that was undone.
#[derive(Serialize, ToSchema)]
pub struct MergeReversion {
    /// The merge as it is now.
    pub merge: MergeRow,
    /// The contact that they were.
    #[schema(required = true)]
    pub contact: Option<ContactRow>,
    /// The company that they were.
    #[schema(required = true)]
    pub company: Option<CompanyRow>,
    pub kept: NotUndone,
}

/// What could not be undone, and stays unchanged.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "fields": ["title"], "rows": { "leads": 1 } })))]
pub struct NotUndone {
    /// Fields that someone has changed since.
    pub fields: Vec<String>,
    /// How many rows of a resource lead elsewhere now, or are gone.
    #[schema(value_type = RowCounts)]
    pub rows: Map<String, Json>,
}
