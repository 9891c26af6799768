//! Periods: days of a time zone, and the buckets that they are divided into.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::base::zones::{self, Zone};

/// Days of a time zone, both included.
#[derive(Clone, Debug)]
pub struct Period {
    pub from: NaiveDate,
    pub to: NaiveDate,
    /// The name of `zone`.
    pub zone_name: String,
    zone: Zone,
}

/// How long a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = StatisticsInterval)]
pub enum Interval {
    Day,
    /// From Monday on (ISO 8601).
    Week,
    Month,
}

impl Interval {
    pub const NAMES: [&'static str; 3] = ["day", "week", "month"];

    pub fn named(name: &str) -> Option<Self> {
        match name {
            "day" => Some(Self::Day),
            "week" => Some(Self::Week),
            "month" => Some(Self::Month),
            _ => None,
        }
    }

    /// Returns the first day of the interval that has `day` in it.
    fn first(self, day: NaiveDate) -> NaiveDate {
        match self {
            Self::Day => day,
            Self::Week => day - Days::new(day.weekday().num_days_from_monday().into()),
            Self::Month => day - Days::new(day.day0().into()),
        }
    }

    /// Returns the first day of the interval after the one that begins with `first`.
    fn next(self, first: NaiveDate) -> NaiveDate {
        match self {
            Self::Day => first + Days::new(1),
            Self::Week => first + Days::new(7),
            Self::Month => first + Months::new(1),
        }
    }
}

/// The names of periods that depend on the day.
pub const RELATIVE: [&str; 12] = [
    "today",
    "yesterday",
    "last_7_days",
    "last_30_days",
    "last_90_days",
    "last_365_days",
    "this_week",
    "last_week",
    "this_month",
    "last_month",
    "this_year",
    "last_year",
];

/// Returns the days of a period that is named by [`RELATIVE`], on `today`. Those of the last days include today.
pub fn relative(name: &str, today: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
    let (month, week) = (Interval::Month.first(today), Interval::Week.first(today));
    let year = month - Months::new(month.month0());
    let last = |days: u64| (today - Days::new(days - 1), today);
    let before = |first: NaiveDate| first - Days::new(1);
    Some(match name {
        "today" => (today, today),
        "yesterday" => (before(today), before(today)),
        "last_7_days" => last(7),
        "last_30_days" => last(30),
        "last_90_days" => last(90),
        "last_365_days" => last(365),
        "this_week" => (week, week + Days::new(6)),
        "last_week" => (week - Days::new(7), before(week)),
        "this_month" => (month, before(month + Months::new(1))),
        "last_month" => (month - Months::new(1), before(month)),
        "this_year" => (year, before(year + Months::new(12))),
        "last_year" => (year - Months::new(12), before(year)),
        _ => return None,
    })
}

/// The buckets of a period, in order: `days[n]` and `starts[n]` are where bucket n begins, the last of them where the period ends.
#[derive(Clone, Debug)]
pub struct Buckets {
    /// The first day of each bucket's interval, which is earlier than its first day where the period begins within it.
    pub labels: Vec<NaiveDate>,
    pub days: Vec<NaiveDate>,
    pub starts: Vec<DateTime<Utc>>,
}

impl Buckets {
    /// Appends those of the period that begins where this one ends.
    pub fn followed_by(mut self, next: Self) -> Self {
        self.labels.extend(next.labels);
        self.days.extend(next.days.into_iter().skip(1));
        self.starts.extend(next.starts.into_iter().skip(1));
        self
    }
}

/// Returns the zone of this name, and UTC where the data have none: a business may have one of newer data.
pub fn zone_or_utc(name: &str) -> Zone {
    zones::get(name).unwrap_or_else(zones::utc)
}

impl Period {
    /// The days from `from` to `to`, which is not before it, both within the years 1970 to 9998.
    pub fn new(from: NaiveDate, to: NaiveDate, zone_name: impl Into<String>) -> Self {
        let zone_name = zone_name.into();
        Self { from, to, zone: zone_or_utc(&zone_name), zone_name }
    }

