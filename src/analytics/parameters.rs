//! What a request for a statistic asks for: period, interval, grouping, comparison and format.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};

use super::period::{Interval, Period, RELATIVE, relative, zone_or_utc};
use super::statistic::{Grouping, Statistic};
use crate::auth::TenantSettings;
use crate::base::error::{Error, FieldError, Result};
use crate::base::suggest::{did_you_mean, shown};
use crate::base::zones;

/// The longest period, in days: ten years, whose days are read within a fraction of a second.
pub const MAX_DAYS: i64 = 3_660;
/// Buckets of a response at most: three years by day.
pub const MAX_BUCKETS: i64 = 1_100;
/// The first day of a period: offsets before 1970 are not known well.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
/// The last one.
const LAST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2999, 12, 31).expect("a date");
/// Days of a dashboard with a bucket for each; of longer periods they are months.
const MAX_DASHBOARD_DAYS: i64 = 92;
/// The period of a request that names none.
pub const DEFAULT_PERIOD: &str = "last_30_days";
pub const FORMATS: [&str; 2] = ["json", "csv"];

const OVERVIEW: [&str; 6] = ["from", "to", "period", "time_zone", "compare", "format"];
const DASHBOARD: [&str; 4] = ["from", "to", "period", "time_zone"];
const FUNNEL: [&str; 7] = ["from", "to", "period", "time_zone", "compare", "format", "group_by"];
const SERIES: [&str; 8] = ["from", "to", "period", "time_zone", "compare", "format", "interval", "group_by"];
const RESPONSES: [&str; 9] =
    ["from", "to", "period", "time_zone", "compare", "format", "interval", "group_by", "hours"];
/// The values of `hours`.
pub const HOURS: [&str; 2] = ["all", "business"];

/// A parsed request.
#[derive(Clone, Debug)]
pub struct Parameters {
    pub period: Period,
    pub interval: Interval,
    pub grouping: Option<&'static Grouping>,
    /// Whether the same number of days before is answered, too.
    pub compares: bool,
    /// Whether only the opening hours of the business count as waiting.
    pub in_business_hours: bool,
    /// The rules of the business' own zone, of which opening hours are.
    pub business_rules: Arc<str>,
    /// The day that has begun in the time zone.
    pub today: NaiveDate,
}

impl Parameters {
    /// Parses a query string, at `now`. Errors: 400 with every fault.
    pub fn parse(statistic: Statistic, query: &str, business: &TenantSettings, now: DateTime<Utc>) -> Result<Self> {
        let names: &[&str] = match statistic {
            Statistic::Overview => &OVERVIEW,
            Statistic::Funnel => &FUNNEL,
            Statistic::ResponseTimes => &RESPONSES,
            dashboard if dashboard.is_dashboard() => &DASHBOARD,
            _ => &SERIES,
        };
        let mut asked = Asked { faults: Vec::new(), ..Asked::default() };
        let mut seen = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if !names.contains(&&*name) {
                let hint = did_you_mean(&name, names.iter().copied());
                asked.fault(
                    &name,
                    "unknown_parameter",
                    format!("There is no parameter `{}` here.{hint}", shown(&name)),
                );
            } else if seen.contains(&name) {
                asked.fault(&name, "repeated", format!("`{name}` may be given once."));
            } else {
                asked.take(statistic, &name, value);
                seen.push(name);
            }
        }
        asked.finish(statistic, business, now)
    }
}

#[derive(Default)]
struct Asked {
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    period: Option<&'static str>,
    time_zone: Option<String>,
    interval: Option<Interval>,
    grouping: Option<&'static Grouping>,
    compares: bool,
    in_business_hours: bool,
    faults: Vec<FieldError>,
}

impl Asked {
    fn fault(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        self.faults.push(FieldError::new(format!("/query/{name}"), code, detail));
    }

    fn take(&mut self, statistic: Statistic, name: &str, value: Cow<'_, str>) {
        let value = value.trim();
        match name {
            "from" => self.from = self.day(name, value),
            "to" => self.to = self.day(name, value),
            "period" => self.period = self.choice(name, value, RELATIVE),
            "time_zone" => match zones::of_parameter(value) {
                Ok(zone) => self.time_zone = Some(zone),
                Err(detail) => self.fault(name, "not_a_choice", detail),
            },
            "interval" => {
                let named = self.choice(name, value, Interval::NAMES);
                self.interval = named.and_then(Interval::named);
            }
            "group_by" => {
                let groupings = statistic.groupings();
                self.grouping = groupings.iter().find(|grouping| grouping.name == value);
                if self.grouping.is_none() {
                    let hint = did_you_mean(value, groupings.iter().map(|grouping| grouping.name));
                    let detail = format!("{} cannot be grouped by `{}`.{hint}", statistic.name(), shown(value));
                    self.fault(name, "not_a_choice", detail);
                }
            }
            "hours" => self.in_business_hours = self.choice(name, value, HOURS) == Some("business"),
            "compare" => self.compares = self.choice(name, value, ["previous"]).is_some(),
            // It decides how the response is written, and is only checked here.
            _ => drop(self.choice(name, value, FORMATS)),
        }
    }

