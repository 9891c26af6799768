//! OpenAPI schemas of a resource: its row, its bodies, its page.

use serde_json::{Value as Json, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType,
    Type,
};

use super::examples::{body_example, capital, example, row_example, spaced};
use crate::http::openapi_responses::{self, reference, with_default};
use crate::resource::field::{Field, FieldType, SAFE_INTEGER};
use crate::resource::{Cardinality, Resource, iso_codes, relation};

/// Returns the schema of a value of the field type, as a body or a parameter takes it.
pub(super) fn value_schema(kind: FieldType) -> ObjectBuilder {
    let string = || ObjectBuilder::new().schema_type(Type::String);
    let format = |format| string().format(Some(SchemaFormat::KnownFormat(format)));
    match kind {
        FieldType::Uuid => string().format(Some(SchemaFormat::Custom("uuid".to_owned()))),
        // Not blank.
        FieldType::Text { min: min @ 1.., max } => {
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
        FieldType::Zone => string().enum_values(Some(["UTC", "Europe/Berlin"])),
        FieldType::Currency => string().pattern(Some("^[A-Z]{3}$")),
        FieldType::Country => string().pattern(Some("^[A-Z]{2}$")),
        FieldType::Decimal => string().pattern(Some(r"^[0-9]{1,8}(\.[0-9]{1,6})?$")),
        FieldType::Tags | FieldType::Object => ObjectBuilder::new()
            .schema_type(Type::Object)
            .additional_properties(Some(AdditionalProperties::FreeForm(true))),
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

/// Returns a field's schema in a response, or in a body in which an absent field has its default.
pub(super) fn field(field: &Field, writing: bool) -> Schema {
    match field.default.filter(|_| writing) {
        Some(default) => described(field, writing, &with_default(&about(field), default)),
        None => described(field, writing, &about(field)),
    }
}

fn described(field: &Field, writing: bool, about: &str) -> Schema {
    if field.field_type == FieldType::Tags {
        let tags = ArrayBuilder::new().items(RefOr::T(text(1, 50))).max_items(Some(50)).description(Some(about));
        // A body has a list, or leaves the field out.
        let or_null = if field.nullable && !writing { vec![Type::Array, Type::Null] } else { vec![Type::Array] };
        let tags = tags.schema_type(SchemaType::from_iter(or_null));
        return Schema::Array(tags.examples([example(field.example)]).build());
    }
    let mut schema = match field.field_type {
        // A response may hold values that were written under older rules.
        FieldType::Text { max, .. } if !writing => ObjectBuilder::new().schema_type(Type::String).max_length(Some(max)),
        FieldType::Email | FieldType::Phone | FieldType::Domain if !writing => {
            ObjectBuilder::new().schema_type(Type::String)
        }
        FieldType::Zone => ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[A-Za-z0-9_+/-]+$")),
        kind => value_schema(kind),
    };
    if field.field_type == FieldType::Zone && writing {
        // Only existing names are valid: the list is IANA's, too long to print.
        schema = schema.description(Some(about));
    }
    if field.nullable {
        schema = nullable(schema, field.field_type);
    }
    schema.description(Some(about)).examples([example(field.example)]).build().into()
}

/// Returns a field's schema in a body. A default applies to a new row: in a patch, and in an upsert that matches a row,
/// absent fields stay unchanged.
pub(super) fn written(known: &Field, creates: bool) -> Schema {
    match known.default.filter(|_| creates) {
        Some(_) if known.field_type == FieldType::Time => {
            described(known, true, &format!("{} A new row's default: now.", about(known)))
        }
        Some(default) => described(known, true, &format!("{} A new row's default: `{default}`.", about(known))),
        None => described(known, true, &about(known)),
    }
}

/// A field's description, with what holds for all of its type.
fn about(field: &Field) -> String {
    match (field.field_type, field.currency) {
        (FieldType::Currency, _) => format!("{} {}", field.description, iso_codes::about_minor_units()),
        (FieldType::Country, _) => format!("{} ISO 3166-1 alpha-2.", field.description),
        (FieldType::Int { .. }, Some(currency)) => format!(
            "{} How many of these one unit has is said by the currency in `{currency}`: 1250 is 12.50 EUR, 1250 JPY or 1.250 KWD.",
            field.description
        ),
        _ => field.description.to_owned(),
    }
}

pub(super) fn nullable(schema: ObjectBuilder, kind: FieldType) -> ObjectBuilder {
    let base = match kind {
        FieldType::Int { .. } => Type::Integer,
        FieldType::Bool => Type::Boolean,
        FieldType::Object => Type::Object,
        _ => Type::String,
    };
    let schema = schema.schema_type(SchemaType::from_iter([base, Type::Null]));
    match kind {
        FieldType::Choice(among) => {
            schema.enum_values(Some(among.iter().map(|choice| json!(choice)).chain([Json::Null])))
        }
        _ => schema,
    }
}

pub(super) fn row(resource: &Resource) -> Schema {
    let mut object = ObjectBuilder::new().schema_type(Type::Object).description(Some(resource.description));
    for known in resource.fields {
        object = object.property(known.name, field(known, false)).required(known.name);
    }
    for relation in resource.relations {
        let other = reference(relation.resource().schema);
        let about = format!("{} Only with `include={}`.", relation.about, relation.name);
        object = match relation.arity {
            Cardinality::Many { limit } => {
                let about = format!("{about} At most {limit}; list them for more.");
                object.property(
                    relation.name,
                    ArrayBuilder::new().items(other).max_items(Some(relation::MANY as usize)).description(Some(about)),
                )
            }
            Cardinality::One | Cardinality::First => {
                let null = ObjectBuilder::new().schema_type(Type::Null);
                object.property(relation.name, AnyOfBuilder::new().item(other).item(null).description(Some(about)))
            }
        };
    }
    object.examples([row_example(resource)]).build().into()
}

pub(super) fn body(resource: &Resource, creates: bool) -> Schema {
    let mut object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    for known in resource.writable_fields(creates) {
        object = object.property(known.name, written(known, creates));
        if creates && known.required {
            object = object.required(known.name);
        }
    }
    object.examples([body_example(resource, creates)]).build().into()
}

pub(super) fn page(resource: &Resource) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(format!("A page of {}.", spaced(resource.plural))))
        .property("data", ArrayBuilder::new().items(reference(resource.schema)))
        .property("page", reference("PageInfo"))
        .required("data")
        .required("page")
        .build()
        .into()
}

pub(super) fn batch(resource: &Resource) -> Schema {
    let ids = ArrayBuilder::new()
        .items(value_schema(FieldType::Uuid))
        .description(Some("Ids that name no row of the business."));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(format!("{} by id, in the order asked.", capital(&spaced(resource.plural)))))
        .property("data", ArrayBuilder::new().items(reference(resource.schema)))
        .property("missing", ids)
        .required("data")
        .required("missing")
        .build()
        .into()
}

