//! What is offered: each start of the grid that fits, once, with who performs it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::calendar::Calendar;
use super::fits::fits;
use super::interval::Interval;

/// A start that can be booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    /// Who would perform it, were it booked with anyone: who has the fewest bookings on that day, then by priority.
    pub staff: Uuid,
}

/// Returns what is offered in `range`, in the order of time. Of several who are free at one start the first one by [`rank`] performs it.
pub fn offers(calendars: &[Calendar], range: Interval, now: DateTime<Utc>) -> Vec<Offer> {
    let mut best: BTreeMap<DateTime<Utc>, (Rank, Offer)> = BTreeMap::new();
    for calendar in calendars {
        for start in starts(calendar, range) {
            let interval = calendar.rules.interval(start);
            if fits(calendar, interval, now).is_err() {
                continue;
            }
            let rank = rank(calendar, start);
            let offer = Offer { start, end: interval.end, staff: calendar.staff };
            match best.get(&start) {
                Some((known, _)) if *known <= rank => {}
                _ => drop(best.insert(start, (rank, offer))),
            }
        }
    }
    best.into_values().map(|(_, offer)| offer).collect()
}

/// Who has a booking before others, the smallest first: bookings of the day, priority, id.
type Rank = (u32, i32, Uuid);

/// The rank of a calendar for a start.
pub fn rank(calendar: &Calendar, start: DateTime<Utc>) -> Rank {
    (calendar.booked_on_day_of(start).of_staff, calendar.priority, calendar.staff)
}

