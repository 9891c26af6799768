//! OpenAPI of the import operations which are not generated from the resource definition.

use serde_json::json;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, Required, Schema};

use super::resource::{FORMATS, IMPORTS, NAMES, ON_MATCH};
use crate::http::openapi_responses::{problems, reference};
use crate::resource::openapi::{Act, Gives, insert};
use crate::resource::{Field, FieldType};

static PREVIEW: [Field; 2] = [
    Field::named(
        "changes",
        FieldType::Object,
        r#"{"2":{"before":null,"after":{"first_name":"Anna"},"notes":[]}}"#,
        "By row of the file, the header of CSV being row 1: the fields before and after, and what the row says besides that is kept elsewhere; `before` is null \
         for a new row.",
    )
    .not_null(),
    Field::named(
        "notes",
        FieldType::Object,
        r#"{"Labels":"`Tags` is taken as `tags`, too: the labels of all these columns are united."}"#,
        "By column: what is not simply taken as a field, such as the second of two columns for one field, or what the service sets. \
         Of a file without columns: members that the last trial left out.",
    )
    .not_null(),
];

/// Adds these operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    insert(api, "/api/v1/imports".to_owned(), HttpMethod::Post, upload());
    let act = |path, id, summary, about| Act {
        method: HttpMethod::Post,
        path,
        tag: IMPORTS.plural,
        id,
        summary,
        about,
        takes: &[],
        status: 202,
        gives: Gives::Row(&IMPORTS),
        problems: &[400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503],
        open: false,
    };
    let acts = [
        act(
            "/imports/{id}/trial",
            "tryImport",
            "Try an import",
            "A job does everything but the writing: afterwards the import has its counts, its refused rows, and a preview. Takes no body. `Location` is the job.",
        ),
        act(
            "/imports/{id}/execution",
            "executeImport",
            "Import a file that was uploaded",
            "As a job. Once: another upload of the same file recognises rows that exist. Takes no body. `Location` is the job.",
        ),
        act(
            "/imports/{id}/reversion",
            "revertImport",
            "Take an import back",
            "A job deletes what the import made, and gives what it changed its old values, where nobody has changed it since: \
             `reverted` and `kept` tell. Needs the permission to delete. Takes no body. `Location` is the job.",
        ),
    ];
    acts.into_iter().for_each(|act| act.describe(api));
    let preview = Act {
        method: HttpMethod::Get,
        path: "/imports/{id}/preview",
        tag: IMPORTS.plural,
        id: "getImportPreview",
        summary: "Get the first changes of a trial",
        about: "The first 20 changes as the last trial would have made them, until the file is imported; and at any time, which \
                columns are not simply taken as a field.",
        takes: &[],
        status: 200,
        gives: Gives::Object(&PREVIEW),
        problems: &[400, 401, 403, 404, 503],
        open: false,
    };
    preview.describe(api);
    insert(api, "/api/v1/imports/{id}/errors".to_owned(), HttpMethod::Get, errors());
}

fn upload() -> OperationBuilder {
    let schema = || Schema::from(ObjectBuilder::new().schema_type(Type::String).build());
    let file = |example: &str| ContentBuilder::new().schema(Some(schema())).example(Some(json!(example))).build();
    let body = RequestBodyBuilder::new()
        .required(Some(Required::True))
        .description(Some("The file, of at most RAPPORT_IMPORT_BYTES; one row has at most a mebibyte."))
        .content("text/csv", file("first_name,email\nAnna,anna@example.com\n"))
        .content("application/x-ndjson", file("{\"first_name\":\"Anna\",\"email\":\"anna@example.com\"}\n"));
    let row = ContentBuilder::new().schema(Some(reference(IMPORTS.schema))).build();
    let operation = OperationBuilder::new()
        .tag(IMPORTS.plural)
        .summary(Some("Upload a file to be imported"))
        .description(Some(
            "Takes the file as it comes, of any size up to the limit, and imports it as a job: 202. With `dry_run=true` it is \
             tried first, with `start=false` only kept (201), so that its mapping can be looked at and changed.",
        ))
        .operation_id(Some("createImport"))
        .request_body(Some(body.build()))
        .response("201", ResponseBuilder::new().description("It is kept.").content("application/json", row.clone()))
        .response("202", ResponseBuilder::new().description("It is being worked on.").content("application/json", row));
    let choice =
        |among: &[&'static str]| ObjectBuilder::new().schema_type(Type::String).enum_values(Some(among.to_vec()));
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let parameters = [
        parameter("resource", choice(NAMES), "What the rows are.", true),
        parameter("format", choice(FORMATS), "As the Content-Type says, too.", false),
        parameter("file_name", text().max_length(Some(255)), "What the file is called.", false),
        parameter("mapping", text(), "A JSON object from header to field; see the import's `mapping`.", false),
        parameter(
            "match_by",
            text(),
            "By what rows are recognised, comma-separated; see the import's `match_by`.",
            false,
        ),
        parameter("on_match", choice(ON_MATCH), "What becomes of a row that is there already; `update`.", false),
        parameter("dry_run", choice(&["true", "false"]), "`true` only tries it.", false),
        parameter("start", choice(&["true", "false"]), "`false` only keeps it.", false),
    ];
    let operation = parameters.into_iter().fold(operation, OperationBuilder::parameter);
    problems(operation, &[400, 401, 403, 408, 413, 415, 422, 429, 503])
}

fn errors() -> OperationBuilder {
    let schema = Schema::from(ObjectBuilder::new().schema_type(Type::String).build());
    let example = json!("row,first_name,email,pointer,code,detail\n4,Bo,not an address,/email,format,…\n");
    let content = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
    let id = ObjectBuilder::new().schema_type(Type::String);
    let flag = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["true", "false"]));
    let operation = OperationBuilder::new()
        .tag(IMPORTS.plural)
        .summary(Some("Get the refused rows of an import"))
        .description(Some(
            "As a CSV file, a line for each fault: the number of the row, its cells as they were (formulas escaped as in exports), and \
             what is wrong. Of CSV the header is row 1, a row is one also where its cells have line breaks, and empty lines are not \
             counted; of NDJSON each line is counted. Cells are empty when the file is not kept any more. With `notes=true` also the rows that \
             were taken and have a value that is kept elsewhere than in its field.",
        ))
        .operation_id(Some("getImportErrors"))
        .parameter(path("id", id))
        .parameter(parameter("notes", flag, "`true`: with rows that were taken, and what of them is kept elsewhere.", false))
        .response("200", ResponseBuilder::new().description("The rows.").content("text/csv", content));
    problems(operation, &[400, 401, 403, 404, 503])
}

fn path(name: &str, schema: ObjectBuilder) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
    parameter.description(Some("Its id.")).schema(Some(Schema::from(schema.build()))).build()
}

fn parameter(name: &str, schema: ObjectBuilder, about: &str, required: bool) -> Parameter {
    let needed = if required { Required::True } else { Required::False };
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).required(needed);
    parameter.description(Some(about)).schema(Some(Schema::from(schema.build()))).build()
}