    fn choice<const N: usize>(&mut self, name: &str, value: &str, known: [&'static str; N]) -> Option<&'static str> {
        let chosen = known.into_iter().find(|known| *known == value);
        if chosen.is_none() {
            let hint = did_you_mean(value, known);
            self.fault(name, "not_a_choice", format!("`{}` is no value of `{name}`.{hint}", shown(value)));
        }
        chosen
    }

    /// Parses a date, without a time of day: days are those of the time zone, and an offset would be another one.
    fn day(&mut self, name: &str, value: &str) -> Option<NaiveDate> {
        let is_date = value.len() == 10;
        match value.parse::<NaiveDate>().ok().filter(|_| is_date) {
            Some(day) if (FIRST_DAY..=LAST_DAY).contains(&day) => Some(day),
            Some(_) => {
                self.fault(name, "out_of_range", format!("`{name}` is a day from {FIRST_DAY} to {LAST_DAY}."));
                None
            }
            None => {
                let detail = format!(
                    "`{name}` is a date such as 2026-11-01, without a time of day; it is a day of `time_zone`, or else of the \
                     time zone of the business."
                );
                self.fault(name, "format", detail);
                None
            }
        }
    }

    fn finish(mut self, statistic: Statistic, business: &TenantSettings, now: DateTime<Utc>) -> Result<Parameters> {
        let zone_name = self.time_zone.take().unwrap_or_else(|| business.time_zone.clone());
        let today = zone_or_utc(&zone_name).begun_day(now).unwrap_or(FIRST_DAY);
        let is_faulty = !self.faults.is_empty();
        let (from, to) = match (self.from, self.to, self.period) {
            (None, None, period) => relative(period.unwrap_or(DEFAULT_PERIOD), today).unwrap_or((today, today)),
            (_, _, Some(_)) => {
                self.fault(
                    "period",
                    "not_allowed",
                    "`period` names its days itself; leave out `from` and `to`, or `period`.",
                );
                (today, today)
            }
            (Some(from), None, None) if from > today => {
                self.fault(
                    "to",
                    "required",
                    format!("The period begins after today, {today}: it needs `to`, its last day."),
                );
                (from, from)
            }
            (Some(from), to, None) => (from, to.unwrap_or(today)),
            (None, Some(to), None) => {
                if !is_faulty {
                    self.fault("from", "required", "`to` needs `from`, the first day of the period.");
                }
                (to, to)
            }
        };
        if from > to {
            self.fault("to", "out_of_range", format!("The period ends on {to}, before it begins on {from}."));
            return Err(Error::parameters(self.faults));
        }
        let period = Period::new(from, to, zone_name);
        let by_month = statistic.is_dashboard() && period.days() > MAX_DASHBOARD_DAYS;
        let interval = self.interval.unwrap_or(if by_month { Interval::Month } else { Interval::Day });
        if period.days() > MAX_DAYS {
            let detail = format!("A period has {MAX_DAYS} days at most; this one has {}.", period.days());
            self.fault("to", "out_of_range", detail);
        } else if statistic.is_series() && interval == Interval::Day && period.days() > MAX_BUCKETS {
            let detail = format!(
                "{} days are too many: at most {MAX_BUCKETS}. Ask for `interval=week` or `month`.",
                period.days()
            );
            self.fault("interval", "out_of_range", detail);
        }
        if !self.faults.is_empty() {
            return Err(Error::parameters(self.faults));
        }
        let Asked { grouping, compares, in_business_hours, .. } = self;
        // The campaigns are always told apart.
        let grouping = grouping.or_else(|| statistic.groupings().first().filter(|_| statistic == Statistic::Campaigns));
        let compares = compares || statistic.is_dashboard();
        let business_rules = zone_or_utc(&business.time_zone).rules();
        Ok(Parameters { period, interval, grouping, compares, in_business_hours, business_rules, today })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Parameters> {
        let business = TenantSettings { time_zone: "Pacific/Kiritimati".into(), ..TenantSettings::nowhere() };
        let now = "2026-11-30T10:30:00Z".parse().expect("an instant");
        Parameters::parse(Statistic::Bookings, query, &business, now)
    }

    fn days(query: &str) -> String {
        let period = parse(query).expect("parameters").period;
        format!("{} {}", period.from, period.to)
    }

    #[test]
    fn period_is_of_the_zone() {
        // On Kiritimati it is 00:30 of the next day; in Honolulu 00:30 of this one.
        for (query, expected) in [
            ("", "2026-11-02 2026-12-01"),
            ("period=today", "2026-12-01 2026-12-01"),
            ("period=today&time_zone=Pacific/Honolulu", "2026-11-30 2026-11-30"),
            ("period=yesterday&time_zone=Etc/GMT+12", "2026-11-28 2026-11-28"),
            ("from=2026-11-10", "2026-11-10 2026-12-01"),
            ("from=2026-11-01&to=2026-11-30", "2026-11-01 2026-11-30"),
        ] {
            assert_eq!(days(query), expected, "{query}");
        }
    }

    #[test]
    fn parse_reports_every_fault() {
        for (query, pointers) in [
            ("from=2026-11-01T00:00:00Z", vec!["from"]),
            ("from=2026-11-01%2B02:00&to=yesterday", vec!["from", "to"]),
            ("to=2026-11-01", vec!["from"]),
            ("from=2027-01-10", vec!["to"]),
            ("from=2026-11-02&to=2026-11-01", vec!["to"]),
            ("from=1969-12-31&to=2026-11-01", vec!["from"]),
            ("from=2000-01-01&to=2026-11-01", vec!["to"]),
            ("from=2020-01-01&to=2026-11-01", vec!["interval"]),
            ("from=2026-11-01&period=today", vec!["period"]),
            ("period=next_week&compare=last&interval=hour", vec!["period", "compare", "interval"]),
            (
                "time_zone=Europe/Berln&group_by=statu&form=csv&compare=previous&compare=previous",
                vec!["time_zone", "group_by", "form", "compare"],
            ),
        ] {
            let Err(Error::Malformed { faults, .. }) = parse(query) else { panic!("{query} is accepted") };
            let found: Vec<&str> = faults.iter().map(|fault| fault.pointer.trim_start_matches("/query/")).collect();
            assert_eq!(found, pointers, "{query}: {faults:?}");
        }
    }
}