/// The starts of a calendar's grid within `range`, in their order, each once: also where shifts of two days meet.
fn starts(calendar: &Calendar, range: Interval) -> Vec<DateTime<Utc>> {
    let step = calendar.rules.slot_interval.max(TimeDelta::seconds(1));
    let mut starts = Vec::new();
    for shift in calendar.shifts() {
        let within = shift.interval.cut(range);
        if within.is_empty() {
            continue;
        }
        let since = (within.start - shift.counts_from).num_seconds().max(0);
        let steps = since.div_euclid(step.num_seconds()) + i64::from(since % step.num_seconds() != 0);
        let mut start = shift.counts_from + TimeDelta::seconds(steps * step.num_seconds());
        if start < within.start {
            start += step;
        }
        while start < within.end {
            starts.push(start);
            start += step;
        }
    }
    starts.sort_unstable();
    starts.dedup();
    starts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::NaiveDate;
    use proptest::prelude::*;

    use super::super::calendar::{DayCount, ServiceRules, StaffMember};
    use super::super::fits::Refusal;
    use super::super::working_time::WorkingTime;
    use super::*;
    use crate::base::zones;
    use crate::scheduling::schedules::TimeSpan;

    const MINUTE: TimeDelta = TimeDelta::minutes(1);

    fn rules(minutes: i64) -> ServiceRules {
        ServiceRules {
            is_active: true,
            duration: MINUTE * minutes as i32,
            buffer_before: TimeDelta::zero(),
            buffer_after: TimeDelta::zero(),
            slot_interval: MINUTE * 15,
            min_notice: TimeDelta::zero(),
            horizon_days: 90,
            max_per_day: None,
        }
    }

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    fn works(zone: &str, of_a_day: &[(u16, u16)]) -> WorkingTime {
        let hours = |(starts, ends): &(u16, u16)| TimeSpan { starts: *starts, ends: *ends };
        let hours: Vec<TimeSpan> = of_a_day.iter().map(hours).collect();
        WorkingTime {
            zone: zones::get(zone).expect("a zone"),
            weekly: std::array::from_fn(|_| hours.clone()),
            overrides: BTreeMap::new(),
            holidays: BTreeSet::new(),
        }
    }

    fn member(rules: ServiceRules) -> StaffMember {
        StaffMember { id: Uuid::from_u128(1), is_active: true, priority: 50, max_per_day: None, rules }
    }

    /// A calendar from `from` to `to`, with time that is taken.
    fn calendar(working: &WorkingTime, member: StaffMember, from: &str, to: &str, taken: &[(&str, &str)]) -> Calendar {
        let taken = taken.iter().map(|(from, to)| Interval::new(instant(from), instant(to))).collect();
        Calendar::new(member, working, Interval::new(instant(from), instant(to)), taken, BTreeMap::new(), instant(from))
    }

    fn offered(calendar: &Calendar, from: &str, to: &str) -> Vec<String> {
        let range = Interval::new(instant(from), instant(to));
        let found = offers(std::slice::from_ref(calendar), range, instant(from));
        found.iter().map(|offer| offer.start.format("%dT%H:%M").to_string()).collect()
    }

    #[test]
    fn last_hour_of_each_block_is_offered() {
        // thunderbird/appointment#1483: the last hour before a pause and before the end is missing.
        let day = works("UTC", &[(9 * 60, 12 * 60), (13 * 60, 15 * 60)]);
        let member =
            StaffMember { rules: ServiceRules { slot_interval: MINUTE * 60, ..rules(60) }, ..member(rules(60)) };
        let (from, to) = ("2027-01-04T00:00:00Z", "2027-01-05T00:00:00Z");
        let free = calendar(&day, member, from, to, &[]);
        assert_eq!(offered(&free, from, to), ["04T09:00", "04T10:00", "04T11:00", "04T13:00", "04T14:00"]);
    }

    #[test]
    fn midnight_is_no_border() {
        // cal.diy#5587 #6323, easyappointments#1822: days that end at 23:59, and bookings that reach over midnight.
        let (from, to) = ("2027-01-04T00:00:00Z", "2027-01-06T00:00:00Z");
        let bar = works("UTC", &[(23 * 60, 25 * 60)]);
        let long = StaffMember { rules: ServiceRules { slot_interval: MINUTE * 30, ..rules(90) }, ..member(rules(90)) };
        assert_eq!(offered(&calendar(&bar, long, from, to, &[]), from, to), ["04T23:00", "04T23:30"]);
        let all_day = works("UTC", &[(0, 24 * 60)]);
        let hours =
            StaffMember { rules: ServiceRules { slot_interval: MINUTE * 60, ..rules(60) }, ..member(rules(60)) };
        assert_eq!(offered(&calendar(&all_day, hours, from, to, &[]), from, to).len(), 48);
    }

    #[test]
    fn buffers_and_what_has_begun_block() {
        let (from, to) = ("2027-01-04T00:00:00Z", "2027-01-05T00:00:00Z");
        let day = works("UTC", &[(9 * 60, 12 * 60)]);
        let with_buffers = ServiceRules {
            buffer_before: MINUTE * 10,
            buffer_after: MINUTE * 20,
            slot_interval: MINUTE * 30,
            ..rules(30)
        };
        let taken = [("2027-01-04T10:00:00Z", "2027-01-04T10:30:00Z")];
        // 9:00 to 9:30 blocks until 9:50; 9:30 would until 10:20; 10:30 from 10:20 on. The first one's buffer lies before the hours.
        assert_eq!(
            offered(&calendar(&day, member(with_buffers), from, to, &taken), from, to),
            ["04T09:00", "04T11:00", "04T11:30"]
        );
        // SergeyMosin/Appointments#183: what has begun blocks until it ends.
        let now = instant("2027-01-04T10:10:00Z");
        let half_an_hour = |start: &str| Interval::new(instant(start), instant(start) + MINUTE * 30);
        let running = calendar(&day, member(rules(30)), from, to, &taken);
        assert_eq!(fits(&running, half_an_hour("2027-01-04T10:15:00Z"), now), Err(Refusal::Taken));
        assert!(fits(&running, half_an_hour("2027-01-04T10:30:00Z"), now).is_ok());
    }

    #[test]
    fn each_rule_refuses_for_its_own_reason() {
        let (from, to) = ("2027-01-04T00:00:00Z", "2027-01-12T00:00:00Z");
        let day = works("Europe/Berlin", &[(9 * 60, 12 * 60)]);
        let strict = ServiceRules { min_notice: MINUTE * 120, horizon_days: 2, ..rules(30) };
        let mut strict = calendar(&day, member(strict), from, to, &[]);
        let now = instant("2027-01-04T08:00:00Z");
        let judge =
            |calendar: &Calendar, start: &str| fits(calendar, calendar.rules.interval(instant(start)), now).err();
        assert_eq!(judge(&strict, "2027-01-04T09:45:00Z"), Some(Refusal::TooSoon));
        assert_eq!(judge(&strict, "2027-01-04T10:00:00Z"), None);
        assert_eq!(judge(&strict, "2027-01-04T10:07:00Z"), Some(Refusal::NotOffered));
        assert_eq!(judge(&strict, "2027-01-04T10:45:00Z"), Some(Refusal::Closed), "it would not end in time");
        // Today, tomorrow and the day after.
        assert_eq!(judge(&strict, "2027-01-06T10:00:00Z"), None);
        assert_eq!(judge(&strict, "2027-01-07T08:00:00Z"), Some(Refusal::TooFar));
        strict.is_active = false;
        assert_eq!(judge(&strict, "2027-01-04T10:00:00Z"), Some(Refusal::Inactive));
    }

    /// cal.diy#24846: a limit per day counts the days of the calendar, not those of another zone.
    #[test]
    fn limit_counts_the_days_of_the_calendar() {
        let (from, to) = ("2027-01-04T00:00:00Z", "2027-01-06T00:00:00Z");
        let working = works("Pacific/Auckland", &[(0, 24 * 60)]);
        let full = StaffMember { max_per_day: Some(1), ..member(rules(60)) };
        let day: NaiveDate = "2027-01-05".parse().expect("a date");
        let booked = BTreeMap::from([(day, DayCount { of_staff: 1, of_service: 1 })]);
        let range = Interval::new(instant(from), instant(to));
        let calendar = Calendar::new(full, &working, range, Vec::new(), booked, instant(from));
        // The 5th there is from the 4th, 11:00, to the 5th, 11:00.
        let open: Vec<String> = offered(&calendar, from, to);
        assert!(open.contains(&"04T10:45".to_owned()) && open.contains(&"05T11:00".to_owned()), "{open:?}");
        assert!(!open.iter().any(|start| ("04T11:00".."05T11:00").contains(&start.as_str())), "{open:?}");
    }

    #[test]
    fn anyone_is_who_has_the_fewest_then_by_priority() {
        let (from, to) = ("2027-01-04T00:00:00Z", "2027-01-05T00:00:00Z");
        let working = works("UTC", &[(9 * 60, 10 * 60)]);
        let range = Interval::new(instant(from), instant(to));
        let of = |id: u128, priority: i32, booked: u32| {
            let member = StaffMember { id: Uuid::from_u128(id), priority, ..member(rules(60)) };
            let day = DayCount { of_staff: booked, of_service: booked };
            let booked = BTreeMap::from([(instant(from).date_naive(), day)]);
            Calendar::new(member, &working, range, Vec::new(), booked, instant(from))
        };
        let first = |calendars: &[Calendar]| offers(calendars, range, instant(from))[0].staff.as_u128();
        assert_eq!(first(&[of(1, 1, 2), of(2, 50, 1), of(3, 60, 1)]), 2);
        assert_eq!(first(&[of(9, 50, 1), of(3, 50, 1)]), 3);
        let once = offers(&[of(1, 1, 0), of(2, 1, 0)], range, instant(from));
        assert_eq!(once.len(), 1, "no start twice: {once:?}");
    }

    proptest! {
        /// Whatever the zone and the hours: what is offered fits, lasts as long as it should, begins at a local time that exists and is a multiple of
        /// the interval from the beginning of the hours; and each start that fits is offered.
        #[test]
        fn offered_is_what_fits(
            zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "America/Havana", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia", "Africa/Casablanca"]),
            change in any::<prop::sample::Index>(),
            hours in prop::collection::vec((0_u16..1440, 15_u16..1440), 1..3),
            duration in 5_i64..180, interval in prop::sample::select(vec![5_i64, 10, 15, 20, 30, 45, 60]),
            before in 0_i64..30, after in 0_i64..30,
            busy in prop::collection::vec((0_i64..5_000, 1_i64..300), 0..4),
        ) {
            let known = zones::get(zone).expect("a zone");
            let changes = known.offsets(instant("2000-01-01T00:00:00Z"), instant("2036-01-01T00:00:00Z"));
            let (at, _) = changes[change.index(changes.len())];
            let from = DateTime::from_timestamp(at.timestamp().div_euclid(3_600) * 3_600, 0).expect("an instant") - MINUTE * 2_160;
            let range = Interval::new(from, from + MINUTE * 4_320);
            let hours: Vec<(u16, u16)> = hours.into_iter().map(|(starts, length)| (starts, (starts + length).min(2_880))).collect();
            let rules = ServiceRules { buffer_before: MINUTE * before as i32, buffer_after: MINUTE * after as i32, slot_interval: MINUTE * interval as i32, ..rules(duration) };
            let taken = busy.into_iter().map(|(start, length)| {
                let start = from + MINUTE * start as i32;
                Interval::new(start, start + MINUTE * length as i32)
            }).collect::<Vec<_>>();
            let working = works(zone, &hours);
            let calendar = Calendar::new(member(rules), &working, range, taken.clone(), BTreeMap::new(), from);
            let offered: BTreeSet<DateTime<Utc>> = offers(std::slice::from_ref(&calendar), range, from).into_iter().map(|offer| {
                assert_eq!(offer.end - offer.start, rules.duration);
                offer.start
            }).collect();
            let mut start = range.start;
            while start < range.end {
                prop_assert_eq!(fits(&calendar, rules.interval(start), from).is_ok(), offered.contains(&start), "{} at {}", zone, start);
                if offered.contains(&start) {
                    let blocked = rules.blocked(rules.interval(start));
                    prop_assert!(taken.iter().all(|other| other.end <= blocked.start || blocked.end <= other.start));
                    let wall = known.wall(start).expect("a time");
                    let of_day = (wall.time() - chrono::NaiveTime::MIN).num_minutes();
                    let is_of = |(starts, ends): &(u16, u16)| {
                        [of_day, of_day + 1_440].iter().any(|minute| *minute >= i64::from(*starts) && *minute < i64::from(*ends) && (*minute - i64::from(*starts)) % interval == 0)
                    };
                    prop_assert!(hours.iter().any(is_of), "{} {} {:?}", start, wall, hours);
                }
                start += MINUTE;
            }
        }
    }
}
