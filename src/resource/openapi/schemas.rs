//! OpenAPI schemas of a resource: its row, its bodies, its page.

use serde_json::Value as Json;
use utoipa::openapi::RefOr;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Schema, Type};

use super::examples::{body_example, example, row_example, spaced};
use super::field_schema::{DAY_HOURS, METADATA, choices, integer, named, repeated, set, shown};
pub(super) use super::field_schema::{value_schema, written};
use super::names;
use crate::http::openapi_responses::reference;
use crate::resource::batch::MAX_ITEMS;
use crate::resource::field::FieldType;
use crate::resource::list_query::MAX_FILTER_VALUES;
use crate::resource::{Cardinality, Resource, Search, relation};

/// The schema of a filter by a reference that may be null.
pub(super) const ID_FILTER: &str = "IdFilter";

/// The schema of a reference to a row, where the body may also have a new one.
pub(super) const ROW_REFERENCE: &str = "RowReference";

/// The schema of a request for rows by id.
pub(super) const BATCH_READ: &str = "BatchRead";

/// The schema of a part of a passage that a search found.
const HIGHLIGHT_PART: &str = "HighlightPart";

const METADATA_ABOUT: &str = "Fields of your own: any JSON object, of which a change names what it changes (RFC 7396). A list is \
                              narrowed by `metadata.<key>=<text>`.";

/// Returns the schemas that all resources share, with their names.
pub(super) fn shared() -> Vec<(&'static str, Schema)> {
    let metadata = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .description(Some(METADATA_ABOUT));
    let id = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^(none|me|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$"));
    let ids = ArrayBuilder::new()
        .items(RefOr::T(Schema::from(id.build())))
        .min_items(Some(1))
        .max_items(Some(MAX_FILTER_VALUES))
        .description(Some(
            "Any of these ids; or only `none`: rows that reference nothing; or only `me`: of users, the one who asks.",
        ));
    vec![
        (METADATA, metadata.build().into()),
        (DAY_HOURS, day_hours()),
        (ROW_REFERENCE, row_reference()),
        (ID_FILTER, Schema::Array(ids.build())),
        (HIGHLIGHT_PART, highlight_part()),
        ("PageInfo", page_info()),
        (BATCH_READ, batch_read()),
    ]
}

/// Returns the schema of an entry of the hours of a day.
fn day_hours() -> Schema {
    let time = |pattern: &'static str, about: &str| {
        ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).description(Some(about))
    };
    closed()
        .description(Some("Hours that begin on a day, from `start` to before `end`."))
        .property("start", time("^([01][0-9]|2[0-3]):[0-5][0-9]$", "`HH:MM` in the time zone of who works."))
        .required("start")
        .property(
            "end",
            time("^([0-3][0-9]|4[0-8]):[0-5][0-9]$", "After `start`: 26:00 is 02:00 of the next day, 00:00 is 24:00."),
        )
        .required("end")
        .into()
}

/// Returns the schemas of the resource's fields, parameters, rows and single writes, with their names.
pub(super) fn of(resource: &Resource) -> Vec<(String, Schema)> {
    let mut schemas = vec![
        (resource.schema.to_owned(), row(resource)),
        (names::page(resource), page(resource)),
        (names::sort(resource), sort(resource)),
    ];
    for field in resource.fields.iter().filter(|field| matches!(field.field_type, FieldType::Choice(_))) {
        schemas.push((names::choice(resource, field), choices(field)));
    }
    if !resource.relations.is_empty() {
        schemas.push((names::include(resource), include(resource)));
    }
    if resource.operations.create {
        schemas.push((names::create(resource), body(resource, true)));
    }
    if resource.operations.update {
        schemas.push((names::update(resource), body(resource, false)));
    }
    if resource.secret.is_some() {
        schemas.push((names::created(resource), with_secret(resource)));
    }
    schemas
}

pub(super) fn row(resource: &Resource) -> Schema {
    let mut object = ObjectBuilder::new().schema_type(Type::Object).description(Some(resource.description));
    for known in resource.fields {
        object = object.property(known.name, shown(resource, known)).required(known.name);
    }
    for relation in resource.relations {
        let other = relation.resource().schema;
        let about = format!("{} Only with `include={}`.", relation.about, relation.name);
        object = match relation.arity {
            Cardinality::Many { limit } => {
                let about = format!("{about} At most {limit}; list them for more.");
                let rows = ArrayBuilder::new().items(reference(other)).max_items(Some(relation::MANY as usize));
                object.property(relation.name, rows.description(Some(about)))
            }
            Cardinality::One | Cardinality::First => object.property(relation.name, named(other, true, &about)),
        };
    }
    if resource.search == Search::Words {
        let parts = ArrayBuilder::new().items(reference(HIGHLIGHT_PART));
        let about = "The passage in which `q` was found, part by part: plain text, as the row has it. Only with `highlight=true`.";
        object = object.property("highlight", parts.description(Some(about)));
    }
    object.examples([row_example(resource)]).build().into()
}

