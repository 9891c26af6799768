//! The time that a booking takes of its staff.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Statuses in which a booking takes its staff's time; the same as in the exclusion constraint.
pub const BLOCKING_STATUSES: [&str; 3] = ["held", "pending", "confirmed"];

/// The time that a booking takes of its staff.
#[derive(Clone, Debug)]
pub struct TimeSlot {
    pub staff: Uuid,
    /// Whether the booking assigns the staff member now, who must then be bookable.
    pub chosen: bool,
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    /// The booking's code.
    pub code: String,
}
