//! What the operations below `/staff/{id}/services` take.

use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::resource::STAFF_SERVICES;
use crate::resource::openapi;

/// A service, with how long it takes the member of staff and for how much. The member is that of the path.
pub struct StaffServiceRequest;

impl PartialSchema for StaffServiceRequest {
    fn schema() -> RefOr<Schema> {
        let about = "A service, with how long it takes them and for how much, where that is not as the service says.";
        openapi::creation(&STAFF_SERVICES, |name| name != "staff_id").description(Some(about)).into()
    }
}

impl ToSchema for StaffServiceRequest {}
