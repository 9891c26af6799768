//! OpenAPI descriptions of bodies and responses composed of several parts: rows, bodies of rows, lists.

use serde_json::{Map, Value as Json, json};
use utoipa::openapi::schema::{AdditionalProperties, AnyOfBuilder, ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};

use super::examples::{body_example, example, row_example};
use super::schemas::{self, value_schema};
use crate::http::openapi_responses::reference;
use crate::resource::{Field, FieldType, Resource};

/// A member of a body or a response.
#[derive(Clone, Copy)]
pub struct Part {
    pub name: &'static str,
    pub about: &'static str,
    pub needed: bool,
    pub shape: Shape,
}

#[derive(Clone, Copy)]
pub enum Shape {
    /// As the field describes it.
    Field(&'static Field),
    /// A number from 0 to 1.
    Number(&'static Field),
    /// An object of these fields.
    Object(&'static [Field]),
    /// A create body of the resource, limited to the fields that the function keeps; and other parts.
    Creates(&'static Resource, fn(&str) -> bool, &'static [Part]),
    /// An update body of the resource, limited to the fields that the function keeps.
    Changes(&'static Resource, fn(&str) -> bool),
    /// `{"id":…}`, or a create body of the resource.
    Either(&'static Resource),
    /// A row; nullable unless it is needed.
    Row(&'static Resource),
    /// At most this many ids.
    Ids(usize),
    /// Ids by name.
    Choices,
    /// A list of objects with these parts.
    List(&'static [Part]),
}

impl Part {
    pub const fn new(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { name, about, needed: false, shape }
    }

    pub const fn needed(mut self) -> Self {
        self.needed = true;
        self
    }
}

/// Returns the schema of an object with `parts`, and an example of it.
pub(super) fn object(parts: &[Part], writing: bool) -> (Schema, Json) {
    let mut schema = ObjectBuilder::new().schema_type(Type::Object);
    if writing {
        schema = schema.additional_properties(Some(AdditionalProperties::FreeForm(false)));
    }
    let mut example = Map::new();
    for part in parts {
        let (shape, shown) = shape(part, writing);
        schema = schema.property(part.name, shape);
        if part.needed || !writing {
            schema = schema.required(part.name);
        }
        example.insert(part.name.to_owned(), shown);
    }
    (schema.build().into(), example.into())
}

fn shape(part: &Part, writing: bool) -> (RefOr<Schema>, Json) {
    let about = Some(part.about);
    match part.shape {
        Shape::Field(field) => (schemas::field(field, writing).into(), example(field.example)),
        Shape::Number(field) => {
            let number = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0.0)).maximum(Some(1.0));
            let number = number.description(Some(field.description)).examples([example(field.example)]);
            (Schema::from(number.build()).into(), example(field.example))
        }
        Shape::Object(fields) => {
            let shown: Map<String, Json> =
                fields.iter().map(|field| (field.name.to_owned(), example(field.example))).collect();
            let object = fields.iter().fold(ObjectBuilder::new().schema_type(Type::Object), |object, field| {
                object.property(field.name, schemas::field(field, writing)).required(field.name)
            });
            (Schema::from(object.description(about).build()).into(), shown.into())
        }
        Shape::Creates(resource, keeps, parts) => {
            let (object, mut shown) = of_resource(resource, true, keeps);
            let object = parts.iter().fold(object, |object, part| {
                let (schema, inner) = shape(part, writing);
                shown[part.name] = inner;
                object.property(part.name, schema)
            });
            (Schema::from(object.description(about).build()).into(), shown)
        }
        Shape::Changes(resource, keeps) => {
            let (object, shown) = of_resource(resource, false, keeps);
            (Schema::from(object.description(about).build()).into(), shown)
        }
        Shape::Either(resource) => {
            let known = ObjectBuilder::new()
                .schema_type(Type::Object)
                .additional_properties(Some(AdditionalProperties::FreeForm(false)))
                .property("id", value_schema(FieldType::Uuid))
                .required("id");
            let either = AnyOfBuilder::new().item(known).item(reference(&format!("{}Create", resource.schema)));
            (Schema::AnyOf(either.description(about).build()).into(), body_example(resource, true))
        }
        Shape::Row(resource) => {
            let null = ObjectBuilder::new().schema_type(Type::Null);
            let row = RefOr::Ref(Ref::from_schema_name(resource.schema));
            let schema = match part.needed {
                true => row,
                false => Schema::AnyOf(AnyOfBuilder::new().item(row).item(null).description(about).build()).into(),
            };
            (schema, row_example(resource))
        }
        Shape::Ids(most) => {
            let ids = ArrayBuilder::new().items(value_schema(FieldType::Uuid)).max_items(Some(most)).description(about);
            let ids = if writing { ids.min_items(Some(1)) } else { ids };
            (Schema::Array(ids.build()).into(), json!([AN_ID]))
        }
        Shape::Choices => {
            let values = RefOr::T(Schema::from(value_schema(FieldType::Uuid).build()));
            let object = ObjectBuilder::new()
                .schema_type(Type::Object)
                .additional_properties(Some(AdditionalProperties::RefOr(values)));
            (Schema::from(object.description(about).build()).into(), json!({}))
        }
        Shape::List(parts) => {
            let (item, shown) = object(parts, writing);
            let list = ArrayBuilder::new().items(RefOr::T(item)).description(about);
            (Schema::Array(list.build()).into(), json!([shown]))
        }
    }
}

const AN_ID: &str = "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c72";

fn of_resource(resource: &'static Resource, creates: bool, keeps: fn(&str) -> bool) -> (ObjectBuilder, Json) {
    let mut object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
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
    (object, shown)
}
