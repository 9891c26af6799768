//! The header `If-Match` as a type, for the `params(…)` of `#[utoipa::path]`.

use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::parameters::if_match;

/// Describes `If-Match`, for an operation that can return 412.
pub struct IfMatchHeader;

impl IntoParams for IfMatchHeader {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![if_match()]
    }
}
