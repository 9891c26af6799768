//! OpenAPI schemas of rows, and of parts of bodies that write a row limited to some of its fields.

use serde_json::Value as Json;
use utoipa::openapi::schema::{AdditionalProperties, AnyOfBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};

use super::examples::body_example;
use super::schemas;
use crate::resource::Resource;

/// A row of the resource.
pub fn row(resource: &Resource) -> RefOr<Schema> {
    schemas::row(resource).into()
}

/// The body that creates a row, limited to the fields that `keeps` selects.
pub fn creation(resource: &Resource, keeps: impl Fn(&str) -> bool) -> ObjectBuilder {
    limited(resource, true, keeps)
}

/// The body that changes a row, limited to the fields that `keeps` selects.
pub fn change(resource: &Resource, keeps: impl Fn(&str) -> bool) -> ObjectBuilder {
    limited(resource, false, keeps)
}

/// `{"id":…}` of a row that exists, or the body that creates one.
pub fn known_or_new(resource: &Resource) -> AnyOfBuilder {
    let new = Ref::from_schema_name(format!("{}Create", resource.schema));
    AnyOfBuilder::new().item(Ref::from_schema_name(schemas::ROW_REFERENCE)).item(new)
}

fn closed() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn limited(resource: &Resource, creates: bool, keeps: impl Fn(&str) -> bool) -> ObjectBuilder {
    let mut object = closed();
    for known in resource.writable_fields(creates).filter(|field| keeps(field.name)) {
        object = object.property(known.name, schemas::written(known, creates));
        if creates && known.required {
            object = object.required(known.name);
        }
    }
    let mut shown = body_example(resource, creates);
    if let Json::Object(members) = &mut shown {
        members.retain(|name, _| keeps(name));
    }
    object.examples([shown])
}
