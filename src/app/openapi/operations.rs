//! The operations of the OpenAPI document.

use utoipa::openapi::OpenApi;
use utoipa::openapi::path::Operation;

/// Returns all operations, in the order of their paths.
pub(super) fn operations(api: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    api.paths.paths.values_mut().flat_map(|item| {
        [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
    })
}
