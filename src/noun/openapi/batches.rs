//! The batches of a noun that write, in the document.

use serde_json::{Value as Json, json};
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, RefOr};

use super::examples::{body_example, example, many, row_example, spaced};
use super::operations::request;
use super::schemas::{body, value_schema};
use crate::http::document::{integer, problems, reference, with_default};
use crate::noun::batch::{Act, MOST_ITEMS};
use crate::noun::field::Kind;
use crate::noun::{Noun, store};

/// Each schema that the batches of `noun` take or give, with its name.
pub(super) fn schemas(noun: &Noun) -> Vec<(String, Schema)> {
    let mut schemas: Vec<(String, Schema)> = Act::ALL.iter().map(|act| (name(noun, *act), taken(noun, *act))).collect();
    schemas.push((format!("{}BatchResult", noun.schema), given(noun)));
    schemas
}

pub(super) fn operation(noun: &'static Noun, act: Act) -> OperationBuilder {
    let rows = spaced(noun.plural);
    let (summary, about) = match act {
        Act::Create => (format!("Create several {rows}"), String::new()),
        Act::Update => (
            format!("Change several {rows}"),
            " Of each row what is left out stays as it is; with its `version` it is changed only if that is still its own."
                .to_owned(),
        ),
        Act::Upsert => (
            format!("Create or change several {rows}"),
            " Each row is recognised by `id_property`: the one that has this value is changed as by a merge patch, and made if \
             there is none. Fields that are set once may be repeated."
                .to_owned(),
        ),
        Act::Delete => (
            format!("Delete several {rows}"),
            format!(" They can be brought back within {} days.", store::RESTORABLE_DAYS),
        ),
    };
    let about = format!(
        "Up to 1,000 in one transaction, answered in the order of the items.{about}\n\nWith `all_or_none`, which is the default, \
         nothing is done when anything is wrong, and `errors` points into every item that is: with 404, 409 or 412 where all \
         of these would be refused like that alone, else with 422. Without it each item has a status of its own, and a \
         problem whose pointers begin at the item."
    );
    let content = ContentBuilder::new()
        .schema(Some(reference(&format!("{}BatchResult", noun.schema))))
        .example(Some(answer_example(noun, act)));
    let answer = ResponseBuilder::new()
        .description("What became of each item, in their order.")
        .content("application/json", content.build());
    let verb = super::examples::capital(act.name());
    let operation = OperationBuilder::new()
        .summary(Some(summary))
        .description(Some(about))
        .operation_id(Some(format!("batch{verb}{}", many(noun))))
        .request_body(Some(request(&name(noun, act), body_example_of(noun, act), "application/json")))
        .response("200", answer);
    problems(operation, &[400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 503])
}

fn name(noun: &Noun, act: Act) -> String {
    format!("{}Batch{}", noun.schema, super::examples::capital(act.name()))
}

/// The body of a batch.
fn taken(noun: &Noun, act: Act) -> Schema {
    let items = match act {
        Act::Create => reference(&format!("{}Create", noun.schema)),
        Act::Update => RefOr::T(change(noun)),
        Act::Upsert => RefOr::T(match_or_new(noun)),
        Act::Delete => RefOr::T(value_schema(Kind::Uuid).build().into()),
    };
    let items = ArrayBuilder::new().items(items).min_items(Some(1)).max_items(Some(MOST_ITEMS));
    let all_or_none = ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .description(Some(with_default("Whether nothing is done when anything is wrong.", "true")));
    let mut object = closed().property(act.list(), items).required(act.list()).property("all_or_none", all_or_none);
    if act == Act::Upsert {
        let keys = noun.keys().map(|field| field.name);
        let key = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(keys))
            .description(Some("The field by which rows are recognised; every item has it."));
        object = object.property("id_property", key).required("id_property");
    }
    object.examples([body_example_of(noun, act)]).build().into()
}

fn closed() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn change(noun: &Noun) -> Schema {
    let Schema::Object(mut object) = body(noun, false) else { return closed().build().into() };
    let version =
        super::schemas::integer(1, i64::MAX).description(Some("Changes the row only if this is its version."));
    let id = value_schema(Kind::Uuid).description(Some("Which row."));
    object.properties.insert("id".to_owned(), RefOr::T(id.build().into()));
    object.properties.insert("version".to_owned(), RefOr::T(version.build().into()));
    object.required.push("id".to_owned());
    object.examples.clear();
    Schema::Object(object)
}

fn match_or_new(noun: &Noun) -> Schema {
    let Schema::Object(mut object) = body(noun, true) else { return closed().build().into() };
    // What a new row needs, one that is there has already.
    object.required.clear();
    object.examples.clear();
    Schema::Object(object)
}

fn given(noun: &Noun) -> Schema {
    let items = |about: &str| integer(0, MOST_ITEMS as i64).description(Some(about));
    let text = |about: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(about));
    let result = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property(
            "status",
            integer(200, 599)
                .description(Some("As the item alone would be answered: 201, 200, 204, or that of its problem.")),
        )
        .property("id", value_schema(Kind::Uuid).description(Some("The row's, where there is one.")))
        .property("etag", text("The row's, of one that was made or changed."))
        .property("row", reference(noun.schema))
        .property("problem", reference("Problem"))
        .required("status");
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(format!("What became of a batch of {}.", spaced(noun.plural))))
        .property("results", ArrayBuilder::new().items(RefOr::T(Schema::from(result.build()))))
        .property("succeeded", items("How many items were done."))
        .property("failed", items("How many were not; never any with `all_or_none`."))
        .required("results")
        .required("succeeded")
        .required("failed")
        .build()
        .into()
}

fn body_example_of(noun: &Noun, act: Act) -> Json {
    let id = example(noun.fields[0].example);
    match act {
        Act::Create => json!({ "items": [body_example(noun, true)], "all_or_none": true }),
        Act::Update => {
            let mut item = json!({ "id": id, "version": 1 });
            if let (Some(item), Json::Object(more)) = (item.as_object_mut(), body_example(noun, false)) {
                item.extend(more);
            }
            json!({ "items": [item], "all_or_none": true })
        }
        Act::Upsert => {
            let key = noun.keys().last().map(|field| field.name).unwrap_or_default();
            json!({ "id_property": key, "items": [body_example(noun, true)], "all_or_none": true })
        }
        Act::Delete => json!({ "ids": [id], "all_or_none": true }),
    }
}

fn answer_example(noun: &Noun, act: Act) -> Json {
    let id = example(noun.fields[0].example);
    let result = match act {
        Act::Delete => json!({ "status": 204, "id": id }),
        act => json!({
            "status": if act == Act::Update { 200 } else { 201 }, "id": id, "etag": "\"1.9f86d081884c7d65\"", "row": row_example(noun),
        }),
    };
    json!({ "results": [result], "succeeded": 1, "failed": 0 })
}
