//! OpenAPI schemas of the values in bodies other than those of resources.

use utoipa::openapi::schema::{AdditionalProperties, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::examples::example;
use super::schemas::value_schema;
use crate::resource::field::FieldType;

/// Returns the schema of one of a closed set of texts.
pub fn choice(among: &'static [&'static str]) -> ObjectBuilder {
    value_schema(FieldType::Choice(among))
}

/// Returns the schema of a value of the field type, with a description and an example as JSON.
pub fn value(kind: FieldType, about: &str, example_json: &str) -> RefOr<Schema> {
    let schema = value_schema(kind).description(Some(about.trim())).examples([example(example_json)]);
    Schema::from(schema.build()).into()
}

/// The schema of a value, or null.
pub fn or_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::Object(mut value)) => {
            if let SchemaType::Type(kind) = value.schema_type {
                value.schema_type = SchemaType::from_iter([kind, Type::Null]);
            }
            RefOr::T(Schema::Object(value))
        }
        other => other,
    }
}

/// Any JSON object, for members whose own members are not described.
pub struct JsonObject;

impl PartialSchema for JsonObject {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .description(Some("Any JSON object."))
            .into()
    }
}

impl ToSchema for JsonObject {}
