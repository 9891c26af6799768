//! A noun's description as OpenAPI: its schemas, its parameters, its operations.

mod acts;
mod batches;
mod examples;
mod operations;
mod parameters;
mod parts;
mod schemas;

use utoipa::openapi::path::{HttpMethod, OperationBuilder};
use utoipa::openapi::{OpenApi, PathItem, RefOr, Schema};

pub use self::acts::{Act, Gives};
pub use self::examples::{example, row_example};
use self::operations::{batch_read, below, create, delete, export, history, list, read, restore, update};
pub use self::parts::{Part, Shape};
use self::schemas::{batch, body, created_schema, page, row, with_secret};
use super::Noun;
use super::batch::Act as Batched;

/// Adds everything that `noun` has to the document.
pub fn describe(noun: &'static Noun, api: &mut OpenApi) {
    let components = api.components.get_or_insert_default();
    let mut schema = |name: String, schema: Schema| components.schemas.insert(name, RefOr::T(schema));
    schema(noun.schema.to_owned(), row(noun));
    schema(format!("{}Page", noun.schema), page(noun));
    schema(format!("{}Batch", noun.schema), batch(noun));
    if noun.operations.create {
        schema(format!("{}Create", noun.schema), body(noun, true));
    }
    if noun.operations.update {
        schema(format!("{}Update", noun.schema), body(noun, false));
    }
    if created_schema(noun) != noun.schema {
        schema(created_schema(noun), with_secret(noun));
    }
    if noun.operations.batch {
        batches::schemas(noun).into_iter().for_each(|(name, described)| drop(schema(name, described)));
    }
    paths(noun, api);
}

/// Adds the list of what belongs to a row of `parent`: rows of `noun` below `name`, which `link` narrows to it.
pub fn listed_below(
    api: &mut OpenApi,
    parent: &'static Noun,
    noun: &'static Noun,
    name: &'static str,
    link: &'static str,
    about: &'static str,
) {
    let components = api.components.get_or_insert_default();
    components.schemas.insert(noun.schema.to_owned(), RefOr::T(row(noun)));
    components.schemas.insert(format!("{}Page", noun.schema), RefOr::T(page(noun)));
    let operation = below(parent, noun, link, about).tag(parent.plural);
    let path = format!("{}/{}/{{id}}/{name}", super::http::API, parent.plural);
    insert(api, path, HttpMethod::Get, operation);
}

fn paths(noun: &'static Noun, api: &mut OpenApi) {
    let base = format!("{}/{}", super::http::API, noun.path());
    let operations = noun.operations;
    let mut add = |path: String, method: HttpMethod, operation: OperationBuilder| {
        insert(api, path, method, operation.tag(noun.plural));
    };
    add(base.clone(), HttpMethod::Get, list(noun));
    if operations.create {
        add(base.clone(), HttpMethod::Post, create(noun));
    }
    add(format!("{base}/export"), HttpMethod::Get, export(noun));
    add(format!("{base}/batch/read"), HttpMethod::Post, batch_read(noun));
    for act in Batched::ALL.into_iter().filter(|_| operations.batch) {
        add(format!("{base}/batch/{}", act.name()), HttpMethod::Post, batches::operation(noun, act));
    }
    add(format!("{base}/{{id}}"), HttpMethod::Get, read(noun));
    if operations.update {
        add(format!("{base}/{{id}}"), HttpMethod::Patch, update(noun));
    }
    if operations.delete {
        add(format!("{base}/{{id}}"), HttpMethod::Delete, delete(noun));
    }
    if noun.has_history() {
        add(super::history::path(noun), HttpMethod::Get, history(noun));
    }
    if operations.restore {
        add(format!("{base}/{{id}}/restoration"), HttpMethod::Post, restore(noun));
    }
}

/// Adds an operation beside those that its path has already.
pub fn insert(api: &mut OpenApi, path: String, method: HttpMethod, operation: OperationBuilder) {
    let item = PathItem::new(method, operation);
    match api.paths.paths.get_mut(&path) {
        Some(known) => known.merge_operations(item),
        None => {
            api.paths.paths.insert(path, item);
        }
    }
}