pub(super) fn batch_schema(resource: &Resource) -> Schema {
    let ids = ArrayBuilder::new().items(value_schema(FieldType::Uuid)).min_items(Some(1)).max_items(Some(1000));
    let fields = RefOr::T(field_names(resource));
    let mut object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("ids", ids)
        .required("ids")
        .property("fields", ArrayBuilder::new().items(fields).description(Some("Shows only these fields.")))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    if !resource.relations.is_empty() {
        let names = relation_names(resource);
        object = object
            .property("include", ArrayBuilder::new().items(RefOr::T(names)).description(Some("Relations to expand.")));
    }
    object.build().into()
}

/// The values of `fields`: a field of the row, or one of a relation that is included.
pub(super) fn field_names(resource: &Resource) -> Schema {
    let own = resource.fields.iter().map(|field| field.name);
    let own = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(own));
    if resource.relations.is_empty() {
        return own.build().into();
    }
    let relations = resource.relations.iter().map(|relation| relation.name).collect::<Vec<_>>().join("|");
    let related = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(format!(r"^({relations})\.[a-z0-9_]+$")))
        .description(Some("A field of a relation that `include` names."));
    AnyOfBuilder::new().item(own).item(related).build().into()
}

pub(super) fn relation_names(resource: &Resource) -> Schema {
    let names = resource.relations.iter().map(|relation| relation.name);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).build().into()
}

/// Returns the name of the create response's schema, the only one with the secret.
pub(super) fn created_schema(resource: &Resource) -> String {
    if resource.secret.is_some() { format!("{}Created", resource.schema) } else { resource.schema.to_owned() }
}

pub(super) fn with_secret(resource: &Resource) -> Schema {
    let (Schema::Object(mut object), Some(secret)) = (row(resource), resource.secret) else {
        return row(resource);
    };
    object.examples = vec![created_example(resource)];
    object.properties.insert(secret.name.to_owned(), RefOr::T(field(secret, false)));
    object.required.push(secret.name.to_owned());
    Schema::Object(object)
}

pub(super) fn created_example(resource: &Resource) -> Json {
    let mut shown = row_example(resource);
    if let Some(secret) = resource.secret {
        shown[secret.name] = example(secret.example);
    }
    shown
}
