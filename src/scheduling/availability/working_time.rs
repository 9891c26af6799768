//! When a member of staff works: hours of a week in local minutes, days that have others, and days off, as instants.
//!
//! Hours belong to the local day on which they begin, and may end on the next one. An interval of constant offset at a time is looked at: a local
//! time in a gap (clocks are set forward over it) is in none of them, one in an overlap (clocks are set back) is in two.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::interval::{Interval, joined};
use crate::base::zones::Zone;
use crate::scheduling::schedules::TimeSpan;

/// The hours of one calendar.
#[derive(Clone, Debug)]
pub struct WorkingTime {
    pub zone: Zone,
    /// By weekday, Monday first, without breaks.
    pub weekly: [Vec<TimeSpan>; 7],
    /// Days that have these hours instead; none, and nobody works.
    pub overrides: BTreeMap<NaiveDate, Vec<TimeSpan>>,
    /// Days off, unless `overrides` has them.
    pub holidays: BTreeSet<NaiveDate>,
}

/// A part of working hours under one offset, with where its slots count from: the beginning of the hours, as if that had the same offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shift {
    pub interval: Interval,
    pub counts_from: DateTime<Utc>,
}

impl WorkingTime {
    /// The hours that begin on a local day.
    pub fn hours(&self, day: NaiveDate) -> &[TimeSpan] {
        match self.overrides.get(&day) {
            Some(hours) => hours,
            None if self.holidays.contains(&day) => &[],
            None => &self.weekly[day.weekday().num_days_from_monday() as usize],
        }
    }

    /// The shifts within `range`, in their order.
    pub fn shifts(&self, range: Interval) -> Vec<Shift> {
        let mut shifts = Vec::new();
        let offsets = self.zone.offsets(range.start, range.end);
        for (place, (since, offset)) in offsets.iter().enumerate() {
            let until = offsets.get(place + 1).map_or(range.end, |(next, _)| *next);
            let piece = Interval::new(*since, until).cut(range);
            let offset = TimeDelta::seconds((*offset).into());
            // Hours of the day before may reach into it.
            let (first, last) = ((piece.start + offset).date_naive(), (piece.end + offset).date_naive());
            let days = first.checked_sub_days(Days::new(2)).into_iter().flat_map(|day| day.iter_days());
            for day in days.take_while(|day| *day <= last) {
                for hours in self.hours(day) {
                    let at = |minute: u16| {
                        day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::minutes(minute.into()) - offset
                    };
                    let begins = at(hours.starts);
                    let interval = Interval::new(begins, at(hours.ends)).cut(piece);
                    if !interval.is_empty() {
                        shifts.push(Shift { interval, counts_from: begins });
                    }
                }
            }
        }
        shifts.sort_unstable();
        shifts
    }
}

/// The time that shifts cover, without seams: one that ends when the next one begins goes on.
pub fn covered(shifts: &[Shift]) -> Vec<Interval> {
    joined(shifts.iter().map(|shift| shift.interval).collect())
}

