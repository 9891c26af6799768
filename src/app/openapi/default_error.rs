//! Describes errors once, as the response `default` of each operation: repeated by status they would be a third of the
//! document, and clients would have a type for each status, all with the same content.

use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, RefOr};

use super::operations::operations;
use crate::http::openapi_responses::{PROBLEM, PROBLEMS, response_ref};

/// Replaces the error responses of each operation by `default`.
pub fn gather(api: &mut OpenApi) {
    operations(api).for_each(gather_of);
}

fn gather_of(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    let before = responses.len();
    // A response that is described in place is of another kind: a probe's 503 is no problem document.
    responses.retain(|status, response| {
        matches!(response, RefOr::T(_)) || !PROBLEMS.iter().any(|(known, _)| known.to_string() == *status)
    });
    if responses.len() < before {
        responses.insert("default".to_owned(), response_ref(PROBLEM));
    }
}
