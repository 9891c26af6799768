//! Schemas of a noun: its row, its bodies, its page.

use serde_json::{Value as Json, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType,
    Type,
};

use super::examples::{body_example, capital, example, row_example, spaced};
use crate::http::document::{self, reference, with_default};
use crate::noun::field::{Field, Kind, SAFE_INTEGER, Written};
use crate::noun::{Arity, Noun, codes, relation};

/// The schema of a value of `kind`, as a body or a parameter takes it.
pub(super) fn value_schema(kind: Kind) -> ObjectBuilder {
    let string = || ObjectBuilder::new().schema_type(Type::String);
    let format = |format| string().format(Some(SchemaFormat::KnownFormat(format)));
    match kind {
        Kind::Uuid => string().format(Some(SchemaFormat::Custom("uuid".to_owned()))),
        // Not blank.
        Kind::Text { min: min @ 1.., max } => string().min_length(Some(min)).max_length(Some(max)).pattern(Some(r"\S")),
        Kind::Secret { min, max } => string().min_length(Some(min)).max_length(Some(max)).pattern(Some(r"\S")),
        Kind::Text { min, max } => string().min_length(Some(min)).max_length(Some(max)),
        Kind::Domain => string().max_length(Some(253)).pattern(Some(
            r"^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)+[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$",
        )),
        Kind::Choice(among) => string().enum_values(Some(among.iter().copied())),
        Kind::Email => string()
            .max_length(Some(254))
            .pattern(Some(r"^[^@\s\x00-\x1f\x7f-\x9f]+@([^@\s.\x00-\x1f\x7f-\x9f]+\.)+[^@\s.\x00-\x1f\x7f-\x9f]+$")),
        Kind::Phone => string()
            .pattern(Some(r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]{0,48}[^\s\x00-\x1f\x7f-\x9f]$"))
            .min_length(Some(2))
            .max_length(Some(50)),
        Kind::Int { min, max } => integer(min, max),
        Kind::Bool => ObjectBuilder::new().schema_type(Type::Boolean),
        Kind::Time => format(KnownFormat::DateTime),
        Kind::Date => format(KnownFormat::Date),
        Kind::Zone => string().enum_values(Some(["UTC", "Europe/Berlin"])),
        Kind::Currency => string().pattern(Some("^[A-Z]{3}$")),
        Kind::Country => string().pattern(Some("^[A-Z]{2}$")),
        Kind::Decimal => string().pattern(Some(r"^[0-9]{1,8}(\.[0-9]{1,6})?$")),
        Kind::Tags | Kind::Object => ObjectBuilder::new()
            .schema_type(Type::Object)
            .additional_properties(Some(AdditionalProperties::FreeForm(true))),
    }
}

pub(super) fn integer(min: i64, max: i64) -> ObjectBuilder {
    // Past these bounds a double rounds, and so would the document's own readers.
    let (min, max) = (min.max(-SAFE_INTEGER), max.min(SAFE_INTEGER));
    document::integer(min, max).minimum(Some(min as f64)).maximum(Some(max as f64))
}

pub(super) fn text(min: usize, max: usize) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(min)).max_length(Some(max)).build().into()
}

/// A field's schema, in an answer or in a body, where what is left out has the field's default.
pub(super) fn field(field: &Field, writing: bool) -> Schema {
    match field.default.filter(|_| writing) {
        Some(default) => described(field, writing, &with_default(&about(field), default)),
        None => described(field, writing, &about(field)),
    }
}

fn described(field: &Field, writing: bool, about: &str) -> Schema {
    if field.kind == Kind::Tags {
        let tags = ArrayBuilder::new().items(RefOr::T(text(1, 50))).max_items(Some(50)).description(Some(about));
        // Written are some, or it is left out.
        let or_null = if field.nullable && !writing { vec![Type::Array, Type::Null] } else { vec![Type::Array] };
        let tags = tags.schema_type(SchemaType::from_iter(or_null));
        return Schema::Array(tags.examples([example(field.example)]).build());
    }
    let mut schema = match field.kind {
        // An answer may hold what was written under older rules.
        Kind::Text { max, .. } if !writing => ObjectBuilder::new().schema_type(Type::String).max_length(Some(max)),
        Kind::Email | Kind::Phone | Kind::Domain if !writing => ObjectBuilder::new().schema_type(Type::String),
        Kind::Zone => ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[A-Za-z0-9_+/-]+$")),
        kind => value_schema(kind),
    };
    if field.kind == Kind::Zone && writing {
        // Only names that exist: the list is IANA's, too long to print.
        schema = schema.description(Some(about));
    }
    if field.nullable {
        schema = nullable(schema, field.kind);
    }
    schema.description(Some(about)).examples([example(field.example)]).build().into()
}

/// A field's schema in a body. A default belongs to a new row: in a patch, and in an upsert that finds its row, what is left
/// out stays as it is.
pub(super) fn written(known: &Field, creates: bool) -> Schema {
    match known.default.filter(|_| creates) {
        Some(_) if known.kind == Kind::Time => {
            described(known, true, &format!("{} A new row's default: now.", about(known)))
        }
        Some(default) => described(known, true, &format!("{} A new row's default: `{default}`.", about(known))),
        None => described(known, true, &about(known)),
    }
}

