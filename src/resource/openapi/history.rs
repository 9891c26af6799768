//! The history of rows in the OpenAPI document: one operation for all resources, since its parameters and its response are
//! the same for each.

use utoipa::openapi::path::{HttpMethod, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{OpenApi, RefOr, Required};

use super::examples::article;
use super::names::pascal;
use super::operations;
use super::path_item::insert;
use crate::http::openapi_responses::reference;
use crate::resource::Resource;
use crate::resource::audit_log::AUDIT_LOG;
use crate::resource::http::API;

/// The schema of the resources whose rows have a history.
const RESOURCE: &str = "HistoryResource";

/// Adds the history of the rows of `resources`.
pub fn describe_history(resources: &[&'static Resource], api: &mut OpenApi) {
    let with_history = || resources.iter().filter(|resource| resource.has_history());
    // A path of several segments is no value of a path parameter.
    let alone = with_history().filter(|resource| resource.path().contains('/'));
    for resource in alone {
        let summary = format!("List what happened to {}", article(resource));
        let operation = operations::history(&summary, &format!("list{}History", pascal(resource.name)));
        insert(
            api,
            format!("{API}/{}/{{id}}/history", resource.path()),
            HttpMethod::Get,
            operation.tag(resource.plural),
        );
    }
    let paths = with_history().map(|resource| resource.path()).filter(|path| !path.contains('/'));
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(paths))
        .description(Some("A resource whose rows have a history."));
    let components = api.components.get_or_insert_default();
    components.schemas.insert(RESOURCE.to_owned(), RefOr::T(schema.build().into()));
    let resource = ParameterBuilder::new()
        .name("resource")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("Of which resource the row is."))
        .schema(Some(reference(RESOURCE)));
    let operation = operations::history("List what happened to a row", "listHistory").parameter(resource);
    let path = format!("{API}/{{resource}}/{{id}}/history");
    insert(api, path, HttpMethod::Get, operation.tag(AUDIT_LOG.plural));
}
