//! Opening hours of a business, such as `Mo-Fr 09:00-12:30,13:30-18:00; Sa 10:00-14:00`: a part of the format of OpenStreetMap's
//! `opening_hours`, which schema.org's `openingHours` is a part of, too.
//!
//! Rules are separated by `;`, and a later one replaces an earlier one on its days. A rule is days and times, either of which may be
//! left out: days are `Mo`, `Mo-Fr` or `Mo,We,Fr`, times `09:00-17:30`, several of them, `24/7`, or `off`.

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};

use super::zones::Zone;

/// Characters of a text at most: a rule for each day, with three times.
pub const MAX_CHARACTERS: usize = 400;
/// Times of a day at most.
const MAX_TIMES: usize = 6;
/// The longest time that is looked at, in days: ten years. Of anything longer, its last ten years are.
pub const MAX_DAYS: u64 = 3_660;
const DAYS: [&str; 7] = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"];
/// The minutes of a day.
const DAY: u16 = 24 * 60;

/// When a business is open, in its local time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpeningHours {
    /// Of each day from Monday on: from which minute to before which one, in order, not overlapping.
    days: [Vec<(u16, u16)>; 7],
}

impl OpeningHours {
    /// Parses the text. Errors: what is wrong with it, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut hours = Self::default();
        let rules: Vec<&str> = text.split(';').map(str::trim).filter(|rule| !rule.is_empty()).collect();
        if rules.is_empty() {
            return Err("It has no times; an example is `Mo-Fr 09:00-17:30; Sa 10:00-14:00`.".into());
        }
        for rule in rules {
            let mut days = vec![true; 7];
            let mut times = rule;
            if rule.starts_with(|first: char| first.is_ascii_alphabetic()) && !matches!(rule, "off" | "closed") {
                // Spaces after commas belong to the list.
                let rest = rule.find(|c: char| c.is_ascii_digit()).or_else(|| rule.rfind(' ').map(|space| space + 1));
                let (named, rest) = rule.split_at(rest.unwrap_or(rule.len()));
                days = parse_days(named)?;
                times = rest;
            }
            let times = parse_times(times.trim())?;
            for (day, _) in days.iter().enumerate().filter(|(_, is_named)| **is_named) {
                hours.days[day] = times.clone();
            }
        }
        if hours.days.iter().all(Vec::is_empty) {
            return Err("It is never open.".into());
        }
        Ok(hours)
    }

    /// Returns when it is open between the days of two instants there, and within [`MAX_DAYS`] before the second one.
    pub fn open_times(&self, zone: &Zone, from: DateTime<Utc>, to: DateTime<Utc>) -> OpenTimes {
        let mut open = OpenTimes::default();
        let from = from.max(to.checked_sub_days(Days::new(MAX_DAYS)).unwrap_or(to));
        let (Some(mut day), Some(last)) = (zone.day(from), zone.day(to)) else { return open };
        // Clocks that are set back may have been a day ahead.
        day = day.pred_opt().unwrap_or(day);
        while day <= last + Days::new(1) {
            for (opens, closes) in &self.days[day.weekday().num_days_from_monday() as usize] {
                if let (Some(opens), Some(closes)) = (instant(zone, day, *opens), instant(zone, day, *closes)) {
                    open.add(opens, closes);
                }
            }
            day = day + Days::new(1);
        }
        open
    }
}

/// Returns when it is the `minute` of a day, up to the last one's end.
fn instant(zone: &Zone, day: NaiveDate, minute: u16) -> Option<DateTime<Utc>> {
    if minute < DAY { zone.instant(day, minute) } else { zone.day_start(day.succ_opt()?) }
}

/// When a business is open, as instants.
#[derive(Clone, Debug, Default)]
pub struct OpenTimes {
    /// From when to when, in order, not overlapping; and for how many microseconds it was open before.
    intervals: Vec<(DateTime<Utc>, DateTime<Utc>, i64)>,
}

impl OpenTimes {
    fn add(&mut self, opens: DateTime<Utc>, closes: DateTime<Utc>) {
        let (end, before) = match self.intervals.last() {
            Some((start, end, before)) => (*end, before + (*end - *start).num_microseconds().unwrap_or(0)),
            None => (opens, 0),
        };
        // Times that clocks skip are no times; those that follow each other are one.
        let opens = opens.max(end);
        if let Some((_, last, _)) = self.intervals.last_mut().filter(|(_, last, _)| *last == opens) {
            *last = closes.max(opens);
        } else if opens < closes {
            self.intervals.push((opens, closes, before));
        }
    }

    /// Returns for how many microseconds it was open between two instants within the days that it was made for.
    pub fn microseconds(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
        (self.until(to) - self.until(from)).max(0)
    }

    /// Returns for how many microseconds it was open until an instant.
    fn until(&self, at: DateTime<Utc>) -> i64 {
        let next = self.intervals.partition_point(|(opens, _, _)| *opens < at);
        let Some((opens, closes, before)) = next.checked_sub(1).and_then(|last| self.intervals.get(last)) else {
            return 0;
        };
        before + (at.min(*closes) - *opens).num_microseconds().unwrap_or(0)
    }
}

fn parse_days(text: &str) -> Result<Vec<bool>, String> {
    let mut named = vec![false; 7];
    let place = |name: &str| {
        let known = DAYS.iter().position(|day| *day == name.trim());
        known.ok_or_else(|| format!("`{}` is no day: days are {}.", name.trim(), DAYS.join(", ")))
    };
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (place(first)?, place(last)?),
            None => (place(part)?, place(part)?),
        };
        // `Sa-Mo` goes over the end of the week.
        let count = (last + 7 - first) % 7;
        (0..=count).for_each(|step| named[(first + step) % 7] = true);
    }
    Ok(named)
}

