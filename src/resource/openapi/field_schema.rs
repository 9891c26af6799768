//! OpenAPI schemas of fields, from their types.

use serde_json::json;
use utoipa::openapi::schema::{
    AnyOfBuilder, ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};

use super::names;
use crate::http::openapi_responses;
use crate::resource::Resource;
use crate::resource::field::{Field, FieldType, MAX_HOURS, Mutability, SAFE_INTEGER};

/// The schema of a client's own JSON object.
pub(super) const JSON_OBJECT: &str = "JsonObject";

/// The schema of an entry of the hours of a day.
pub(super) const DAY_HOURS: &str = "DayHours";

/// The schema of the field `metadata`, which most resources have.
pub(super) const METADATA: &str = "Metadata";
const METADATA_FIELD: &str = "metadata";

/// Returns the schema of a value of the field type, as a body or a parameter takes it.
pub(super) fn value_schema(kind: FieldType) -> ObjectBuilder {
    let string = || ObjectBuilder::new().schema_type(Type::String);
    let format = |format| string().format(Some(SchemaFormat::KnownFormat(format)));
    match kind {
        FieldType::Uuid => string().format(Some(SchemaFormat::Custom("uuid".to_owned()))),
        // Not blank.
        FieldType::Text { min: 1, max } => string().max_length(Some(max)).pattern(Some(r"\S")),
        FieldType::Text { min: min @ 2.., max } => {
            string().min_length(Some(min)).max_length(Some(max)).pattern(Some(r"\S"))
        }
        FieldType::Secret { min, max } => string().min_length(Some(min)).max_length(Some(max)).pattern(Some(r"\S")),
        FieldType::Text { min, max } => string().min_length(Some(min)).max_length(Some(max)),
        FieldType::Domain => string().max_length(Some(253)).pattern(Some(
            r"^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)+[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$",
        )),
        FieldType::Choice(among) => string().enum_values(Some(among.iter().copied())),
        FieldType::Email => string()
            .max_length(Some(254))
            .pattern(Some(r"^[^@\s\x00-\x1f\x7f-\x9f]+@([^@\s.\x00-\x1f\x7f-\x9f]+\.)+[^@\s.\x00-\x1f\x7f-\x9f]+$")),
        FieldType::Phone => string()
            .pattern(Some(r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]{0,48}[^\s\x00-\x1f\x7f-\x9f]$"))
            .min_length(Some(2))
            .max_length(Some(50)),
        FieldType::Int { min, max } => integer(min, max),
        FieldType::Bool => ObjectBuilder::new().schema_type(Type::Boolean),
        FieldType::Time => format(KnownFormat::DateTime),
        FieldType::Date => format(KnownFormat::Date),
        // Only existing names are valid: the list is IANA's, too long to print.
        FieldType::Zone => string().pattern(Some("^[A-Za-z0-9_+/-]+$")),
        FieldType::Currency => string().pattern(Some("^[A-Z]{3}$")),
        FieldType::Country => string().pattern(Some("^[A-Z]{2}$")),
        FieldType::Decimal => string().pattern(Some(r"^[0-9]{1,8}(\.[0-9]{1,6})?$")),
        FieldType::Tags | FieldType::Hours | FieldType::Object => ObjectBuilder::new().schema_type(Type::Object),
    }
}

pub(super) fn integer(min: i64, max: i64) -> ObjectBuilder {
    // Beyond these bounds a double rounds, also in readers of the document.
    let (min, max) = (min.max(-SAFE_INTEGER), max.min(SAFE_INTEGER));
    openapi_responses::integer(min, max).minimum(Some(min as f64)).maximum(Some(max as f64))
}

pub(super) fn text(min: usize, max: usize) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(min)).max_length(Some(max)).build().into()
}

/// Returns a field's schema in a row.
pub(super) fn shown(resource: &Resource, field: &Field) -> RefOr<Schema> {
    described(field, false, own_choice(resource, field), &about(field))
}

/// Returns a field's schema in a body. A default applies to a new row: in a patch, and in an upsert that matches a row,
/// absent fields stay unchanged.
pub(super) fn set(resource: &Resource, field: &Field, creates: bool) -> RefOr<Schema> {
    described(field, true, own_choice(resource, field), &about_set(field, creates))
}

/// Returns the schema of a field that a change does not set.
pub(super) fn repeated(resource: &Resource, field: &Field) -> RefOr<Schema> {
    let about = match field.mutability {
        Mutability::Once => "Set once.",
        _ => "Read-only.",
    };
    described(field, false, own_choice(resource, field), about)
}

