//! What the search for duplicates takes and returns.

use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::score::MatchReason;
use crate::crm::companies::{COMPANIES, CompanyRow};
use crate::crm::contacts::{CONTACTS, ContactRow};
use crate::resource::body::value_type;
use crate::resource::{Field, FieldType, Mutability, Resource, openapi};

/// Rows in a response at most.
pub const SHOWN: i64 = 20;

value_type! {
    /// A row that is there, instead of the fields of one.
    pub KnownRow(Uuid): FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#;
    /// How many rows at most. Default: `20`.
    pub DuplicateLimit(i64): FieldType::Int { min: 1, max: SHOWN }, "5";
}

/// The fields by which duplicates are searched for.
pub fn fields(resource: &'static Resource) -> impl Iterator<Item = &'static Field> {
    resource.fields.iter().filter(|field| field.mutability == Mutability::Always)
}

/// A contact that could be made, or one that is there.
pub struct ContactDuplicateSearch;

impl PartialSchema for ContactDuplicateSearch {
    fn schema() -> RefOr<Schema> {
        search_schema(&CONTACTS)
    }
}

impl ToSchema for ContactDuplicateSearch {}

/// A company that could be made, or one that is there.
pub struct CompanyDuplicateSearch;

impl PartialSchema for CompanyDuplicateSearch {
    fn schema() -> RefOr<Schema> {
        search_schema(&COMPANIES)
    }
}

impl ToSchema for CompanyDuplicateSearch {}

fn search_schema(resource: &'static Resource) -> RefOr<Schema> {
    let about = format!("A {} that could be made, or the `id` of one that is there.", resource.name);
    openapi::change(resource, |_| true)
        .property("id", openapi::or_null(KnownRow::schema()))
        .property("limit", openapi::or_null(DuplicateLimit::schema()))
        .description(Some(about))
        .into()
}

/// Contacts that could be the same, the likeliest first.
#[derive(Serialize, ToSchema)]
pub struct ContactDuplicates {
    #[schema(max_items = 20)]
    pub data: Vec<ContactDuplicate>,
}

/// A contact that could be the same.
#[derive(Serialize, ToSchema)]
pub struct ContactDuplicate {
    pub contact: ContactRow,
    /// How likely they are the same, from 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub score: f64,
    /// What they have in common.
    pub reasons: Vec<MatchReason>,
}

/// Companies that could be the same, the likeliest first.
#[derive(Serialize, ToSchema)]
pub struct CompanyDuplicates {
    #[schema(max_items = 20)]
    pub data: Vec<CompanyDuplicate>,
}

/// A company that could be the same.
#[derive(Serialize, ToSchema)]
pub struct CompanyDuplicate {
    pub company: CompanyRow,
    /// How likely they are the same, from 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub score: f64,
    /// What they have in common.
    pub reasons: Vec<MatchReason>,
}