fn parse_times(text: &str) -> Result<Vec<(u16, u16)>, String> {
    match text {
        "off" | "closed" => return Ok(Vec::new()),
        "24/7" => return Ok(vec![(0, DAY)]),
        _ => {}
    }
    let mut times = Vec::new();
    for part in text.split(',').map(str::trim) {
        let wrong = || format!("`{part}` is no time of opening: an example is `09:00-17:30`.");
        let (opens, closes) = part.split_once('-').ok_or_else(wrong)?;
        let (opens, closes) = (minute(opens).ok_or_else(wrong)?, minute(closes).ok_or_else(wrong)?);
        if opens >= closes {
            return Err(format!(
                "`{part}` ends before it begins: a night has two times, until 24:00 and from 00:00 of the next day."
            ));
        }
        times.push((opens, closes));
    }
    if times.len() > MAX_TIMES {
        return Err(format!("A day has {MAX_TIMES} times at most; `{text}` has {}.", times.len()));
    }
    times.sort_unstable();
    if times.windows(2).any(|two| two[0].1 > two[1].0) {
        return Err(format!("The times `{text}` overlap."));
    }
    Ok(times)
}

/// Parses a time of day, up to `24:00`.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let is_number =
        |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    if !is_number(hours, 2) || !is_number(minutes, 2) || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (minutes < 60 && hours * 60 + minutes <= DAY).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::zones;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[test]
    fn parse_takes_what_people_write() {
        let week = OpeningHours::parse("Mo-Fr 09:00-12:30, 13:30-18:00; Sa 10:00-14:00").expect("hours");
        assert_eq!(week.days[4], [(540, 750), (810, 1080)]);
        assert_eq!((week.days[5].clone(), week.days[6].clone()), (vec![(600, 840)], vec![]));
        let later = OpeningHours::parse("24/7; We off; Fr,Su 8:00-24:00").expect("hours");
        assert_eq!((&later.days[0], &later.days[2], &later.days[6]), (&vec![(0, DAY)], &vec![], &vec![(480, DAY)]));
        assert_eq!(
            OpeningHours::parse("Sa-Mo 10:00-12:00").expect("hours").days.iter().filter(|day| !day.is_empty()).count(),
            3
        );
        for wrong in [
            "",
            ";",
            "Mo",
            "Mo-Fr",
            "Mo 9-17",
            "Mo 22:00-02:00",
            "Xy 09:00-17:00",
            "09:00-17:00,16:00-18:00",
            "Mo off",
            "PH off",
            "Mo 09:00-25:00",
            "09:60-10:00",
        ] {
            assert!(OpeningHours::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn open_times_follow_the_clocks() {
        let berlin = zones::get("Europe/Berlin").expect("a zone");
        let hours = OpeningHours::parse("24/7").expect("hours");
        // A day of 23 hours, and one of 25.
        for (from, to, expected) in
            [("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 23), ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 25)]
        {
            let open = hours.open_times(&berlin, at(from), at(to));
            assert_eq!(open.microseconds(at(from), at(to)), expected * 3_600_000_000);
        }
        // Friday evening to Monday morning: an hour of Friday, half an hour of Monday.
        let hours = OpeningHours::parse("Mo-Fr 09:00-17:00").expect("hours");
        let (from, to) = (at("2026-11-06T15:00:00Z"), at("2026-11-09T08:30:00Z"));
        assert_eq!(hours.open_times(&berlin, from, to).microseconds(from, to), 5_400_000_000);
        // From two to three in the night in which there is no such time.
        let night = OpeningHours::parse("02:00-03:00").expect("hours");
        let (from, to) = (at("2026-03-28T23:00:00Z"), at("2026-03-29T22:00:00Z"));
        assert_eq!(night.open_times(&berlin, from, to).microseconds(from, to), 0);
    }

    #[test]
    fn open_times_are_bounded() {
        let berlin = zones::get("Europe/Berlin").expect("a zone");
        let hours = OpeningHours::parse("24/7").expect("hours");
        let (from, to) = (at("0001-01-01T00:00:00Z"), at("2999-12-31T00:00:00Z"));
        let open = hours.open_times(&berlin, from, to);
        assert_eq!(open.intervals.len(), 1);
        let days = open.microseconds(from, to) / 86_400_000_000;
        assert!((3_660..=3_663).contains(&days), "{days}");
    }

    proptest! {
        /// What is open from a to b and from b to c is what is open from a to c, and never longer than that.
        #[test]
        fn open_times_add_up(mut minutes in prop::collection::vec(0i64..400_000, 3), zone in prop::sample::select(vec!["Europe/Berlin", "America/Havana", "Pacific/Chatham", "Australia/Lord_Howe"])) {
            minutes.sort_unstable();
            let zone = zones::get(zone).expect("a zone");
            let hours = OpeningHours::parse("Mo-Fr 00:00-03:00,08:15-24:00; Su 01:30-02:30").expect("hours");
            let times: Vec<_> = minutes.iter().map(|minute| at("2026-01-15T00:00:00Z") + chrono::Duration::minutes(*minute)).collect();
            let open = hours.open_times(&zone, times[0], times[2]);
            let (first, second, all) = (open.microseconds(times[0], times[1]), open.microseconds(times[1], times[2]), open.microseconds(times[0], times[2]));
            prop_assert_eq!(first + second, all);
            prop_assert!(all <= (times[2] - times[0]).num_microseconds().unwrap_or(0));
            // Made for more days, it says the same.
            let wider = hours.open_times(&zone, times[0] - chrono::Duration::days(9), times[2] + chrono::Duration::days(9));
            prop_assert_eq!(wider.microseconds(times[0], times[2]), all);
        }
    }
}
