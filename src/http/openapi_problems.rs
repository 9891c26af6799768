//! Error responses as types, for the `responses(…)` of `#[utoipa::path]`: in groups, each with its reason, and one by one.

use std::collections::BTreeMap;

use utoipa::openapi::{Ref, RefOr, Response};
use utoipa::{IntoResponses, ToResponse};

use super::openapi_responses::problem;

type Responses = BTreeMap<String, RefOr<Response>>;

fn problems<const N: usize>(statuses: [u16; N]) -> Responses {
    let named = |status: u16| (status.to_string(), RefOr::Ref(Ref::from_response_name(problem(status).0)));
    statuses.into_iter().map(named).collect()
}

/// What any operation can return: the rate limit is used up, or the service cannot do it now.
pub struct ServiceProblems;

impl IntoResponses for ServiceProblems {
    fn responses() -> Responses {
        problems([429, 503])
    }
}

/// What an operation that needs a credential returns: it is not valid, or not permitted this.
pub struct CallerProblems;

impl IntoResponses for CallerProblems {
    fn responses() -> Responses {
        problems([401, 403])
    }
}

/// What an operation that reads a body returns: it is malformed, late, too large, of another type, or invalid.
pub struct BodyProblems;

impl IntoResponses for BodyProblems {
    fn responses() -> Responses {
        problems([400, 408, 413, 415, 422])
    }
}

/// Declares a type for each error response.
macro_rules! problem_types {
    ($($name:ident = $status:literal;)+) => {$(
        pub struct $name;

        impl<'r> ToResponse<'r> for $name {
            fn response() -> (&'r str, RefOr<Response>) {
                let (name, response) = problem($status);
                (name, RefOr::T(response))
            }
        }
    )+};
}

problem_types! {
    BadRequest = 400;
    Unauthorized = 401;
    Forbidden = 403;
    NotFound = 404;
    Conflict = 409;
    Gone = 410;
    PreconditionFailed = 412;
}
