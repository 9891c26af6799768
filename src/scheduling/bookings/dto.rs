//! What the operations of bookings take.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::resource::FieldType;
use crate::resource::body::{BodyErrors, value_type};

value_type! {
    /// When the booking begins.
    pub NewStart(DateTime<Utc>): FieldType::Time, r#""2026-11-23T08:00:00Z""#;
    /// Id of a member of staff.
    pub StaffId(Uuid): FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c75""#;
}

/// Where a booking is moved.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "starts_at": "2026-11-23T08:00:00Z" })))]
pub struct RescheduleRequest {
    pub starts_at: NewStart,
    /// By whom from now on; as before when left out.
    #[deserr(default)]
    pub staff_id: Option<StaffId>,
}
