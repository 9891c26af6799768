//! OpenAPI operations of a resource: summaries, parameters, bodies, responses.

use serde_json::{Value as Json, json};
use utoipa::openapi::Required;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, Header, HeaderBuilder};

use super::examples::{article, body_example, example, many, page_example, row_example, spaced};
use super::parameters::{id, if_match, if_none_match, list_parameters, query, view_parameters};
use super::schemas::{batch_schema, created_example, created_schema};
use crate::http::openapi_responses::{problems, reference};
use crate::resource::audit_log::AUDIT_LOG;
use crate::resource::{Resource, crud, export};

pub(super) fn list(resource: &'static Resource) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(format!("List {}", spaced(resource.plural))))
        .description(Some(format!("{} The default order is `{}`.", resource.description, resource.default_sort)))
        .operation_id(Some(format!("list{}", many(resource))))
        .response("200", page_answer(resource))
        .response("304", not_modified());
    let operation =
        list_parameters(resource).into_iter().chain([if_none_match()]).fold(operation, OperationBuilder::parameter);
    problems(operation, &[400, 401, 403, 503])
}

pub(super) fn read(resource: &'static Resource) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(format!("Get {}", article(resource))))
        .description(Some(resource.description))
        .operation_id(Some(format!("get{}", resource.schema)))
        .parameter(id(resource));
    let operation =
        view_parameters(resource).into_iter().chain([if_none_match()]).fold(operation, OperationBuilder::parameter);
    let operation =
        operation.response("200", row_answer(resource, resource.schema, "The row.")).response("304", not_modified());
    problems(operation, &[400, 401, 403, 404, 503])
}

/// With `checks_duplicates`, the parameter `allow_duplicate` switches the check off.
pub(super) fn create(resource: &'static Resource, checks_duplicates: bool) -> OperationBuilder {
    let location = header_of("Path of the new row.");
    let answer = row_answer(resource, &created_schema(resource), "The new row.").header("Location", location);
    let operation = OperationBuilder::new()
        .summary(Some(format!("Create {}", article(resource))))
        .description(Some(resource.description))
        .operation_id(Some(format!("create{}", resource.schema)))
        .request_body(Some(request(
            &format!("{}Create", resource.schema),
            body_example(resource, true),
            "application/json",
        )))
        .response("201", answer);
    let operation = match checks_duplicates {
        true => operation.parameter(allow_duplicate(resource)),
        false => operation,
    };
    problems(operation, &[400, 401, 403, 408, 409, 413, 415, 422, 503])
}

fn allow_duplicate(resource: &Resource) -> Parameter {
    let about = format!(
        "What looks like {} that is there already is refused: 409 `possible_duplicate` with `candidates`, each with `id`, \
         `score` and `reasons`. `true` makes it all the same.",
        article(resource)
    );
    ParameterBuilder::new()
        .name("allow_duplicate")
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(Schema::from(ObjectBuilder::new().schema_type(Type::Boolean).build())))
        .build()
}

pub(super) fn update(resource: &'static Resource) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(format!("Change {}", article(resource))))
        .description(Some("A merge patch: what is left out stays as it is, `null` empties a field."))
        .operation_id(Some(format!("update{}", resource.schema)))
        .parameter(id(resource))
        .parameter(if_match())
        .request_body(Some(request(
            &format!("{}Update", resource.schema),
            body_example(resource, false),
            "application/json",
        )))
        .response("200", row_answer(resource, resource.schema, "The row as it is now."));
    problems(operation, &[400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 503])
}

pub(super) fn delete(resource: &'static Resource) -> OperationBuilder {
    let about = match resource.soft_delete() {
        true => format!("It can be brought back within {} days.", crud::RESTORABLE_DAYS),
        false => "It cannot be brought back.".to_owned(),
    };
    let operation = OperationBuilder::new()
        .summary(Some(format!("Delete {}", article(resource))))
        .description(Some(about))
        .operation_id(Some(format!("delete{}", resource.schema)))
        .parameter(id(resource))
        .parameter(if_match())
        .response("204", ResponseBuilder::new().description("It is deleted."));
    problems(operation, &[400, 401, 403, 404, 409, 412, 503])
}

pub(super) fn restore(resource: &'static Resource) -> OperationBuilder {
    let about = format!(
        "Works for {} days after the deletion. A row that is not deleted is answered as it is. Takes no body.",
        crud::RESTORABLE_DAYS
    );
    let operation = OperationBuilder::new()
        .summary(Some(format!("Bring back a deleted {}", spaced(resource.name))))
        .description(Some(about))
        .operation_id(Some(format!("restore{}", resource.schema)))
        .parameter(id(resource))
        .response("200", row_answer(resource, resource.schema, "The row as it is now."));
    problems(operation, &[401, 403, 404, 408, 409, 413, 415, 422, 503])
}

