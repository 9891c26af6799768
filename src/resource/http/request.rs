//! What the handlers of resources read from a request: the row's id, permissions, the absence of parameters.

use actix_web::HttpRequest;
use uuid::Uuid;

use crate::auth::{Action, Tenant};
use crate::base::error::{Error, Result};
use crate::http::caller::Caller;
use crate::resource::definition::Resource;
use crate::resource::read_rows;

/// Base path of the API.
pub const API: &str = "/api/v1";

/// As `Caller::require`, for operations that return the row, which also needs the permission to read it. Errors: 403.
pub fn may_change(caller: &Caller, resource: &Resource, action: Action) -> Result<Tenant> {
    caller.require(resource.area, Action::Read)?;
    caller.require(resource.area, action)
}

/// Rejects parameters: the client would expect an ignored one to have an effect. Errors: 400.
pub fn no_parameters(request: &HttpRequest) -> Result<()> {
    match request.query_string() {
        "" => Ok(()),
        _ => Err(Error::malformed(
            "unknown_parameter",
            "This operation takes no parameters; all it takes is in its body.",
        )),
    }
}

/// Returns the `{id}` of the path. Errors: 404 when it is not a UUID, and so names no row.
pub fn id(resource: &Resource, request: &HttpRequest) -> Result<Uuid> {
    path_uuid(request, "id").ok_or_else(|| read_rows::not_found(resource))
}

/// Returns a UUID of the path; `None` when it is none, and so names nothing.
pub fn path_uuid(request: &HttpRequest, name: &str) -> Option<Uuid> {
    request.match_info().get(name).and_then(|id| Uuid::try_parse(id).ok())
}
