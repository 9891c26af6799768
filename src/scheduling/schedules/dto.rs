//! What the operations of `/staff/{id}/schedule` take and return.

use serde::Serialize;
use utoipa::ToSchema;

/// The hours of a week. What has no hours is not open; an empty list is no hours at all.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "weekly": [
    { "weekday": "monday", "start": "09:00", "end": "17:00", "breaks": [{ "start": "12:00", "end": "12:30" }] },
    { "weekday": "friday", "start": "22:00", "end": "26:00" },
] })))]
#[expect(dead_code, reason = "describes a body, which `weekly_hours` reads with every error at once")]
pub struct ScheduleRequest {
    /// Entries of one weekday do not overlap.
    #[schema(max_items = 50)]
    weekly: Vec<WorkingHoursRequest>,
    /// As it was read, or left out: it is that of the member of staff.
    time_zone: Option<String>,
}

/// Working time that begins on a day of the week.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body, which `weekly_hours` reads with every error at once")]
pub struct WorkingHoursRequest {
    #[schema(value_type = Weekday)]
    weekday: String,
    /// In the time zone of the member of staff.
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    start: String,
    /// After `start`; from 24:01 to 48:00 on the next day, so that 26:00 is two hours after midnight. 00:00 is 24:00.
    #[schema(pattern = "^([0-3][0-9]|4[0-8]):[0-5][0-9]$")]
    end: String,
    /// Within the entry, not overlapping.
    #[schema(max_items = 10)]
    breaks: Option<Vec<BreakRequest>>,
}

/// Time within working hours in which nothing can be booked.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body, which `weekly_hours` reads with every error at once")]
pub struct BreakRequest {
    /// After midnight the hours are counted on: 25:00 is 01:00.
    #[schema(pattern = "^([0-3][0-9]|4[0-7]):[0-5][0-9]$")]
    start: String,
    /// After `start`.
    #[schema(pattern = "^([0-3][0-9]|4[0-8]):[0-5][0-9]$")]
    end: String,
}

/// A day of the week.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a member of a body")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// The hours of a week, in order.
#[derive(Debug, Serialize, ToSchema)]
pub struct StaffSchedule {
    pub weekly: Vec<WorkingHours>,
    /// The member's, in which the times are.
    pub time_zone: String,
}

/// Working time that begins on a day of the week.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkingHours {
    #[schema(value_type = Weekday)]
    pub weekday: String,
    pub start: String,
    /// Past 24:00 on the next day.
    pub end: String,
    pub breaks: Vec<WorkBreak>,
}

/// Time within working hours in which nothing can be booked.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkBreak {
    pub start: String,
    pub end: String,
}
