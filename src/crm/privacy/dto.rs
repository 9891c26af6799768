//! What the export and the erasure of a contact take and return.

use deserr::Deserr;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::data_subject;
use crate::http::problem_schema::RowCounts;
use crate::identity::businesses::ERASURE_MODES;
use crate::resource::FieldType;
use crate::resource::body::{BodyErrors, value_type};

value_type! {
    /// `anonymise` keeps rows for the figures, `delete` nothing.
    pub ErasureMode(String): FieldType::Choice(ERASURE_MODES), r#""anonymise""#;
}

/// How a contact is forgotten.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "mode": "anonymise" })))]
pub struct ErasureRequest {
    /// As the business has it, when left out.
    #[deserr(default)]
    pub mode: Option<ErasureMode>,
}

/// A contact that was forgotten.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "mode": "anonymise", "rows": { "contacts": 1, "leads": 2, "messages": 31 } })))]
pub struct Erasure {
    /// What was done.
    #[schema(value_type = ErasureMode)]
    pub mode: String,
    /// How many rows of each resource.
    #[schema(value_type = RowCounts)]
    pub rows: Map<String, Json>,
}

/// Everything about a contact.
pub struct ContactExport;

impl PartialSchema for ContactExport {
    fn schema() -> RefOr<Schema> {
        let about = "Every row about a contact, by resource, deleted ones too.";
        let object = ObjectBuilder::new().schema_type(Type::Object).description(Some(about));
        let rows = |schema| ArrayBuilder::new().items(Ref::from_schema_name(schema));
        let all = data_subject::resources().into_iter().fold(object, |object, resource| {
            object.property(resource.plural, rows(resource.schema)).required(resource.plural)
        });
        all.into()
    }
}

impl ToSchema for ContactExport {}
