//! Adds a resource to the OpenAPI document.

use utoipa::openapi::path::{HttpMethod, OperationBuilder};
use utoipa::openapi::{OpenApi, RefOr, Schema};

use super::batches;
use super::operations::{batch_read, below, create, delete, export, history, list, read, restore, update};
use super::path_item::insert;
use super::schemas::{batch, body, created_schema, page, row, with_secret};
use crate::resource::batch::BatchAction;
use crate::resource::definition::Resource;
use crate::resource::http::API;
use crate::resource::module::ResourceModule;

/// Adds everything of the resource to the OpenAPI document.
pub fn describe(module: &'static ResourceModule, api: &mut OpenApi) {
    let resource = module.resource;
    let components = api.components.get_or_insert_default();
    let mut schema = |name: String, schema: Schema| components.schemas.insert(name, RefOr::T(schema));
    schema(resource.schema.to_owned(), row(resource));
    schema(format!("{}Page", resource.schema), page(resource));
    schema(format!("{}Batch", resource.schema), batch(resource));
    if resource.operations.create {
        schema(format!("{}Create", resource.schema), body(resource, true));
    }
    if resource.operations.update {
        schema(format!("{}Update", resource.schema), body(resource, false));
    }
    if created_schema(resource) != resource.schema {
        schema(created_schema(resource), with_secret(resource));
    }
    if resource.operations.batch {
        batches::schemas(resource).into_iter().for_each(|(name, described)| drop(schema(name, described)));
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
    components.schemas.insert(resource.schema.to_owned(), RefOr::T(row(resource)));
    components.schemas.insert(format!("{}Page", resource.schema), RefOr::T(page(resource)));
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
    if resource.has_history() {
        add(format!("{base}/{{id}}/history"), HttpMethod::Get, history(resource));
    }
    if operations.restore {
        add(format!("{base}/{{id}}/restoration"), HttpMethod::Post, restore(resource));
    }
}
