//! OpenAPI description of the bulk operations.

use serde_json::json;
use utoipa::openapi::path::{HttpMethod, OperationBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, RefOr, Required};
use utoipa::{PartialSchema, ToSchema};

use super::dto::BulkOperationResult;
use super::request::{ACTIONS, RESPONSIBLE, with_bulk};
use crate::http::openapi_responses::{json_response, problems, reference, response_ref, with_default};
use crate::resource::Resource;
use crate::resource::http::API;
use crate::resource::openapi::pascal;

const BODY: &str = "BulkOperation";

const ABOUT: &str = "A change of all rows that a filter finds. They are counted at once (`matched`), and changed by a job, which \
    `Location` leads to: each of them once, some hundreds in one transaction; rows that are created later are not among them. \
    Between two transactions it can be cancelled. Rows that are refused are not changed; the job's `result` has their number and the \
    first of them.";

/// Adds the bulk operations to the OpenAPI document.
pub fn describe(resources: &'static [&'static Resource], api: &mut OpenApi) {
    let components = api.components.get_or_insert_default();
    let schemas = [(BODY, body()), ("BulkAction", action()), ("BulkFilter", filter())];
    components.schemas.insert(BulkOperationResult::name().into(), BulkOperationResult::schema());
    components.schemas.extend(schemas.map(|(name, schema)| (name.to_owned(), RefOr::T(schema))));
    let answer = BulkOperationResult::name();
    let about = "How many rows the filter finds, and the job that changes them (202); with `dry_run` none (200).";
    components.responses.insert(answer.to_string(), json_response(about, &answer).into());
    for resource in with_bulk(resources) {
        let content = ContentBuilder::new().schema(Some(reference(BODY))).build();
        let request = RequestBodyBuilder::new().required(Some(Required::True)).content("application/json", content);
        let operation = OperationBuilder::new()
            .tag(resource.plural)
            .summary(Some(format!("Change all {} that a filter finds", resource.plural)))
            .operation_id(Some(format!("bulkOperate{}", pascal(resource.plural))))
            .request_body(Some(request.build()))
            .response("200", response_ref(&answer))
            .response("202", response_ref(&answer));
        let operation = problems(operation, &[400, 401, 403, 408, 409, 413, 415, 422, 503]);
        let path = format!("{API}/{}/bulk-operations", resource.path());
        api.paths.paths.insert(path, PathItem::new(HttpMethod::Post, operation));
    }
}

fn action() -> Schema {
    let about = "`assign` needs rows that have someone responsible for them, `tag` rows that have tags.";
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(ACTIONS)).description(Some(about)).build().into()
}

fn filter() -> Schema {
    let about = "Parameters of the list, without those of its order and its view: each a text, a number, true or false, or a list \
                 of such of which any matches: `{\"tags\": [\"vip, keep\", \"press\"]}` finds the rows with the label `vip, keep` and \
                 those with `press`. `{}` is all rows.";
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .description(Some(about))
        .build()
        .into()
}

/// The body is the same for all resources: only its `set` follows from the resource.
fn body() -> Schema {
    let set = "With `update`: the fields that rows get, as in a change of one.";
    let labels = |about| {
        let label = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(50));
        let label = RefOr::T(Schema::from(label.build()));
        ArrayBuilder::new().items(label).max_items(Some(50)).description(Some(about))
    };
    let dry_run = with_default("Counts the rows and does nothing.", "false");
    let mut body = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(ABOUT))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .property("action", reference("BulkAction"))
        .property("filter", reference("BulkFilter"))
        .property("set", named("JsonObject", set))
        .property("dry_run", ObjectBuilder::new().schema_type(Type::Boolean).description(Some(dry_run)))
        .required("action")
        .required("filter");
    for name in RESPONSIBLE {
        let kinds = utoipa::openapi::schema::SchemaType::from_iter([Type::String, Type::Null]);
        let about = "With `assign`: who is responsible, or null for nobody. Of the two, the one that the rows have.";
        body = body.property(name, ObjectBuilder::new().schema_type(kinds).description(Some(about)));
    }
    body.property("add", labels("With `tag`: labels to add."))
        .property("remove", labels("With `tag`: labels to remove."))
        .examples([json!({
            "action": "update", "filter": { "metadata.plan": "gold" }, "set": { "metadata": { "plan": "silver" } },
            "dry_run": true,
        })])
        .build()
        .into()
}

fn named(name: &str, about: &str) -> RefOr<Schema> {
    let mut reference = utoipa::openapi::Ref::from_schema_name(name);
    reference.description = about.to_owned();
    RefOr::Ref(reference)
}
