//! OpenAPI parameters of a resource's operations, from its fields.

use serde_json::json;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, Required};

use super::field_schema::{integer, text, value_schema};
use super::names;
use super::schemas::{ID_FILTER, field_name};
use crate::http::openapi_responses::reference;
use crate::resource::field::{Field, FieldType};
use crate::resource::list_query::{DEFAULT_LIMIT, FilterOp, MAX_FILTER_VALUES, MAX_LIMIT};
use crate::resource::{Resource, Search, export};

pub(super) fn list_parameters(resource: &'static Resource) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    for field in resource.filterable() {
        parameters.extend(FilterOp::of(field).iter().map(|op| filter(resource, field, *op)));
    }
    match resource.search {
        Search::None => {}
        Search::Substring => {
            parameters.push(query("q", text(3, 200), "Finds this part of a word; at least three characters."))
        }
        Search::Words => {
            let about = "Finds these words; `\"…\"` for a phrase, `-` for none of. Of three characters on, the last one may be the beginning of a word.";
            parameters.push(query("q", text(1, 200), about));
            let flag = ObjectBuilder::new().schema_type(Type::Boolean).default(Some(json!(false))).build();
            parameters.push(query(
                "highlight",
                flag,
                "`true`: each row has `highlight`, the passage in which `q` was found.",
            ));
        }
    }
    let order = format!("The order; `-` for descending. Default: `{}`.", resource.default_sort);
    parameters.push(query("sort", reference(&names::sort(resource)), &order));
    parameters.push(limit());
    parameters.push(query(
        "cursor",
        string(),
        "Where the page before ended: its `page.next`. It belongs to the sort and filters that it came with.",
    ));
    parameters.push(query(
        "count",
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(["true", "exact", "false"]))
            .default(Some(json!("false")))
            .build(),
        "`true` counts up to 10,000 and says `at_least` past it; `exact` counts to the end.",
    ));
    if resource.soft_delete() {
        parameters.push(query(
            "deleted",
            ObjectBuilder::new().schema_type(Type::Boolean).default(Some(json!(false))).build(),
            "Lists deleted rows instead, which can be brought back.",
        ));
    }
    parameters.extend(view_parameters(resource));
    parameters
}

pub(super) fn view_parameters(resource: &'static Resource) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    if !resource.relations.is_empty() {
        let names = reference(&names::include(resource));
        parameters.push(separated("include", names, "Relations to expand."));
    }
    parameters.push(separated(
        "fields",
        field_name(),
        "Shows only these fields of the row; `company.name` for one of a relation in `include`. What is left out is \
         missing from the answer, although its schema describes the whole row.",
    ));
    parameters
}

fn filter(resource: &'static Resource, field: &'static Field, op: FilterOp) -> Parameter {
    let (name, column) = (op.name(field), field.name);
    // A field is described where the row is.
    let own = resource.list_filter(field.name).map_or("", |filter| filter.field.description);
    let one = |about: String| query(&name, value_schema(field.field_type).build(), &about);
    match op {
        FilterOp::After => one(format!("`{column}` at or after this.")),
        FilterOp::Before => one(format!("`{column}` before this.")),
        FilterOp::Min => one(format!("`{column}` at least this.")),
        FilterOp::Max => one(format!("`{column}` at most this.")),
        FilterOp::Any => match field.field_type {
            FieldType::Bool => one(own.to_owned()),
            // Free text: a list of it and a text with commas look the same on the wire.
            FieldType::Tags | FieldType::Text { .. } | FieldType::Email | FieldType::Phone => {
                query(&name, text(1, 2_000), "Any of these, comma-separated.")
            }
            FieldType::Uuid if field.nullable => unexploded(&name, reference(ID_FILTER), own),
            FieldType::Choice(_) => separated(&name, reference(&names::choice(resource, field)), ""),
            kind => separated(&name, Schema::from(value_schema(kind).build()), own),
        },
    }
}

/// The size of a page.
pub fn limit() -> Parameter {
    let rows = integer(1, i64::from(MAX_LIMIT)).default(Some(json!(DEFAULT_LIMIT))).build();
    query("limit", rows, "How many rows a page has at most.")
}

/// How an export is written.
pub(super) fn format() -> Parameter {
    let format = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(export::FORMATS))
        .default(Some(json!(export::FORMATS[0])))
        .build();
    query("format", format, "How it is written.")
}

pub(super) fn allow_duplicate() -> Parameter {
    let flag = ObjectBuilder::new().schema_type(Type::Boolean).build();
    query("allow_duplicate", flag, "Creates the row although another one looks the same (409 `possible_duplicate`).")
}

pub fn query(name: &str, schema: impl Into<RefOr<Schema>>, about: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about).filter(|about| !about.is_empty()))
        .schema(Some(schema))
        .build()
}

/// A list of values in one parameter: `a,b,c`.
pub fn separated(name: &str, item: impl Into<RefOr<Schema>>, about: &str) -> Parameter {
    let list = ArrayBuilder::new().items(item.into()).max_items(Some(MAX_FILTER_VALUES));
    unexploded(name, Schema::Array(list.build()), about)
}

fn unexploded(name: &str, schema: impl Into<RefOr<Schema>>, about: &str) -> Parameter {
    ParameterBuilder::from(query(name, schema, about)).explode(Some(false)).build()
}

pub(super) fn id() -> Parameter {
    ParameterBuilder::new()
        .name("id")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("Id of the row."))
        .schema(Some(value_schema(FieldType::Uuid).build()))
        .build()
}

fn header(name: &str, schema: ObjectBuilder, about: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(schema.schema_type(Type::String).build()))
        .build()
}

pub(super) fn if_match() -> Parameter {
    let tag = r#"(W/)?"[0-9]{1,18}(\.[0-9a-f]{16}(-(br|gzip))?)?""#;
    let tags = ObjectBuilder::new().pattern(Some(format!(r"^(\*|{tag}(, ?{tag}){{0,15}})$")));
    let about = "The row's ETag as it was read, or several: the change is refused with 412 if the row has none of them any more. A \
                 weak one (`W/…`) matches nothing (RFC 9110, section 13.1.1).";
    header("If-Match", tags, about)
}

pub(super) fn if_none_match() -> Parameter {
    header(
        "If-None-Match",
        ObjectBuilder::new(),
        "The ETag of an answer that is already there, or several: 304 if one is still good.",
    )
}

fn string() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).build().into()
}