/// Returns the body that creates a row, or the one that changes a row. The latter has all fields, since a row that was
/// read can be written back.
pub(super) fn body(resource: &Resource, creates: bool) -> Schema {
    let mut object = closed();
    if !creates {
        object = object.description(Some(format!("What changes, of the fields of `{}`.", resource.schema)));
    }
    for known in resource.fields {
        if known.is_writable(creates) {
            object = object.property(known.name, set(resource, known, creates));
        } else if !creates {
            object = object.property(known.name, repeated(resource, known));
        }
        if creates && known.required {
            object = object.required(known.name);
        }
    }
    object.examples([body_example(resource, creates)]).build().into()
}

/// An object without members other than its own.
pub(super) fn closed() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

pub(super) fn page(resource: &Resource) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("data", ArrayBuilder::new().items(reference(resource.schema)))
        .property("page", reference("PageInfo"))
        .required("data")
        .required("page")
        .build()
        .into()
}

fn sort(resource: &Resource) -> Schema {
    let sorts = resource.sorts.iter().flat_map(|sort| [sort.name.to_owned(), format!("-{}", sort.name)]);
    // Without names of their own, generators number the values that begin with `-`.
    let constants = resource.sorts.iter().map(|sort| sort.name.to_uppercase());
    let constants: Vec<String> = constants.flat_map(|name| [name.clone(), format!("{name}_DESC")]).collect();
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(sorts))
        .description(Some("An order; `-` for descending."))
        .extensions(Some(ExtensionsBuilder::new().add("x-enum-varnames", constants).build()))
        .build()
        .into()
}

fn include(resource: &Resource) -> Schema {
    let names = resource.relations.iter().map(|relation| relation.name);
    let about = format!("A relation of {}.", spaced(resource.plural));
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).description(Some(about)).build().into()
}

fn row_reference() -> Schema {
    let id = value_schema(FieldType::Uuid).description(Some("Id of a row that is there."));
    closed().property("id", id).required("id").build().into()
}

/// Returns the response to a request for rows by id.
pub(super) fn batch_read_result(resource: &Resource) -> Schema {
    let rows = ArrayBuilder::new().items(reference(resource.schema));
    let missing = ArrayBuilder::new().items(value_schema(FieldType::Uuid));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("data", rows)
        .property("missing", missing)
        .required("data")
        .required("missing")
        .build()
        .into()
}

fn batch_read() -> Schema {
    let names = |about: &str| ArrayBuilder::new().items(RefOr::T(field_name())).description(Some(about));
    let ids = ArrayBuilder::new().items(value_schema(FieldType::Uuid)).min_items(Some(1)).max_items(Some(MAX_ITEMS));
    closed()
        .description(Some("Which rows to get: `data` has them in this order, `missing` the ids that name no row."))
        .property("ids", ids)
        .required("ids")
        .property("include", names("Relations to expand, as in the list of the rows."))
        .property("fields", names("Shows only these fields, as in the list of the rows."))
        .build()
        .into()
}

/// A name in `fields`: a field of the row, or one of a relation that is included.
pub(super) fn field_name() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^[a-z0-9_]+(\.[a-z0-9_]+)?$")).build().into()
}

fn with_secret(resource: &Resource) -> Schema {
    let (Schema::Object(mut object), Some(secret)) = (row(resource), resource.secret) else {
        return row(resource);
    };
    object.examples = vec![created_example(resource)];
    object.properties.insert(secret.name.to_owned(), shown(resource, secret));
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

fn highlight_part() -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("A part of the passage in which a search found something."))
        .property("text", ObjectBuilder::new().schema_type(Type::String).description(Some("Plain text.")))
        .required("text")
        .property("match", ObjectBuilder::new().schema_type(Type::Boolean).description(Some("Whether it was found.")))
        .required("match")
        .examples([serde_json::json!({ "text": "roof", "match": true })])
        .build()
        .into()
}

fn page_info() -> Schema {
    let nullable = utoipa::openapi::schema::SchemaType::from_iter([Type::String, Type::Null]);
    let text = |about: &str| Some(about.to_owned());
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Where a page stands in its list."))
        .property("limit", integer(1, i64::from(i32::MAX)).description(text("How many rows a page has at most.")))
        .property(
            "next",
            ObjectBuilder::new().schema_type(nullable).description(text("Cursor of the next page; null on the last.")),
        )
        .property("total", integer(0, i64::MAX).description(text("How many rows match; with `count` only.")))
        .property(
            "at_least",
            ObjectBuilder::new().schema_type(Type::Boolean).description(text("There are more than `total`.")),
        )
        .required("limit")
        .required("next")
        .build()
        .into()
}
