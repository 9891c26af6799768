//! OpenAPI descriptions of a resource's batch writes.

use serde_json::{Value as Json, json};
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, RefOr};

use super::examples::{body_example, example, many, row_example, spaced};
use super::operations::request;
use super::schemas::{body, value_schema};
use crate::http::openapi_responses::{integer, problems, reference, with_default};
use crate::resource::batch::{BatchAction, MAX_ITEMS};
use crate::resource::field::FieldType;
use crate::resource::{Resource, crud};

/// Returns each schema of the resource's batch requests and responses, with its name.
pub(super) fn schemas(resource: &Resource) -> Vec<(String, Schema)> {
    let mut schemas: Vec<(String, Schema)> =
        BatchAction::ALL.iter().map(|act| (name(resource, *act), taken(resource, *act))).collect();
    schemas.push((format!("{}BatchResult", resource.schema), given(resource)));
    schemas
}

pub(super) fn operation(resource: &'static Resource, act: BatchAction) -> OperationBuilder {
    let rows = spaced(resource.plural);
    let (summary, about) = match act {
        BatchAction::Create => (format!("Create several {rows}"), String::new()),
        BatchAction::Update => (
            format!("Change several {rows}"),
            " Of each row what is left out stays as it is; with its `version` it is changed only if that is still its own."
                .to_owned(),
        ),
        BatchAction::Upsert => (
            format!("Create or change several {rows}"),
            " Each row is recognised by `id_property`: the one that has this value is changed as by a merge patch, and made if \
             there is none. Fields that are set once may be repeated."
                .to_owned(),
        ),
        BatchAction::Delete => (
            format!("Delete several {rows}"),
            format!(" They can be brought back within {} days.", crud::RESTORABLE_DAYS),
        ),
    };
    let about = format!(
        "Up to 1,000 in one transaction, answered in the order of the items.{about}\n\nWith `all_or_none`, which is the default, \
         nothing is done when anything is wrong, and `errors` points into every item that is: with 404, 409 or 412 where all \
         of these would be refused like that alone, else with 422. Without it each item has a status of its own, and a \
         problem whose pointers begin at the item."
    );
    let content = ContentBuilder::new()
        .schema(Some(reference(&format!("{}BatchResult", resource.schema))))
        .example(Some(answer_example(resource, act)));
    let answer = ResponseBuilder::new()
        .description("What became of each item, in their order.")
        .content("application/json", content.build());
    let verb = super::examples::capital(act.name());
    let operation = OperationBuilder::new()
        .summary(Some(summary))
        .description(Some(about))
        .operation_id(Some(format!("batch{verb}{}", many(resource))))
        .request_body(Some(request(&name(resource, act), body_example_of(resource, act), "application/json")))
        .response("200", answer);
    problems(operation, &[400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 503])
}

fn name(resource: &Resource, act: BatchAction) -> String {
    format!("{}Batch{}", resource.schema, super::examples::capital(act.name()))
}

/// The request body of a batch.
fn taken(resource: &Resource, act: BatchAction) -> Schema {
    let items = match act {
        BatchAction::Create => reference(&format!("{}Create", resource.schema)),
        BatchAction::Update => RefOr::T(change(resource)),
        BatchAction::Upsert => RefOr::T(match_or_new(resource)),
        BatchAction::Delete => RefOr::T(value_schema(FieldType::Uuid).build().into()),
    };
    let items = ArrayBuilder::new().items(items).min_items(Some(1)).max_items(Some(MAX_ITEMS));
    let all_or_none = ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .description(Some(with_default("Whether nothing is done when anything is wrong.", "true")));
    let mut object = closed().property(act.list(), items).required(act.list()).property("all_or_none", all_or_none);
    if act == BatchAction::Upsert {
        let keys = resource.unique_fields().map(|field| field.name);
        let key = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(keys))
            .description(Some("The field by which rows are recognised; every item has it."));
        object = object.property("id_property", key).required("id_property");
    }
    object.examples([body_example_of(resource, act)]).build().into()
}

fn closed() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn change(resource: &Resource) -> Schema {
    let Schema::Object(mut object) = body(resource, false) else { return closed().build().into() };
    let version =
        super::schemas::integer(1, i64::MAX).description(Some("Changes the row only if this is its version."));
    let id = value_schema(FieldType::Uuid).description(Some("Which row."));
    object.properties.insert("id".to_owned(), RefOr::T(id.build().into()));
    object.properties.insert("version".to_owned(), RefOr::T(version.build().into()));
    object.required.push("id".to_owned());
    object.examples.clear();
    Schema::Object(object)
}

fn match_or_new(resource: &Resource) -> Schema {
    let Schema::Object(mut object) = body(resource, true) else { return closed().build().into() };
    // An existing row has what a new row requires.
    object.required.clear();
    object.examples.clear();
    Schema::Object(object)
}

fn given(resource: &Resource) -> Schema {
    let items = |about: &str| integer(0, MAX_ITEMS as i64).description(Some(about));
    let text = |about: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(about));
    let result = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property(
            "status",
            integer(200, 599)
                .description(Some("As the item alone would be answered: 201, 200, 204, or that of its problem.")),
        )
        .property("id", value_schema(FieldType::Uuid).description(Some("The row's, where there is one.")))
        .property("etag", text("The row's, of one that was made or changed."))
        .property("row", reference(resource.schema))
        .property("problem", reference("Problem"))
        .required("status");
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(format!("What became of a batch of {}.", spaced(resource.plural))))
        .property("results", ArrayBuilder::new().items(RefOr::T(Schema::from(result.build()))))
        .property("succeeded", items("How many items were done."))
        .property("failed", items("How many were not; never any with `all_or_none`."))
        .required("results")
        .required("succeeded")
        .required("failed")
        .build()
        .into()
}

fn body_example_of(resource: &Resource, act: BatchAction) -> Json {
    let id = example(resource.fields[0].example);
    match act {
        BatchAction::Create => json!({ "items": [body_example(resource, true)], "all_or_none": true }),
        BatchAction::Update => {
            let mut item = json!({ "id": id, "version": 1 });
            if let (Some(item), Json::Object(more)) = (item.as_object_mut(), body_example(resource, false)) {
                item.extend(more);
            }
            json!({ "items": [item], "all_or_none": true })
        }
        BatchAction::Upsert => {
            let key = resource.unique_fields().last().map(|field| field.name).unwrap_or_default();
            json!({ "id_property": key, "items": [body_example(resource, true)], "all_or_none": true })
        }
        BatchAction::Delete => json!({ "ids": [id], "all_or_none": true }),
    }
}

fn answer_example(resource: &Resource, act: BatchAction) -> Json {
    let id = example(resource.fields[0].example);
    let result = match act {
        BatchAction::Delete => json!({ "status": 204, "id": id }),
        act => json!({
            "status": if act == BatchAction::Update { 200 } else { 201 }, "id": id, "etag": "\"1.9f86d081884c7d65\"", "row": row_example(resource),
        }),
    };
    json!({ "results": [result], "succeeded": 1, "failed": 0 })
}
