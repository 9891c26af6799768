//! OpenAPI operations of a resource: summaries, parameters, bodies, responses.

use utoipa::openapi::path::{OperationBuilder, Parameter};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::{ContentBuilder, Required};

use super::examples::{article, many, spaced};
use super::names;
use super::parameters::{allow_duplicate, format, id, if_match, if_none_match, list_parameters, view_parameters};
use super::schemas::BATCH_READ;
use crate::http::openapi_responses::{header_ref, problems, reference, response_ref};
use crate::resource::audit_log::AUDIT_LOG;
use crate::resource::{Resource, crud, export};

pub(super) fn list(resource: &'static Resource) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(format!("List {}", spaced(resource.plural))))
        .operation_id(Some(format!("list{}", many(resource))))
        .response("200", page_answer(resource))
        .response("304", response_ref("NotModified"));
    let operation = with(operation, list_parameters(resource).into_iter().chain([if_none_match()]));
    problems(operation, &[400, 401, 403, 503])
}

pub(super) fn read(resource: &'static Resource) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(format!("Get {}", article(resource))))
        .operation_id(Some(format!("get{}", names::pascal(resource.name))))
        .parameter(id());
    let operation = with(operation, view_parameters(resource).into_iter().chain([if_none_match()]))
        .response("200", row_answer(resource.schema, "The row."))
        .response("304", response_ref("NotModified"));
    problems(operation, &[400, 401, 403, 404, 503])
}

/// With `checks_duplicates`, the parameter `allow_duplicate` switches the check off.
pub(super) fn create(resource: &'static Resource, checks_duplicates: bool) -> OperationBuilder {
    let answer = row_answer(&names::created(resource), "The new row.").header_ref("Location", header_ref("Location"));
    let operation = OperationBuilder::new()
        .summary(Some(format!("Create {}", article(resource))))
        .operation_id(Some(format!("create{}", names::pascal(resource.name))))
        .request_body(Some(request(&names::create(resource))))
        .response("201", answer);
    let operation = with(operation, checks_duplicates.then(allow_duplicate));
    problems(operation, &[400, 401, 403, 408, 409, 413, 415, 422, 503])
}

pub(super) fn update(resource: &'static Resource) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(format!("Change {}", article(resource))))
        .operation_id(Some(format!("update{}", names::pascal(resource.name))))
        .parameter(id())
        .parameter(if_match())
        .request_body(Some(request_of(&names::update(resource), "application/merge-patch+json")))
        .response("200", row_answer(resource.schema, "The row as it is now."));
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
        .operation_id(Some(format!("delete{}", names::pascal(resource.name))))
        .parameter(id())
        .parameter(if_match())
        .response("204", ResponseBuilder::new().description("It is deleted."));
    problems(operation, &[400, 401, 403, 404, 409, 412, 503])
}

pub(super) fn restore(resource: &'static Resource) -> OperationBuilder {
    let about = format!("Within {} days after the deletion. Takes no body.", crud::RESTORABLE_DAYS);
    let operation = OperationBuilder::new()
        .summary(Some(format!("Bring back a deleted {}", spaced(resource.name))))
        .description(Some(about))
        .operation_id(Some(format!("restore{}", names::pascal(resource.name))))
        .parameter(id())
        .response("200", row_answer(resource.schema, "The row as it is now."));
    problems(operation, &[401, 403, 404, 408, 409, 413, 415, 422, 503])
}

pub(super) fn batch_read(resource: &'static Resource) -> OperationBuilder {
    let content = ContentBuilder::new().schema(Some(reference(&names::batch_read_result(resource))));
    let answer = ResponseBuilder::new().description("The rows.").content("application/json", content.build());
    let operation = OperationBuilder::new()
        .summary(Some(format!("Get several {} by id", spaced(resource.plural))))
        .operation_id(Some(format!("batchRead{}", many(resource))))
        .request_body(Some(request(BATCH_READ)))
        .response("200", answer);
    problems(operation, &[400, 401, 403, 408, 413, 415, 422, 503])
}

/// The export of a list as a file.
pub(super) fn export(resource: &'static Resource) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(format!("Export {}", spaced(resource.plural))))
        .operation_id(Some(format!("export{}", many(resource))))
        .parameter(format())
        .response("200", response_ref("Export"));
    let whole = list_parameters(resource).into_iter().filter(|one| !export::WITHOUT.contains(&one.name.as_str()));
    problems(with(operation, whole), &[400, 401, 403, 503])
}

/// The history of a row: a list of the audit log, without the parameters that select the row.
pub(super) fn history(summary: &str, operation_id: &str) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .summary(Some(summary))
        .description(Some("Of a deleted row too, as long as it can be restored."))
        .operation_id(Some(operation_id))
        .parameter(id())
        .response("200", page_answer(&AUDIT_LOG));
    let narrowing = list_parameters(&AUDIT_LOG)
        .into_iter()
        .filter(|parameter| !["resource", "row_id"].contains(&parameter.name.as_str()));
    problems(with(operation, narrowing), &[400, 401, 403, 404, 503])
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
        .parameter(id())
        .response("200", page_answer(resource));
    let narrowing = list_parameters(resource).into_iter().filter(|parameter| parameter.name != link);
    problems(with(operation, narrowing), &[400, 401, 403, 404, 503])
}

fn with(operation: OperationBuilder, parameters: impl IntoIterator<Item = Parameter>) -> OperationBuilder {
    parameters.into_iter().fold(operation, OperationBuilder::parameter)
}

fn page_answer(resource: &'static Resource) -> ResponseBuilder {
    row_answer(&names::page(resource), "A page of the list.")
}

fn row_answer(schema: &str, about: &str) -> ResponseBuilder {
    let content = ContentBuilder::new().schema(Some(reference(schema)));
    ResponseBuilder::new()
        .description(about)
        .header_ref("ETag", header_ref("ETag"))
        .content("application/json", content.build())
}

pub(super) fn request(schema: &str) -> RequestBody {
    request_of(schema, "application/json")
}

fn request_of(schema: &str, media_type: &str) -> RequestBody {
    let content = ContentBuilder::new().schema(Some(reference(schema))).build();
    RequestBodyBuilder::new().required(Some(Required::True)).content(media_type, content).build()
}
