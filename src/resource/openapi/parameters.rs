//! OpenAPI parameters of a resource's operations, from its fields.

use serde_json::json;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{AnyOfBuilder, Array, ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, Required};

use super::examples::{example, spaced};
use super::schemas::{field_names, integer, relation_names, text, value_schema};
use crate::resource::field::{Field, FieldType};
use crate::resource::list_query::{DEFAULT_LIMIT, FilterOp, MAX_LIMIT};
use crate::resource::{Resource, Search};

pub(super) fn list_parameters(resource: &'static Resource) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    for field in resource.fields {
        for form in FilterOp::of(field) {
            parameters.push(filter(field, *form));
        }
    }
    match resource.search {
        Search::None => {}
        Search::Substring => {
            parameters.push(query("q", text(3, 200), "Finds this part of a word; at least three characters."))
        }
        Search::Words => {
            parameters.push(query("q", text(1, 200), "Finds these words; `\"…\"` for a phrase, `-` for none of."))
        }
    }
    let sorts = resource.sorts.iter().flat_map(|sort| [sort.name.to_owned(), format!("-{}", sort.name)]);
    parameters.push(query(
        "sort",
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(sorts))
            .default(Some(json!(resource.default_sort)))
            .build(),
        "The order; `-` for descending.",
    ));
    parameters.push(query(
        "limit",
        integer(1, i64::from(MAX_LIMIT)).default(Some(json!(DEFAULT_LIMIT))).build(),
        "How many rows a page has.",
    ));
    parameters.push(query(
        "cursor",
        ObjectBuilder::new().schema_type(Type::String).build(),
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
        let names = relation_names(resource);
        parameters.push(separated(
            "include",
            names,
            "Relations to expand, comma-separated. Each costs at most one query.",
        ));
    }
    parameters.push(separated("fields", field_names(resource),
        "Shows only these fields, comma-separated; `company.name` for a relation's. What is left out is missing from the \
         answer, although its schema describes the whole row.",
    ));
    parameters
}

pub(super) fn filter(field: &'static Field, form: FilterOp) -> Parameter {
    let name = form.name(field);
    let one = |about: String| query(&name, value_schema(field.field_type).build(), &about);
    match form {
        FilterOp::After => one(format!("`{}` at or after this.", field.name)),
        FilterOp::Before => one(format!("`{}` before this.", field.name)),
        FilterOp::Min => one(format!("`{}` at least this.", field.name)),
        FilterOp::Max => one(format!("`{}` at most this.", field.name)),
        FilterOp::Any => {
            let none =
                if field.field_type == FieldType::Uuid && field.nullable { " `none` finds rows without." } else { "" };
            let about = format!("{} Any of these values, comma-separated.{none}", field.description);
            match field.field_type {
                FieldType::Bool => query(&name, value_schema(FieldType::Bool).build(), field.description),
                // Free text: a list of it and a text with commas look the same on the wire.
                FieldType::Tags | FieldType::Text { .. } | FieldType::Email | FieldType::Phone => {
                    query(&name, text(1, 2_000), &about)
                }
                FieldType::Uuid if field.nullable => {
                    let none = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["none"]));
                    let ids = AnyOfBuilder::new().item(list_of(value_schema(FieldType::Uuid).build())).item(none);
                    unexploded(&name, ids.build().into(), &about)
                }
                kind => separated(&name, Schema::from(value_schema(kind).build()), &about),
            }
        }
    }
}

pub(super) fn query(name: &str, schema: impl Into<Schema>, about: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(schema.into()))
        .build()
}

/// A list of values in one parameter: `a,b,c`.
pub(super) fn separated(name: &str, item: impl Into<RefOr<Schema>>, about: &str) -> Parameter {
    unexploded(name, Schema::Array(list_of(item)), about)
}

fn list_of(item: impl Into<RefOr<Schema>>) -> Array {
    ArrayBuilder::new().items(item.into()).min_items(Some(1)).max_items(Some(100)).build()
}

fn unexploded(name: &str, schema: Schema, about: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about))
        .style(Some(ParameterStyle::Form))
        .explode(Some(false))
        .schema(Some(schema))
        .build()
}

pub(super) fn id(resource: &Resource) -> Parameter {
    ParameterBuilder::new()
        .name("id")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(format!("Id of the {}.", spaced(resource.name))))
        .schema(Some(value_schema(FieldType::Uuid).build()))
        .example(Some(example(resource.fields[0].example)))
        .build()
}

pub(super) fn header(name: &str, schema: ObjectBuilder, about: &str) -> Parameter {
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
