//! What a request for availability asks for.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use uuid::Uuid;

use super::interval::Interval;
use crate::auth::TenantSettings;
use crate::base::error::{Error, FieldError, Result};
use crate::base::suggest::{did_you_mean, shown};
use crate::base::zones::{self, Zone};

/// The longest range, in days: two months on a page. A slot each quarter of an hour of twenty members are a hundred thousand in it.
pub const MAX_DAYS: i64 = 62;
const NAMES: [&str; 5] = ["service_id", "staff_id", "from", "to", "time_zone"];
/// As `staff_id`: anyone who is free.
const ANY: &str = "any";

/// A parsed request.
#[derive(Clone, Debug)]
pub struct Parameters {
    pub service: Uuid,
    /// `None`: anyone.
    pub staff: Option<Uuid>,
    pub range: Interval,
}

/// The beginning or the end of the range, as it was given.
#[derive(Clone, Copy, Debug)]
enum Bound {
    /// A day of the time zone; as the end, the whole day.
    Day(NaiveDate),
    At(DateTime<Utc>),
}

#[derive(Default)]
struct Asked {
    service: Option<Uuid>,
    staff: Option<Uuid>,
    from: Option<Bound>,
    to: Option<Bound>,
    zone: Option<Zone>,
    faults: Vec<FieldError>,
}

impl Parameters {
    /// Parses a query string. Errors: 400 with every fault.
    pub fn parse(query: &str, business: &TenantSettings) -> Result<Self> {
        let (mut asked, mut seen) = (Asked::default(), Vec::new());
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if !NAMES.contains(&&*name) {
                let hint = did_you_mean(&name, NAMES);
                asked.fault(
                    &name,
                    "unknown_parameter",
                    format!("There is no parameter `{}` here.{hint}", shown(&name)),
                );
            } else if seen.contains(&name) {
                asked.fault(&name, "repeated", format!("`{name}` may be given once."));
            } else {
                asked.take(&name, &value);
                seen.push(name);
            }
        }
        for name in ["service_id", "from", "to"] {
            if !seen.iter().any(|given: &Cow<'_, str>| given == name) {
                asked.fault(name, "required", format!("`{name}` is required."));
            }
        }
        asked.finish(business)
    }
}

impl Asked {
    fn fault(&mut self, name: &str, code: &'static str, detail: String) {
        self.faults.push(FieldError::new(format!("/query/{name}"), code, detail));
    }

    fn take(&mut self, name: &str, value: &str) {
        let value = value.trim();
        match name {
            "service_id" => self.service = self.id(name, value),
            "staff_id" if value == ANY => {}
            "staff_id" => self.staff = self.id(name, value),
            "from" => self.from = self.bound(name, value),
            "to" => self.to = self.bound(name, value),
            _ => self.zone = self.zone(value),
        }
    }

    fn id(&mut self, name: &str, value: &str) -> Option<Uuid> {
        let id = Uuid::try_parse(value).ok();
        if id.is_none() {
            let or = if name == "staff_id" { ", or `any`" } else { "" };
            self.fault(name, "format", format!("`{name}` is a UUID{or}."));
        }
        id
    }

    fn bound(&mut self, name: &str, value: &str) -> Option<Bound> {
        // An unescaped plus sign is a space.
        let instant = || value.replace(' ', "+").parse::<DateTime<Utc>>().ok().map(Bound::At);
        let day = value.parse::<NaiveDate>().ok().filter(|_| value.len() == 10).map(Bound::Day);
        let bound = day.or_else(instant);
        // What lies beyond cannot be counted with, nor stored.
        let year = |bound: &Bound| match bound {
            Bound::Day(day) => day.year(),
            Bound::At(at) => at.year(),
        };
        if bound.as_ref().is_some_and(|bound| !(1..=9998).contains(&year(bound))) {
            self.fault(name, "out_of_range", format!("`{name}` is in the years 1 to 9998."));
            return None;
        }
        if bound.is_none() {
            let detail = format!(
                "`{name}` is a date such as 2027-01-15, of `time_zone`, or a time such as 2027-01-15T09:00:00Z."
            );
            self.fault(name, "format", detail);
        }
        bound
    }

