//! Decides whether a start can be booked. What is offered, held, booked, confirmed and moved is judged by this one function, so that what is
//! offered fails only where another booking was faster.

use chrono::{DateTime, Utc};

use super::calendar::Calendar;
use super::interval::Interval;

/// Why a start cannot be booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The service or the member of staff cannot be booked now.
    Inactive,
    /// It is no start of the grid.
    NotOffered,
    /// Nobody works then.
    Closed,
    /// It is sooner than the service's notice.
    TooSoon,
    /// It is beyond the service's horizon.
    TooFar,
    /// The time is taken.
    Taken,
    /// The day is full.
    DayFull,
}

/// Judges the time of a booking in a calendar, at `now`; without what is blocked beside it. Errors: the first reason against it.
pub fn fits(calendar: &Calendar, wanted: Interval, now: DateTime<Utc>) -> Result<(), Refusal> {
    let rules = &calendar.rules;
    if !rules.is_active || !calendar.is_active {
        return Err(Refusal::Inactive);
    }
    let start = wanted.start;
    // What is blocked beside a booking may lie outside of the hours.
    if !calendar.is_open(wanted) {
        return Err(Refusal::Closed);
    }
    if !calendar.is_on_grid(start) {
        return Err(Refusal::NotOffered);
    }
    if start < now + rules.min_notice {
        return Err(Refusal::TooSoon);
    }
    if calendar.is_beyond_horizon(start) {
        return Err(Refusal::TooFar);
    }
    if calendar.is_taken(rules.blocked(wanted)) {
        return Err(Refusal::Taken);
    }
    let booked = calendar.booked_on_day_of(start);
    let is_full = |most: Option<u32>, count: u32| most.is_some_and(|most| count >= most);
    if is_full(calendar.max_per_day, booked.of_staff) || is_full(rules.max_per_day, booked.of_service) {
        return Err(Refusal::DayFull);
    }
    Ok(())
}
