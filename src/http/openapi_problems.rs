//! Error responses as types, for the `responses(…)` of `#[utoipa::path]`: in groups, each with its reason, and one by one.

use std::collections::BTreeMap;

use utoipa::openapi::{Ref, RefOr, Response};
use utoipa::{IntoResponses, ToResponse};

use super::openapi_responses::{PROBLEM, problem};

type Responses = BTreeMap<String, RefOr<Response>>;

fn problems<const N: usize>(statuses: [u16; N]) -> Responses {
    let named = |status: u16| (status.to_string(), RefOr::Ref(Ref::from_response_name(PROBLEM)));
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

/// Declares a type for each error response; the operation names the status.
macro_rules! problem_types {
    ($($name:ident;)+) => {$(
        pub struct $name;

        impl<'r> ToResponse<'r> for $name {
            fn response() -> (&'r str, RefOr<Response>) {
                (PROBLEM, RefOr::T(problem()))
            }
        }
    )+};
}

problem_types! {
    BadRequest;
    Unauthorized;
    Forbidden;
    NotFound;
    Conflict;
    Gone;
    PreconditionFailed;
    TooLarge;
}
