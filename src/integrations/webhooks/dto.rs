//! What a replay of events to a webhook takes and returns.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use utoipa::ToSchema;

use crate::base::error::{Error, FieldError, Result};
use crate::resource::FieldType;
use crate::resource::body::{BodyErrors, value_type};

value_type! {
    /// The number of an event in its business.
    pub EventNumber(i64): FieldType::Int { min: 0, max: i64::MAX }, "4711";
    /// An instant.
    pub Instant(DateTime<Utc>): FieldType::Time, r#""2026-11-20T09:30:00Z""#;
}

/// Where a replay begins.
#[derive(Clone, Copy, Debug)]
pub enum ReplayStart {
    /// After the event of this number.
    After(i64),
    Since(DateTime<Utc>),
}

/// From where on events are sent again: either `after` or `since`.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "after": 4711 })))]
pub struct ReplayRequest {
    /// From the event after this number on.
    #[deserr(default)]
    after: Option<EventNumber>,
    /// Or from the first event of this time on.
    #[deserr(default)]
    since: Option<Instant>,
}

impl ReplayRequest {
    /// Returns where the replay begins. Errors: 422 unless the body says one of both.
    pub fn start(self) -> Result<ReplayStart> {
        match (self.after, self.since) {
            (Some(EventNumber(number)), None) => Ok(ReplayStart::After(number)),
            (None, Some(Instant(time))) => Ok(ReplayStart::Since(time)),
            _ => Err(Error::Invalid(vec![FieldError::new("/after", "required", "Give either `after` or `since`.")])),
        }
    }
}

/// A replay.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "deliveries": 120, "next": 9711 })))]
pub struct Replay {
    /// How many are sent again.
    #[schema(minimum = 0)]
    pub deliveries: i64,
    /// `after` of the next replay, while there is more; else null.
    #[schema(minimum = 0, required = true)]
    pub next: Option<i64>,
}
