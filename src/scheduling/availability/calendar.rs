//! All that is known of one member of staff within a range of time: when they work, what takes their time, how much is booked.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use uuid::Uuid;

use super::interval::{Interval, containing, joined, overlaps};
use super::working_time::{Shift, WorkingTime, covered};
use crate::base::zones::Zone;

/// The rules of a service, as one member of staff performs it.
#[derive(Clone, Copy, Debug)]
pub struct ServiceRules {
    pub is_active: bool,
    pub duration: TimeDelta,
    /// Blocked beside the booking.
    pub buffer_before: TimeDelta,
    pub buffer_after: TimeDelta,
    /// Between the starts that are offered.
    pub slot_interval: TimeDelta,
    /// From now until the first start, in elapsed time.
    pub min_notice: TimeDelta,
    /// How many calendar days ahead, by the calendar of who performs it.
    pub horizon_days: u32,
    /// Bookings of the service in a day.
    pub max_per_day: Option<u32>,
}

impl ServiceRules {
    /// What a booking that starts then takes.
    pub fn interval(&self, start: DateTime<Utc>) -> Interval {
        Interval::new(start, start + self.duration)
    }

    /// The time of a booking with what is blocked beside it.
    pub fn blocked(&self, booked: Interval) -> Interval {
        Interval::new(booked.start - self.buffer_before, booked.end + self.buffer_after)
    }
}

/// How much is booked on a local day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayCount {
    /// With this member of staff, whatever the service.
    pub of_staff: u32,
    /// Of the service, with whomever.
    pub of_service: u32,
}

/// One member of staff within a range: what lies outside of it is not known.
#[derive(Clone, Debug)]
pub struct Calendar {
    pub staff: Uuid,
    pub is_active: bool,
    /// Who of several has a booking: a smaller one first.
    pub priority: i32,
    /// Bookings of a day.
    pub max_per_day: Option<u32>,
    pub rules: ServiceRules,
    pub zone: Zone,
    shifts: Vec<Shift>,
    open: Vec<Interval>,
    taken: Vec<Interval>,
    booked: BTreeMap<NaiveDate, DayCount>,
    /// The first instant after the last day that can be booked.
    horizon: Option<DateTime<Utc>>,
}

/// A member of staff, as a calendar is made of them.
#[derive(Clone, Debug)]
pub struct StaffMember {
    pub id: Uuid,
    pub is_active: bool,
    pub priority: i32,
    pub max_per_day: Option<u32>,
    pub rules: ServiceRules,
}

impl Calendar {
    /// Makes the calendar of `member` within `range`, as it is seen at `now`. `taken`: by bookings with what is blocked beside them, and by
    /// whatever else. `booked`: by local day.
    pub fn new(
        member: StaffMember,
        working: &WorkingTime,
        range: Interval,
        taken: Vec<Interval>,
        booked: BTreeMap<NaiveDate, DayCount>,
        now: DateTime<Utc>,
    ) -> Self {
        let StaffMember { id: staff, is_active, priority, max_per_day, rules } = member;
        let shifts = working.shifts(range);
        let last_day =
            working.zone.day(now).and_then(|day| day.checked_add_days(Days::new(u64::from(rules.horizon_days) + 1)));
        Self {
            staff,
            is_active,
            priority,
            max_per_day,
            rules,
            zone: working.zone.clone(),
            open: covered(&shifts),
            shifts,
            taken: joined(taken),
            booked,
            horizon: last_day.and_then(|day| working.zone.day_start(day)),
        }
    }

    pub fn shifts(&self) -> &[Shift] {
        &self.shifts
    }

    /// Whether the member works all the time.
    pub fn is_open(&self, wanted: Interval) -> bool {
        containing(&self.open, wanted).is_some()
    }

    pub fn is_taken(&self, wanted: Interval) -> bool {
        overlaps(&self.taken, wanted)
    }

    /// Whether it begins after the last day that can be booked.
    pub fn is_beyond_horizon(&self, start: DateTime<Utc>) -> bool {
        self.horizon.is_none_or(|horizon| start >= horizon)
    }

    /// How much is booked on the local day of a start.
    pub fn booked_on_day_of(&self, start: DateTime<Utc>) -> DayCount {
        self.zone.day(start).and_then(|day| self.booked.get(&day)).copied().unwrap_or_default()
    }

    /// Whether the start is one of those that are offered: so many intervals after the beginning of a shift that it lies in.
    pub fn is_on_grid(&self, start: DateTime<Utc>) -> bool {
        let after = self.shifts.partition_point(|shift| shift.interval.start <= start);
        let step = self.rules.slot_interval.num_seconds().max(1);
        self.shifts[..after].iter().rev().take_while(|shift| start - shift.counts_from <= MAX_SHIFT).any(|shift| {
            let since = start - shift.counts_from;
            start < shift.interval.end && since.num_seconds() % step == 0 && since.subsec_nanos() == 0
        })
    }
}

/// No shift lasts longer: two days, and a day by which clocks may be set.
const MAX_SHIFT: TimeDelta = TimeDelta::days(3);