pub(super) fn batch_read(resource: &'static Resource) -> OperationBuilder {
    let mut example = json!({ "ids": [example(resource.fields[0].example)] });
    if let Some(relation) = resource.relations.first() {
        example["include"] = json!([relation.name]);
    }
    let content = ContentBuilder::new()
        .schema(Some(reference(&format!("{}Batch", resource.schema))))
        .example(Some(json!({ "data": [row_example(resource)], "missing": [] })));
    let answer = ResponseBuilder::new()
        .description("The rows that there are, in the order asked, and the ids of those that there are not.")
        .content("application/json", content.build());
    let operation = OperationBuilder::new()
        .summary(Some(format!("Get several {} by id", spaced(resource.plural))))
        .description(Some("Up to 1,000 rows, with their relations, in a fixed number of queries."))
        .operation_id(Some(format!("batchRead{}", many(resource))))
        .request_body(Some(request_of(batch_schema(resource), example, "application/json")))
        .response("200", answer);
    problems(operation, &[400, 401, 403, 408, 413, 415, 422, 503])
}

/// The export of a list as a file.
pub(super) fn export(resource: &'static Resource) -> OperationBuilder {
    let format = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(export::FORMATS))
        .default(Some(json!(export::FORMATS[0])))
        .build();
    let line = row_example(resource);
    let names: Vec<&str> = resource.fields.iter().map(|field| field.name).collect();
    let text = |example: String| {
        let schema = Schema::from(ObjectBuilder::new().schema_type(Type::String).build());
        ContentBuilder::new().schema(Some(schema)).example(Some(example.into())).build()
    };
    let answer = ResponseBuilder::new()
        .description("All rows that the parameters leave, as a file.")
        .content("text/csv", text(format!("{}\r\n", names.join(","))))
        .content("application/x-ndjson", text(format!("{line}\n")));
    let operation = OperationBuilder::new()
        .summary(Some(format!("Export {}", spaced(resource.plural))))
        .description(Some(
            "Every row of the list as CSV (with a header line; `include` adds columns such as `company.name`) or as one JSON \
             object a line, streamed while it is read. A text that a spreadsheet would take for a formula begins with an \
             apostrophe. Rows that change while it runs are as they were when their page was read; when the credential ends, \
             so does the file, without its last chunk.",
        ))
        .operation_id(Some(format!("export{}", many(resource))))
        .parameter(query("format", format, "How it is written."))
        .response("200", answer);
    let whole = list_parameters(resource).into_iter().filter(|one| !export::WITHOUT.contains(&one.name.as_str()));
    problems(whole.fold(operation, OperationBuilder::parameter), &[400, 401, 403, 503])
}

/// The history of a row: a list of the audit log, without the parameter that selects the row.
pub(super) fn history(resource: &'static Resource) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(format!("List what happened to {}", article(resource))))
        .description(Some(
            "Who changed what and when, the newest first; of a deleted row too, as long as it can be restored.",
        ))
        .operation_id(Some(format!("list{}History", resource.schema)))
        .parameter(id(resource))
        .response("200", page_answer(&AUDIT_LOG));
    let narrowing = list_parameters(&AUDIT_LOG).into_iter().filter(|parameter| parameter.name != "row_id");
    problems(narrowing.fold(operation, OperationBuilder::parameter), &[400, 401, 403, 404, 503])
}

/// The list of rows that belong to a row of `parent`, without the parameter that selects them.
pub(super) fn below(
    parent: &'static Resource,
    resource: &'static Resource,
    link: &str,
    about: &str,
) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(format!("List {} of {}", spaced(resource.plural), article(parent))))
        .description(Some(about))
        .operation_id(Some(format!("list{}", many(resource))))
        .parameter(id(parent))
        .response("200", page_answer(resource));
    let narrowing = list_parameters(resource).into_iter().filter(|parameter| parameter.name != link);
    problems(narrowing.fold(operation, OperationBuilder::parameter), &[400, 401, 403, 404, 503])
}

fn page_answer(resource: &'static Resource) -> ResponseBuilder {
    let page = ContentBuilder::new()
        .schema(Some(reference(&format!("{}Page", resource.schema))))
        .example(Some(page_example(resource)));
    ResponseBuilder::new()
        .description(format!("A page of {}.", spaced(resource.plural)))
        .header("ETag", etag())
        .content("application/json", page.build())
}

fn row_answer(resource: &Resource, schema: &str, about: &str) -> ResponseBuilder {
    let shown = if schema == resource.schema { row_example(resource) } else { created_example(resource) };
    let content = ContentBuilder::new().schema(Some(reference(schema))).example(Some(shown));
    ResponseBuilder::new().description(about).header("ETag", etag()).content("application/json", content.build())
}

fn not_modified() -> ResponseBuilder {
    ResponseBuilder::new().description("What you have is still good.").header("ETag", etag())
}

fn etag() -> Header {
    header_of("Identifies this state; send it back in `If-None-Match` or `If-Match`.")
}

fn header_of(about: &str) -> Header {
    HeaderBuilder::new()
        .description(Some(about))
        .schema(Some(Schema::from(ObjectBuilder::new().schema_type(Type::String).build())))
        .build()
}

pub(super) fn request(schema: &str, example: Json, kind: &str) -> RequestBody {
    let content = ContentBuilder::new().schema(Some(reference(schema))).example(Some(example)).build();
    RequestBodyBuilder::new().required(Some(Required::True)).content(kind, content).build()
}

fn request_of(schema: Schema, example: Json, kind: &str) -> RequestBody {
    let content = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
    RequestBodyBuilder::new().required(Some(Required::True)).content(kind, content).build()
}
