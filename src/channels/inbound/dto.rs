//! What a replay of inbound bodies takes and returns.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use utoipa::ToSchema;

use crate::resource::FieldType;
use crate::resource::body::{BodyErrors, value_type};

value_type! {
    /// An instant.
    pub ReplayedTime(DateTime<Utc>): FieldType::Time, r#""2026-11-20T09:30:00Z""#;
}

/// Which of the bodies that a channel delivered are applied again.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "after": "2026-11-20T09:30:00Z" })))]
pub struct ReplayBodiesRequest {
    /// Those that came at this time or later.
    pub after: ReplayedTime,
    /// And before this time; until now when left out.
    #[deserr(default)]
    pub before: Option<ReplayedTime>,
}

/// Bodies that are applied again.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "bodies": 120 })))]
pub struct ReplayedBodies {
    /// How many.
    #[schema(minimum = 0)]
    pub bodies: i64,
}