/// As [`set`], of a field whose resource is not known here.
pub(super) fn written(field: &Field, creates: bool) -> RefOr<Schema> {
    described(field, true, any_choice(field), &about_set(field, creates))
}

/// Returns the choices of the field as a component schema.
pub(super) fn choices(field: &Field) -> Schema {
    let about = Some(field.description).filter(|_| !names::is_shared(field));
    value_schema(field.field_type).description(about).build().into()
}

fn own_choice(resource: &Resource, field: &Field) -> Option<String> {
    matches!(field.field_type, FieldType::Choice(_)).then(|| names::choice(resource, field))
}

fn any_choice(field: &Field) -> Option<String> {
    match field.field_type {
        FieldType::Choice(among) => names::known_choice(among),
        _ => None,
    }
}

/// Returns the schema of a field; `choice` is the name of the schema of its choices.
fn described(field: &Field, writing: bool, choice: Option<String>, about: &str) -> RefOr<Schema> {
    let some_about = Some(about).filter(|about| !about.is_empty());
    match (field.field_type, choice) {
        (FieldType::Object, _) if field.name == METADATA_FIELD => RefOr::Ref(Ref::from_schema_name(METADATA)),
        (FieldType::Object, _) => named(JSON_OBJECT, field.nullable, about),
        (FieldType::Choice(_), Some(name)) => {
            // The choices themselves have the field's description, unless several fields share them.
            let known = !names::is_shared(field) && !field.nullable && about == field.description;
            named(&name, field.nullable, if known { "" } else { about })
        }
        (FieldType::Tags, _) => {
            let tags = ArrayBuilder::new().items(RefOr::T(text(1, 50))).max_items(Some(50)).description(some_about);
            let tags = match field.nullable {
                true => tags.schema_type(SchemaType::from_iter([Type::Array, Type::Null])),
                false => tags,
            };
            RefOr::T(Schema::Array(tags.build()))
        }
        (FieldType::Hours, _) => {
            let items = RefOr::Ref(Ref::from_schema_name(DAY_HOURS));
            let hours = ArrayBuilder::new().items(items).max_items(Some(MAX_HOURS)).description(some_about);
            RefOr::T(Schema::Array(hours.build()))
        }
        (kind, _) => {
            // A response may hold values that were written under older rules.
            let schema = if writing { value_schema(kind) } else { unlimited(value_schema(kind)) };
            let schema = if field.nullable { nullable(schema, kind) } else { schema };
            RefOr::T(schema.description(some_about).build().into())
        }
    }
}

/// Leaves of a value's schema its type and format.
fn unlimited(schema: ObjectBuilder) -> ObjectBuilder {
    let value = schema.build();
    ObjectBuilder::new().schema_type(value.schema_type).format(value.format).enum_values(value.enum_values)
}

/// Returns a reference to the schema `name`, or that or null.
pub(super) fn named(name: &str, or_null: bool, about: &str) -> RefOr<Schema> {
    let mut reference = Ref::from_schema_name(name);
    if or_null {
        let null = ObjectBuilder::new().schema_type(Type::Null);
        let about = Some(about).filter(|about| !about.is_empty());
        return Schema::AnyOf(AnyOfBuilder::new().item(reference).item(null).description(about).build()).into();
    }
    reference.description = about.to_owned();
    RefOr::Ref(reference)
}

/// What a field of a body is. That of a change has the row's descriptions.
fn about_set(field: &Field, creates: bool) -> String {
    match field.default {
        _ if !creates => String::new(),
        Some(_) if field.field_type == FieldType::Time => format!("{} A new row's default: now.", about(field)),
        Some(default) => format!("{} A new row's default: `{default}`.", about(field)),
        None => about(field),
    }
}

/// A field's description, with what holds for all of its type.
fn about(field: &Field) -> String {
    match (field.field_type, field.currency) {
        (FieldType::Currency, _) => format!("{} ISO 4217.", field.description),
        (FieldType::Country, _) => format!("{} ISO 3166-1 alpha-2.", field.description),
        (FieldType::Int { .. }, Some(currency)) => format!("{} Minor units of `{currency}`.", field.description),
        _ => field.description.to_owned(),
    }
}

fn nullable(schema: ObjectBuilder, kind: FieldType) -> ObjectBuilder {
    let base = match kind {
        FieldType::Int { .. } => Type::Integer,
        FieldType::Bool => Type::Boolean,
        _ => Type::String,
    };
    let schema = schema.schema_type(SchemaType::from_iter([base, Type::Null]));
    match kind {
        FieldType::Choice(among) => {
            schema.enum_values(Some(among.iter().map(|choice| json!(choice)).chain([serde_json::Value::Null])))
        }
        _ => schema,
    }
}