/// Hours without their breaks.
pub fn without_breaks(hours: TimeSpan, breaks: &[TimeSpan]) -> Vec<TimeSpan> {
    let mut breaks: Vec<TimeSpan> = breaks.to_vec();
    breaks.sort_unstable();
    let (mut left, mut from) = (Vec::with_capacity(breaks.len() + 1), hours.starts);
    for pause in breaks {
        if pause.starts > from {
            left.push(TimeSpan { starts: from, ends: pause.starts.min(hours.ends) });
        }
        from = from.max(pause.ends);
    }
    if from < hours.ends {
        left.push(TimeSpan { starts: from, ends: hours.ends });
    }
    left.retain(|hours| hours.starts < hours.ends);
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::zones;

    fn hours(starts: u16, ends: u16) -> TimeSpan {
        TimeSpan { starts: starts * 60, ends: ends * 60 }
    }

    fn every_day(zone: &str, of_a_day: Vec<TimeSpan>) -> WorkingTime {
        let zone = zones::get(zone).expect("a zone");
        WorkingTime {
            zone,
            weekly: std::array::from_fn(|_| of_a_day.clone()),
            overrides: BTreeMap::new(),
            holidays: BTreeSet::new(),
        }
    }

    fn range(from: &str, to: &str) -> Interval {
        Interval::new(from.parse().expect("an instant"), to.parse().expect("an instant"))
    }

    fn texts(intervals: &[Interval]) -> Vec<String> {
        let text = |at: DateTime<Utc>| at.format("%dT%H:%M").to_string();
        intervals.iter().map(|interval| format!("{}/{}", text(interval.start), text(interval.end))).collect()
    }

    #[test]
    fn hours_over_midnight_meet_the_next_day() {
        let night = every_day("Europe/Berlin", vec![hours(22, 30), hours(6, 8)]);
        let open = covered(&night.shifts(range("2027-01-10T00:00:00Z", "2027-01-11T12:00:00Z")));
        // From 22:00 to 6:00 and on to 8:00, in one.
        assert_eq!(texts(&open), ["10T00:00/10T07:00", "10T21:00/11T07:00"]);
    }

    #[test]
    fn holiday_is_no_day_and_another_day_has_its_hours() {
        let mut shop = every_day("UTC", vec![hours(9, 17)]);
        let day = |text: &str| text.parse::<NaiveDate>().expect("a date");
        shop.holidays = BTreeSet::from([day("2027-01-02"), day("2027-01-03")]);
        shop.overrides = BTreeMap::from([(day("2027-01-03"), vec![hours(10, 12)]), (day("2027-01-04"), vec![])]);
        let open = covered(&shop.shifts(range("2027-01-01T00:00:00Z", "2027-01-06T00:00:00Z")));
        assert_eq!(texts(&open), ["01T09:00/01T17:00", "03T10:00/03T12:00", "05T09:00/05T17:00"]);
    }

    /// cal.diy#30021 #10517 #4702 #12137: hours move when clocks change, and the hour that is skipped or repeated is counted wrongly.
    #[test]
    fn gap_has_no_time_and_overlap_has_it_twice() {
        let open = |zone: &str, of_a_day: TimeSpan, from: &str, to: &str| {
            texts(&covered(&every_day(zone, vec![of_a_day]).shifts(range(from, to))))
        };
        // 2:00 to 3:00 does not exist; 1:00 to 4:00 takes two hours.
        assert_eq!(open("Europe/Berlin", hours(2, 3), "2027-03-28T00:00:00Z", "2027-03-28T12:00:00Z"), [""; 0]);
        assert_eq!(
            open("Europe/Berlin", hours(1, 4), "2027-03-28T00:00:00Z", "2027-03-28T12:00:00Z"),
            ["28T00:00/28T02:00"]
        );
        // 2:00 to 3:00 is there twice, in one.
        assert_eq!(
            open("Europe/Berlin", hours(2, 3), "2027-10-31T00:00:00Z", "2027-10-31T12:00:00Z"),
            ["31T00:00/31T02:00"]
        );
        // From 9:00, before and after.
        assert_eq!(
            open("Europe/Berlin", hours(9, 10), "2027-03-27T00:00:00Z", "2027-03-29T00:00:00Z"),
            ["27T08:00/27T09:00", "28T07:00/28T08:00"]
        );
        // Half an hour is repeated.
        assert_eq!(
            open("Australia/Lord_Howe", hours(1, 3), "2027-04-03T12:00:00Z", "2027-04-03T20:00:00Z"),
            ["03T14:00/03T16:30"]
        );
        // A day that never was.
        assert_eq!(
            open("Pacific/Apia", hours(9, 10), "2011-12-29T10:00:00Z", "2011-12-31T10:00:00Z"),
            ["29T19:00/29T20:00", "30T19:00/30T20:00"]
        );
    }

    #[test]
    fn breaks_cut_hours() {
        assert_eq!(without_breaks(hours(9, 17), &[hours(12, 13)]), [hours(9, 12), hours(13, 17)]);
        assert_eq!(without_breaks(hours(9, 17), &[hours(16, 18), hours(8, 10), hours(9, 11)]), [hours(11, 16)]);
        assert_eq!(without_breaks(hours(9, 17), &[hours(9, 17)]), []);
        assert_eq!(without_breaks(hours(9, 17), &[]), [hours(9, 17)]);
    }

    /// In every zone, around every change of its clocks from 1970 to 2040: as long as clocks show hours, they are open, and never else.
    #[test]
    fn hours_are_open_exactly_while_clocks_show_them() {
        let (begin, end) = ("1970-01-01T00:00:00Z", "2040-01-01T00:00:00Z");
        let years = range(begin, end);
        let mut seen = BTreeSet::new();
        for name in zones::names() {
            let zone = zones::get(&name).expect("a zone");
            if !seen.insert(zone.rules()) {
                continue;
            }
            let worked = every_day(&name, vec![TimeSpan { starts: 25, ends: 155 }, hours(23, 25)]);
            for (at, _) in zone.offsets(years.start, years.end).into_iter().skip(1) {
                let around = Interval::new(at - TimeDelta::hours(30), at + TimeDelta::hours(30));
                let open = covered(&worked.shifts(around));
                let mut moment = around.start;
                while moment < around.end {
                    let minute = TimeDelta::minutes(1);
                    let wall = zone.wall(moment).expect("a time");
                    let of_day = (wall.time() - NaiveTime::MIN).num_minutes();
                    // 23:00 to 1:00, and 0:25 to 2:35.
                    let is_shown = (25..155).contains(&of_day) || !(60..23 * 60).contains(&of_day);
                    let is_open = super::super::interval::overlaps(&open, Interval::new(moment, moment + minute));
                    // Where clocks change within a minute, it is both.
                    if moment.timestamp() % 60 == 0 && at.timestamp() % 60 == 0 && wall.and_utc().timestamp() % 60 == 0
                    {
                        assert_eq!(is_open, is_shown, "{name} {moment} {wall}");
                    }
                    moment += TimeDelta::minutes(13);
                }
            }
        }
    }
}
