//! OpenAPI descriptions of a resource's batch writes.

use utoipa::openapi::Response;
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};

use super::examples::{capital, many, spaced};
use super::field_schema::{JSON_OBJECT, integer, named, value_schema};
use super::names;
use super::operations::request;
use super::schemas::closed;
use crate::http::openapi_responses::{json_response, problems, reference, response_ref, with_default};
use crate::resource::Resource;
use crate::resource::batch::{BatchAction, MAX_ITEMS};
use crate::resource::field::FieldType;

/// The request body of a deletion, which is the same for all resources.
const DELETE: &str = "BatchDelete";

/// The response, which is the same for all resources: only its rows follow from the resource.
const RESULT: &str = "BatchResult";
const ITEM_RESULT: &str = "BatchItemResult";

const ABOUT: &str = "What became of each item, in their order: up to 1,000 of them, in one transaction. With `all_or_none`, which is \
    the default, nothing is done when anything is wrong, and `errors` points into every item that is: with 404, 409 or 412 where all \
    of these would be refused like that alone, else with 422. Without it each item has a status of its own, and a problem whose \
    pointers begin at the item. An upsert recognises each row by `id_property`: the row that has this value is changed as by a merge \
    patch, and created if there is none; fields that are set once may be repeated.";

/// Returns the schemas that the batches of all resources share, with their names.
pub fn shared() -> Vec<(&'static str, Schema)> {
    let ids = ArrayBuilder::new().items(value_schema(FieldType::Uuid)).min_items(Some(1)).max_items(Some(MAX_ITEMS));
    vec![(DELETE, with_all_or_none(BatchAction::Delete, ids)), (RESULT, result()), (ITEM_RESULT, item_result())]
}

/// Returns the response of every batch, with its name.
pub fn shared_response() -> (&'static str, Response) {
    (RESULT, json_response(ABOUT, RESULT))
}

/// Returns each schema of the resource's batch requests and responses, with its name.
pub(super) fn schemas(resource: &Resource) -> Vec<(String, Schema)> {
    let mut schemas = vec![(names::key(resource), key(resource))];
    for act in [BatchAction::Create, BatchAction::Update, BatchAction::Upsert] {
        schemas.push((name(resource, act), taken(resource, act)));
    }
    schemas
}

pub(super) fn operation(resource: &'static Resource, act: BatchAction) -> OperationBuilder {
    let rows = spaced(resource.plural);
    let summary = match act {
        BatchAction::Create => format!("Create several {rows}"),
        BatchAction::Update => format!("Change several {rows}"),
        BatchAction::Upsert => format!("Create or change several {rows}"),
        BatchAction::Delete => format!("Delete several {rows}"),
    };
    let operation = OperationBuilder::new()
        .summary(Some(summary))
        .operation_id(Some(format!("batch{}{}", capital(act.name()), many(resource))))
        .request_body(Some(request(&name(resource, act))))
        .response("200", response_ref(RESULT));
    problems(operation, &[400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 503])
}

fn name(resource: &Resource, act: BatchAction) -> String {
    match act {
        BatchAction::Delete => DELETE.to_owned(),
        act => format!("{}Batch{}", resource.schema, capital(act.name())),
    }
}

/// The request body of a batch.
fn taken(resource: &Resource, act: BatchAction) -> Schema {
    let (item, about) = match act {
        BatchAction::Update => {
            (names::update(resource), Some("Each names its row by `id`, and may state its `version`."))
        }
        BatchAction::Upsert => {
            (names::update(resource), Some("Each has what it is recognised by; a new row, what a new row needs."))
        }
        _ => (names::create(resource), None),
    };
    let items =
        ArrayBuilder::new().items(reference(&item)).min_items(Some(1)).max_items(Some(MAX_ITEMS)).description(about);
    match (with_all_or_none(act, items), act) {
        (Schema::Object(mut object), BatchAction::Upsert) => {
            object.properties.insert("id_property".to_owned(), reference(&names::key(resource)));
            object.required.push("id_property".to_owned());
            Schema::Object(object)
        }
        (other, _) => other,
    }
}

fn with_all_or_none(act: BatchAction, items: ArrayBuilder) -> Schema {
    let all_or_none = ObjectBuilder::new().schema_type(Type::Boolean).description(Some(with_default("", "true")));
    closed().property(act.list(), items).required(act.list()).property("all_or_none", all_or_none).build().into()
}

fn key(resource: &Resource) -> Schema {
    let about = "The field by which rows are recognised; every item has it.";
    let keys = resource.unique_fields().map(|field| field.name);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(keys)).description(Some(about)).build().into()
}

fn result() -> Schema {
    let items = |about: &str| integer(0, MAX_ITEMS as i64).description(Some(about));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("What became of a batch."))
        .property(
            "results",
            ArrayBuilder::new().items(reference(ITEM_RESULT)).description(Some("In the order of the items.")),
        )
        .property("succeeded", items("How many items were done."))
        .property("failed", items("How many were not; never any with `all_or_none`."))
        .required("results")
        .required("succeeded")
        .required("failed")
        .build()
        .into()
}

fn item_result() -> Schema {
    let etag = ObjectBuilder::new().schema_type(Type::String);
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("What became of an item."))
        .property(
            "status",
            integer(200, 599)
                .description(Some("As the item alone would be answered: 201, 200, 204, or that of its problem.")),
        )
        .property("id", value_schema(FieldType::Uuid).description(Some("The row's, where there is one.")))
        .property("etag", etag.description(Some("The row's, of one that was made or changed.")))
        .property("row", named(JSON_OBJECT, false, "The row, of one that was made or changed."))
        .property("problem", reference("Problem"))
        .required("status")
        .build()
        .into()
}