    fn zone(&mut self, value: &str) -> Option<Zone> {
        match zones::of_parameter(value) {
            Ok(name) => zones::get(&name),
            Err(detail) => {
                self.fault("time_zone", "not_a_choice", detail);
                None
            }
        }
    }

    fn finish(mut self, business: &TenantSettings) -> Result<Parameters> {
        let zone = self.zone.take().or_else(|| zones::get(&business.time_zone)).unwrap_or_else(zones::utc);
        let at = |bound: Bound, is_end: bool| match bound {
            Bound::Day(day) if is_end => day.succ_opt().and_then(|next| zone.day_start(next)),
            Bound::Day(day) => zone.day_start(day),
            Bound::At(at) => Some(at),
        };
        let (from, to) = (self.from.and_then(|from| at(from, false)), self.to.and_then(|to| at(to, true)));
        if let (Some(from), Some(to)) = (from, to) {
            if to <= from {
                self.fault("to", "out_of_range", "The range ends before it begins.".into());
            } else if to - from > TimeDelta::days(MAX_DAYS) + TimeDelta::hours(1) {
                self.fault("to", "out_of_range", format!("A range has {MAX_DAYS} days at most."));
            }
        } else if self.faults.is_empty() {
            self.fault("from", "out_of_range", "`from` and `to` are in the years 1 to 9998.".into());
        }
        match (self.service, from, to) {
            (Some(service), Some(from), Some(to)) if self.faults.is_empty() => {
                Ok(Parameters { service, staff: self.staff, range: Interval::new(from, to) })
            }
            _ => Err(Error::parameters(self.faults)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "service_id=0192d0c6-2f3b-7b57-a56f-9f1b6f0e7c11";

    fn parse(query: &str) -> Result<Parameters> {
        let business = TenantSettings { time_zone: "Europe/Berlin".into(), ..TenantSettings::nowhere() };
        Parameters::parse(query, &business)
    }

    fn range(query: &str) -> (String, String) {
        let range = parse(&format!("{SERVICE}&{query}")).expect("parameters").range;
        (range.start.to_rfc3339(), range.end.to_rfc3339())
    }

    /// nextcloud/calendar#5913 #6294, easyappointments#943 #871: days are those of who looks.
    #[test]
    fn days_are_whole_days_of_the_zone() {
        let of = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(
            range("from=2027-03-28&to=2027-03-28"),
            of("2027-03-27T23:00:00+00:00", "2027-03-28T22:00:00+00:00")
        );
        assert_eq!(
            range("from=2027-01-15&to=2027-01-16&time_zone=Pacific/Kiritimati"),
            of("2027-01-14T10:00:00+00:00", "2027-01-16T10:00:00+00:00")
        );
        assert_eq!(
            range("from=2027-01-15T09:00:00+01:00&to=2027-01-15T10:00:00Z"),
            of("2027-01-15T08:00:00+00:00", "2027-01-15T10:00:00+00:00")
        );
        assert_eq!(parse(&format!("{SERVICE}&from=2027-01-01&to=2027-03-03")).expect("62 days").staff, None);
    }

    #[test]
    fn every_fault_is_named() {
        let faults = |query: &str| {
            let error = format!("{:?}", parse(query).expect_err("a refusal"));
            NAMES.into_iter().filter(|name| error.contains(&format!("/query/{name}\""))).collect::<Vec<_>>()
        };
        assert_eq!(faults(""), ["service_id", "from", "to"]);
        assert_eq!(faults("service_id=x&staff_id=y&from=z&to=2027-13-01&time_zone=Berlin").len(), 5);
        for query in [
            "from=2027-01-02&to=2027-01-01",
            "from=2027-01-01&to=2027-03-04",
            "from=2027-01-01&to=2027-01-01&to=2027-01-02",
            "from=2027-01-01&to=2027-01-02&day=1",
            "from=%2B262142-12-30T00:00:00Z&to=%2B262142-12-31T00:00:00Z",
            "from=-262143-01-02T00:00:00Z&to=-262143-01-03T00:00:00Z",
            "from=9999-12-30&to=9999-12-31",
        ] {
            assert!(parse(&format!("{SERVICE}&{query}")).is_err(), "{query}");
        }
    }
}
