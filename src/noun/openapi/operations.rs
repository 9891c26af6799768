//! The operations of a noun: summaries, parameters, bodies, answers.

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
use crate::http::document::{problems, reference};
use crate::noun::history::AUDIT_LOG;
use crate::noun::{Noun, export, store};

pub(super) fn list(noun: &'static Noun) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(format!("List {}", spaced(noun.plural))))
        .description(Some(format!("{} The default order is `{}`.", noun.about, noun.default_sort)))
        .operation_id(Some(format!("list{}", many(noun))))
        .response("200", page_answer(noun))
        .response("304", not_modified());
    let operation =
        list_parameters(noun).into_iter().chain([if_none_match()]).fold(operation, OperationBuilder::parameter);
    problems(operation, &[400, 401, 403, 503])
}

pub(super) fn read(noun: &'static Noun) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(format!("Get {}", article(noun))))
        .description(Some(noun.about))
        .operation_id(Some(format!("get{}", noun.schema)))
        .parameter(id(noun));
    let operation =
        view_parameters(noun).into_iter().chain([if_none_match()]).fold(operation, OperationBuilder::parameter);
    let operation =
        operation.response("200", row_answer(noun, noun.schema, "The row.")).response("304", not_modified());
    problems(operation, &[400, 401, 403, 404, 503])
}

pub(super) fn create(noun: &'static Noun) -> OperationBuilder {
    let location = header_of("Path of the new row.");
    let answer = row_answer(noun, &created_schema(noun), "The new row.").header("Location", location);
    let operation = OperationBuilder::new()
        .summary(Some(format!("Create {}", article(noun))))
        .description(Some(noun.about))
        .operation_id(Some(format!("create{}", noun.schema)))
        .request_body(Some(request(&format!("{}Create", noun.schema), body_example(noun, true), "application/json")))
        .response("201", answer);
    let operation = match noun.guard {
        Some(_) => operation.parameter(allow_duplicate(noun)),
        None => operation,
    };
    problems(operation, &[400, 401, 403, 408, 409, 413, 415, 422, 503])
}

fn allow_duplicate(noun: &Noun) -> Parameter {
    let about = format!(
        "What looks like {} that is there already is refused: 409 `possible_duplicate` with `candidates`, each with `id`, \
         `score` and `reasons`. `true` makes it all the same.",
        article(noun)
    );
    ParameterBuilder::new()
        .name("allow_duplicate")
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(Schema::from(ObjectBuilder::new().schema_type(Type::Boolean).build())))
        .build()
}

pub(super) fn update(noun: &'static Noun) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(format!("Change {}", article(noun))))
        .description(Some("A merge patch: what is left out stays as it is, `null` empties a field."))
        .operation_id(Some(format!("update{}", noun.schema)))
        .parameter(id(noun))
        .parameter(if_match())
        .request_body(Some(request(&format!("{}Update", noun.schema), body_example(noun, false), "application/json")))
        .response("200", row_answer(noun, noun.schema, "The row as it is now."));
    problems(operation, &[400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 503])
}

pub(super) fn delete(noun: &'static Noun) -> OperationBuilder {
    let about = match noun.soft_delete() {
        true => format!("It can be brought back within {} days.", store::RESTORABLE_DAYS),
        false => "It cannot be brought back.".to_owned(),
    };
    let operation = OperationBuilder::new()
        .summary(Some(format!("Delete {}", article(noun))))
        .description(Some(about))
        .operation_id(Some(format!("delete{}", noun.schema)))
        .parameter(id(noun))
        .parameter(if_match())
        .response("204", ResponseBuilder::new().description("It is deleted."));
    problems(operation, &[400, 401, 403, 404, 409, 412, 503])
}

pub(super) fn restore(noun: &'static Noun) -> OperationBuilder {
    let about = format!(
        "Works for {} days after the deletion. A row that is not deleted is answered as it is. Takes no body.",
        store::RESTORABLE_DAYS
    );
    let operation = OperationBuilder::new()
        .summary(Some(format!("Bring back a deleted {}", spaced(noun.name))))
        .description(Some(about))
        .operation_id(Some(format!("restore{}", noun.schema)))
        .parameter(id(noun))
        .response("200", row_answer(noun, noun.schema, "The row as it is now."));
    problems(operation, &[401, 403, 404, 408, 409, 413, 415, 422, 503])
}