    /// Returns how many days it has.
    pub fn days(&self) -> i64 {
        (self.to - self.from).num_days() + 1
    }

    /// Returns a hash of the zone's offsets.
    pub fn rules(&self) -> std::sync::Arc<str> {
        self.zone.rules()
    }

    /// Returns as many days, which end where it begins.
    pub fn previous(&self) -> Self {
        let days = Days::new(self.days().unsigned_abs());
        Self {
            from: self.from - days,
            to: self.from - Days::new(1),
            zone_name: self.zone_name.clone(),
            zone: self.zone.clone(),
        }
    }

    /// Divides it into buckets; one of all days without an interval.
    pub fn buckets(&self, interval: Option<Interval>) -> Buckets {
        let end = self.to + Days::new(1);
        let mut buckets = Buckets { labels: Vec::new(), days: Vec::new(), starts: Vec::new() };
        let mut label = interval.map_or(self.from, |interval| interval.first(self.from));
        while label < end {
            buckets.labels.push(label);
            buckets.days.push(label.max(self.from));
            label = interval.map_or(end, |interval| interval.next(label));
        }
        buckets.days.push(end);
        buckets.starts = buckets.days.iter().map(|day| self.start(*day)).collect();
        buckets
    }

    /// Returns when a day begins.
    pub fn start(&self, day: NaiveDate) -> DateTime<Utc> {
        self.zone.day_start(day).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn relative_periods_are_calendar_days() {
        let days = |name| relative(name, day("2026-03-01")).map(|(from, to)| format!("{from} {to}"));
        for (name, expected) in [
            ("today", "2026-03-01 2026-03-01"),
            ("yesterday", "2026-02-28 2026-02-28"),
            ("last_7_days", "2026-02-23 2026-03-01"),
            ("last_30_days", "2026-01-31 2026-03-01"),
            // A Sunday is the last day of its week.
            ("this_week", "2026-02-23 2026-03-01"),
            ("last_week", "2026-02-16 2026-02-22"),
            ("this_month", "2026-03-01 2026-03-31"),
            ("last_month", "2026-02-01 2026-02-28"),
            ("this_year", "2026-01-01 2026-12-31"),
            ("last_year", "2025-01-01 2025-12-31"),
        ] {
            assert_eq!(days(name).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(days("next_week"), None);
        assert!(RELATIVE.iter().all(|name| days(name).is_some()));
    }

    #[test]
    fn buckets_cover_the_period_once() {
        let period = Period::new(day("2026-02-25"), day("2026-04-02"), "Europe/Berlin");
        let months = period.buckets(Some(Interval::Month));
        assert_eq!(months.labels, [day("2026-02-01"), day("2026-03-01"), day("2026-04-01")]);
        assert_eq!(months.days, [day("2026-02-25"), day("2026-03-01"), day("2026-04-01"), day("2026-04-03")]);
        // Berlin's clocks are set forward on 29 March.
        let instants: Vec<String> = months.starts.iter().map(DateTime::to_rfc3339).collect();
        assert_eq!(instants[1], "2026-02-28T23:00:00+00:00");
        assert_eq!(instants[2], "2026-03-31T22:00:00+00:00");
        let weeks = period.buckets(Some(Interval::Week));
        assert_eq!((weeks.labels.first(), weeks.labels.len()), (Some(&day("2026-02-23")), 6));
        assert!(weeks.labels.iter().all(|label| label.weekday() == chrono::Weekday::Mon));
        let days = period.buckets(Some(Interval::Day));
        assert_eq!((days.labels.len() as i64, days.starts.len() as i64), (period.days(), period.days() + 1));
        let previous = period.previous();
        assert_eq!((previous.from, previous.to), (day("2026-01-19"), day("2026-02-24")));
        let both = previous.buckets(Some(Interval::Day)).followed_by(days);
        assert_eq!((both.labels.len(), both.days.len()), (74, 75));
        assert!(both.starts.is_sorted());
    }
}