/// What a field is, with what holds for all of its kind.
fn about(field: &Field) -> String {
    match (field.kind, field.currency) {
        (Kind::Currency, _) => format!("{} {}", field.about, codes::about_minor_units()),
        (Kind::Country, _) => format!("{} ISO 3166-1 alpha-2.", field.about),
        (Kind::Int { .. }, Some(currency)) => format!(
            "{} How many of these one unit has is said by the currency in `{currency}`: 1250 is 12.50 EUR, 1250 JPY or 1.250 KWD.",
            field.about
        ),
        _ => field.about.to_owned(),
    }
}

pub(super) fn nullable(schema: ObjectBuilder, kind: Kind) -> ObjectBuilder {
    let base = match kind {
        Kind::Int { .. } => Type::Integer,
        Kind::Bool => Type::Boolean,
        Kind::Object => Type::Object,
        _ => Type::String,
    };
    let schema = schema.schema_type(SchemaType::from_iter([base, Type::Null]));
    match kind {
        Kind::Choice(among) => schema.enum_values(Some(among.iter().map(|choice| json!(choice)).chain([Json::Null]))),
        _ => schema,
    }
}

pub(super) fn row(noun: &Noun) -> Schema {
    let mut object = ObjectBuilder::new().schema_type(Type::Object).description(Some(noun.about));
    for known in noun.fields {
        object = object.property(known.name, field(known, false)).required(known.name);
    }
    for relation in noun.relations {
        let other = reference(relation.noun.schema);
        let about = format!("{} Only with `include={}`.", relation.about, relation.name);
        object = match relation.arity {
            Arity::Many { limit } => {
                let about = format!("{about} At most {limit}; list them for more.");
                object.property(
                    relation.name,
                    ArrayBuilder::new().items(other).max_items(Some(relation::MANY as usize)).description(Some(about)),
                )
            }
            Arity::One | Arity::First => {
                let null = ObjectBuilder::new().schema_type(Type::Null);
                object.property(relation.name, AnyOfBuilder::new().item(other).item(null).description(Some(about)))
            }
        };
    }
    object.examples([row_example(noun)]).build().into()
}

pub(super) fn body(noun: &Noun, creates: bool) -> Schema {
    let mut object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    for known in writable(noun, creates) {
        object = object.property(known.name, written(known, creates));
        if creates && known.required {
            object = object.required(known.name);
        }
    }
    object.examples([body_example(noun, creates)]).build().into()
}

pub(super) fn writable(noun: &Noun, creates: bool) -> impl Iterator<Item = &'static Field> {
    noun.fields.iter().filter(move |f| f.written == Written::Always || (creates && f.written == Written::Once))
}

pub(super) fn page(noun: &Noun) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(format!("A page of {}.", spaced(noun.plural))))
        .property("data", ArrayBuilder::new().items(reference(noun.schema)))
        .property("page", reference("PageInfo"))
        .required("data")
        .required("page")
        .build()
        .into()
}

pub(super) fn batch(noun: &Noun) -> Schema {
    let ids =
        ArrayBuilder::new().items(value_schema(Kind::Uuid)).description(Some("Ids that name no row of the business."));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(format!("{} by id, in the order asked.", capital(&spaced(noun.plural)))))
        .property("data", ArrayBuilder::new().items(reference(noun.schema)))
        .property("missing", ids)
        .required("data")
        .required("missing")
        .build()
        .into()
}

pub(super) fn batch_schema(noun: &Noun) -> Schema {
    let ids = ArrayBuilder::new().items(value_schema(Kind::Uuid)).min_items(Some(1)).max_items(Some(1000));
    let fields = RefOr::T(field_names(noun));
    let mut object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("ids", ids)
        .required("ids")
        .property("fields", ArrayBuilder::new().items(fields).description(Some("Shows only these fields.")))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    if !noun.relations.is_empty() {
        let names = relation_names(noun);
        object = object
            .property("include", ArrayBuilder::new().items(RefOr::T(names)).description(Some("Relations to expand.")));
    }
    object.build().into()
}

/// What `fields` takes: a field of the row, or one of a relation that is included.
pub(super) fn field_names(noun: &Noun) -> Schema {
    let own = noun.fields.iter().map(|field| field.name);
    let own = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(own));
    if noun.relations.is_empty() {
        return own.build().into();
    }
    let relations = noun.relations.iter().map(|relation| relation.name).collect::<Vec<_>>().join("|");
    let related = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(format!(r"^({relations})\.[a-z0-9_]+$")))
        .description(Some("A field of a relation that `include` names."));
    AnyOfBuilder::new().item(own).item(related).build().into()
}

pub(super) fn relation_names(noun: &Noun) -> Schema {
    let names = noun.relations.iter().map(|relation| relation.name);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).build().into()
}

/// A secret is shown once, in the answer that made it.
pub(super) fn created_schema(noun: &Noun) -> String {
    if noun.secret.is_some() { format!("{}Created", noun.schema) } else { noun.schema.to_owned() }
}

pub(super) fn with_secret(noun: &Noun) -> Schema {
    let (Schema::Object(mut object), Some(secret)) = (row(noun), noun.secret) else {
        return row(noun);
    };
    object.examples = vec![created_example(noun)];
    object.properties.insert(secret.name.to_owned(), RefOr::T(field(secret, false)));
    object.required.push(secret.name.to_owned());
    Schema::Object(object)
}

pub(super) fn created_example(noun: &Noun) -> Json {
    let mut shown = row_example(noun);
    if let Some(secret) = noun.secret {
        shown[secret.name] = example(secret.example);
    }
    shown
}
