//! Adds a resource to the OpenAPI document.

use utoipa::PartialSchema;
use utoipa::openapi::path::{HttpMethod, OperationBuilder};
use utoipa::openapi::{OpenApi, RefOr, Schema};

use super::field_schema::JSON_OBJECT;
use super::operations::{batch_read, below, create, delete, export, list, read, restore, update};
use super::path_item::insert;
use super::values::JsonObject;
use super::{batches, names, schemas};
use crate::resource::batch::BatchAction;
use crate::resource::definition::Resource;
use crate::resource::http::API;
use crate::resource::module::ResourceModule;

/// Returns the schemas that all resources share, with their names.
pub fn shared() -> impl Iterator<Item = (&'static str, RefOr<Schema>)> {
    let described = schemas::shared().into_iter().chain(batches::shared());
    described.map(|(name, schema)| (name, RefOr::T(schema))).chain([(JSON_OBJECT, JsonObject::schema())])
}

/// Adds everything of the resource to the OpenAPI document.
pub fn describe(module: &'static ResourceModule, api: &mut OpenApi) {
    let resource = module.resource;
    let components = api.components.get_or_insert_default();
    let mut add = |described: Vec<(String, Schema)>| {
        components.schemas.extend(described.into_iter().map(|(name, schema)| (name, RefOr::T(schema))));
    };
    add(schemas::of(resource));
    add(vec![(names::batch_read_result(resource), schemas::batch_read_result(resource))]);
    if resource.operations.batch {
        add(batches::schemas(resource));
    }
    paths(module, api);
    module.describe.iter().for_each(|describe| describe(api));
}

/// Adds the list of rows that belong to a row of `parent`, at `name` below it; `link` is the parameter that selects
/// them.
pub fn listed_below(
    api: &mut OpenApi,
    parent: &'static Resource,
    resource: &'static Resource,
    name: &'static str,
    link: &'static str,
    about: &'static str,
) {
    let components = api.components.get_or_insert_default();
    components.schemas.extend(schemas::of(resource).into_iter().map(|(name, schema)| (name, RefOr::T(schema))));
    let operation = below(parent, resource, link, about).tag(parent.plural);
    let path = format!("{}/{}/{{id}}/{name}", API, parent.plural);
    insert(api, path, HttpMethod::Get, operation);
}

fn paths(module: &'static ResourceModule, api: &mut OpenApi) {
    let resource = module.resource;
    let base = format!("{API}/{}", resource.path());
    let operations = resource.operations;
    let mut add = |path: String, method: HttpMethod, operation: OperationBuilder| {
        insert(api, path, method, operation.tag(resource.plural));
    };
    add(base.clone(), HttpMethod::Get, list(resource));
    if operations.create {
        add(base.clone(), HttpMethod::Post, create(resource, module.duplicate_check.is_some()));
    }
    add(format!("{base}/export"), HttpMethod::Get, export(resource));
    add(format!("{base}/batch/read"), HttpMethod::Post, batch_read(resource));
    for act in BatchAction::ALL.into_iter().filter(|_| operations.batch) {
        add(format!("{base}/batch/{}", act.name()), HttpMethod::Post, batches::operation(resource, act));
    }
    add(format!("{base}/{{id}}"), HttpMethod::Get, read(resource));
    if operations.update {
        add(format!("{base}/{{id}}"), HttpMethod::Patch, update(resource));
    }
    if operations.delete {
        add(format!("{base}/{{id}}"), HttpMethod::Delete, delete(resource));
    }
    if operations.restore {
        add(format!("{base}/{{id}}/restoration"), HttpMethod::Post, restore(resource));
    }
}
