//! Adds operations to the paths of the OpenAPI document.

use utoipa::openapi::path::{HttpMethod, OperationBuilder};
use utoipa::openapi::{OpenApi, PathItem};

/// Adds an operation to those that its path has already.
pub fn insert(api: &mut OpenApi, path: String, method: HttpMethod, operation: OperationBuilder) {
    let item = PathItem::new(method, operation);
    match api.paths.paths.get_mut(&path) {
        Some(known) => known.merge_operations(item),
        None => {
            api.paths.paths.insert(path, item);
        }
    }
}
