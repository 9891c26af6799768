//! Describes conditional requests of operations that are no resource's.

use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, RefOr};

use super::parameters::if_none_match;
use crate::http::openapi_responses::{header_ref, response_ref};

/// Adds `If-None-Match`, the ETag and 304 to every GET of `api`.
pub fn conditional(api: &mut OpenApi) {
    for operation in api.paths.paths.values_mut().filter_map(|item| item.get.as_mut()) {
        describe(operation);
    }
}

fn describe(operation: &mut Operation) {
    operation.parameters.get_or_insert_default().push(RefOr::T(if_none_match()));
    let responses = &mut operation.responses.responses;
    if let Some(RefOr::T(found)) = responses.get_mut("200") {
        found.headers.insert("ETag".to_owned(), RefOr::Ref(header_ref("ETag")));
    }
    responses.insert("304".to_owned(), response_ref("NotModified"));
}