pub(super) fn batch_read(noun: &'static Noun) -> OperationBuilder {
    let mut example = json!({ "ids": [example(noun.fields[0].example)] });
    if let Some(relation) = noun.relations.first() {
        example["include"] = json!([relation.name]);
    }
    let content = ContentBuilder::new()
        .schema(Some(reference(&format!("{}Batch", noun.schema))))
        .example(Some(json!({ "data": [row_example(noun)], "missing": [] })));
    let answer = ResponseBuilder::new()
        .description("The rows that there are, in the order asked, and the ids of those that there are not.")
        .content("application/json", content.build());
    let operation = OperationBuilder::new()
        .summary(Some(format!("Get several {} by id", spaced(noun.plural))))
        .description(Some("Up to 1,000 rows, with their relations, in a fixed number of queries."))
        .operation_id(Some(format!("batchRead{}", many(noun))))
        .request_body(Some(request_of(batch_schema(noun), example, "application/json")))
        .response("200", answer);
    problems(operation, &[400, 401, 403, 408, 413, 415, 422, 503])
}

/// All rows of a list as a file.
pub(super) fn export(noun: &'static Noun) -> OperationBuilder {
    let format = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(export::FORMATS))
        .default(Some(json!(export::FORMATS[0])))
        .build();
    let line = row_example(noun);
    let names: Vec<&str> = noun.fields.iter().map(|field| field.name).collect();
    let text = |example: String| {
        let schema = Schema::from(ObjectBuilder::new().schema_type(Type::String).build());
        ContentBuilder::new().schema(Some(schema)).example(Some(example.into())).build()
    };
    let answer = ResponseBuilder::new()
        .description("All rows that the parameters leave, as a file.")
        .content("text/csv", text(format!("{}\r\n", names.join(","))))
        .content("application/x-ndjson", text(format!("{line}\n")));
    let operation = OperationBuilder::new()
        .summary(Some(format!("Export {}", spaced(noun.plural))))
        .description(Some(
            "Every row of the list as CSV (with a header line; `include` adds columns such as `company.name`) or as one JSON \
             object a line, streamed while it is read. A text that a spreadsheet would take for a formula begins with an \
             apostrophe. Rows that change while it runs are as they were when their page was read; when the credential ends, \
             so does the file, without its last chunk.",
        ))
        .operation_id(Some(format!("export{}", many(noun))))
        .parameter(query("format", format, "How it is written."))
        .response("200", answer);
    let whole = list_parameters(noun).into_iter().filter(|one| !export::WITHOUT.contains(&one.name.as_str()));
    problems(whole.fold(operation, OperationBuilder::parameter), &[400, 401, 403, 503])
}

/// What happened to a row: a list of the audit log, without what narrows it to the row.
pub(super) fn history(noun: &'static Noun) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(format!("List what happened to {}", article(noun))))
        .description(Some(
            "Who changed what and when, the newest first; of a deleted row too, as long as it can be restored.",
        ))
        .operation_id(Some(format!("list{}History", noun.schema)))
        .parameter(id(noun))
        .response("200", page_answer(&AUDIT_LOG));
    let narrowing = list_parameters(&AUDIT_LOG).into_iter().filter(|parameter| parameter.name != "row_id");
    problems(narrowing.fold(operation, OperationBuilder::parameter), &[400, 401, 403, 404, 503])
}

/// Rows of `noun` that belong to a row of `parent`, without what narrows the list to it.
pub(super) fn below(parent: &'static Noun, noun: &'static Noun, link: &str, about: &str) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(format!("List {} of {}", spaced(noun.plural), article(parent))))
        .description(Some(about))
        .operation_id(Some(format!("list{}", many(noun))))
        .parameter(id(parent))
        .response("200", page_answer(noun));
    let narrowing = list_parameters(noun).into_iter().filter(|parameter| parameter.name != link);
    problems(narrowing.fold(operation, OperationBuilder::parameter), &[400, 401, 403, 404, 503])
}

fn page_answer(noun: &'static Noun) -> ResponseBuilder {
    let page = ContentBuilder::new()
        .schema(Some(reference(&format!("{}Page", noun.schema))))
        .example(Some(page_example(noun)));
    ResponseBuilder::new()
        .description(format!("A page of {}.", spaced(noun.plural)))
        .header("ETag", etag())
        .content("application/json", page.build())
}

fn row_answer(noun: &Noun, schema: &str, about: &str) -> ResponseBuilder {
    let shown = if schema == noun.schema { row_example(noun) } else { created_example(noun) };
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
