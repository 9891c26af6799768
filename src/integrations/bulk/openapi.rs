//! OpenAPI description of the bulk operations.

use serde_json::{Value as Json, json};
use utoipa::openapi::path::{HttpMethod, OperationBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, ObjectBuilder, RefBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, RefOr, Required};
use utoipa::{PartialSchema, ToSchema};

use super::dto::BulkOperationResult;
use super::request::{actions, responsible, with_bulk};
use crate::http::openapi_responses::{problems, reference, with_default};
use crate::integrations::jobs::JOBS;
use crate::resource::Resource;
use crate::resource::http::API;
use crate::resource::openapi::row_example;

const ABOUT: &str = "Changes all rows that a filter finds. They are counted at once (`matched`), and changed by a job, which \
`Location` leads to: each of them once, some hundreds in one transaction, whatever becomes of the process; rows that are made \
later are not among them. It can be cancelled between two transactions. With `dry_run` they are counted only.\n\n\
`filter` has the parameters of the list, without those of its order and its view. A text, a number, true or false is one value, \
whatever characters it has; several values are a list: `{\"tags\": [\"vip, keep\", \"press\"]}` finds the rows with the label \
`vip, keep` and those with `press`. `{}` is all rows. `update` gives them the fields in `set`, `assign` a responsible member, `tag` \
adds and removes labels, `delete` deletes them. Rows that are refused are not changed; the job's `result` has their number and the \
first of them.";

/// Names of the schemas that all bulk operations share.
const FILTER: &str = "BulkFilter";
const LABELS: &str = "BulkLabels";

/// Adds the bulk operations to the OpenAPI document.
pub fn describe(resources: &'static [&'static Resource], api: &mut OpenApi) {
    let schemas = &mut api.components.get_or_insert_default().schemas;
    schemas.insert(BulkOperationResult::name().into(), BulkOperationResult::schema());
    schemas.insert(FILTER.to_owned(), filter());
    schemas.insert(LABELS.to_owned(), labels());
    schemas.extend(with_bulk(resources).map(|resource| (name(resource), body(resource))));
    for resource in with_bulk(resources) {
        let content =
            ContentBuilder::new().schema(Some(reference(&name(resource)))).example(Some(example(resource))).build();
        let request = RequestBodyBuilder::new().required(Some(Required::True)).content("application/json", content);
        let operation = OperationBuilder::new()
            .tag(resource.plural)
            .summary(Some(format!("Change all {} that a filter finds", resource.plural)))
            .description(Some(ABOUT))
            .operation_id(Some(format!("bulkOperate{}{}", resource.plural[..1].to_uppercase(), &resource.plural[1..])))
            .request_body(Some(request.build()))
            .response("200", counted("How many they are; nothing is done (`dry_run`).", Json::Null))
            .response("202", counted("How many they are, and the job that changes them.", row_example(&JOBS)));
        let operation = problems(operation, &[400, 401, 403, 408, 409, 413, 415, 422, 503]);
        let path = format!("{API}/{}/bulk-operations", resource.path());
        api.paths.paths.insert(path, PathItem::new(HttpMethod::Post, operation));
    }
}

fn counted(about: &str, job: Json) -> ResponseBuilder {
    let example = json!({ "matched": 1000, "job": job });
    let schema = reference(&BulkOperationResult::name());
    let content = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
    ResponseBuilder::new().description(about).content("application/json", content)
}

/// The name of the schema of a bulk operation on the resource.
fn name(resource: &Resource) -> String {
    format!("{}BulkOperation", resource.schema)
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn filter() -> RefOr<Schema> {
    let one = || ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Number, Type::Boolean]));
    let several = ArrayBuilder::new().items(one()).min_items(Some(1)).max_items(Some(100));
    let value = AnyOfBuilder::new().item(one()).item(several).build();
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(value.into()))))
        .description(Some("Parameters of the list: to each one value, or a list of some of which any matches."))
        .into()
}

fn labels() -> RefOr<Schema> {
    let label = text().min_length(Some(1)).max_length(Some(50));
    ArrayBuilder::new().items(label).max_items(Some(50)).description(Some("Labels to add or to remove.")).into()
}

fn body(resource: &Resource) -> RefOr<Schema> {
    let dry_run = with_default("Counts the rows and does nothing.", "false");
    let actions = actions(resource);
    let mut body = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(format!("What becomes of the {} that a filter finds.", resource.plural)))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .property("action", text().enum_values(Some(actions.iter().copied())))
        .property("filter", reference(FILTER))
        .property("set", reference(&format!("{}Update", resource.schema)))
        .property("dry_run", ObjectBuilder::new().schema_type(Type::Boolean).description(Some(dry_run)))
        .required("action")
        .required("filter");
    for field in responsible(resource) {
        let member = text().schema_type(SchemaType::from_iter([Type::String, Type::Null]));
        let member = member.format(Some(SchemaFormat::Custom("uuid".to_owned())));
        let about = "With `assign`: who is responsible, or null for nobody.";
        body = body.property(field.name, member.description(Some(about)));
    }
    if actions.contains(&"tag") {
        let labels = |about: &str| RefBuilder::new().ref_location_from_schema_name(LABELS).description(Some(about));
        body = body
            .property("add", labels("With `tag`: labels to add."))
            .property("remove", labels("With `tag`: labels to remove."));
    }
    body.examples([example(resource)]).into()
}

fn example(resource: &Resource) -> Json {
    let filter = match resource.field("status") {
        Some(field) => json!({ "status": [crate::resource::openapi::example(field.example)] }),
        None => json!({ "metadata.plan": "gold" }),
    };
    json!({ "action": "update", "filter": filter, "set": { "metadata": { "plan": "silver" } }, "dry_run": false })
}
