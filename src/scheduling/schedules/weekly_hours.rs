//! Reads the hours of a week from a body, with every error at once.

use serde_json::{Map, Value as Json};

use super::clock::{TimeSpan, each, refuse_overlaps};
use crate::base::suggest::nearest;
use crate::resource::body::{self, ValidationErrors};

/// Entries of a week at most: seven on each day.
pub const MAX_ENTRIES: usize = 50;
/// Breaks of an entry at most.
pub const MAX_BREAKS: usize = 10;

pub const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Working time that begins on one day of the week.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkTime {
    /// From Monday, 1.
    pub weekday: u8,
    pub span: TimeSpan,
    /// In order, within `span`, not overlapping.
    pub breaks: Vec<TimeSpan>,
}

/// The body of a request: the hours, in order, and the time zone, if the client sent back the one that it read.
#[derive(Debug)]
pub struct WeeklyHours {
    pub times: Vec<WorkTime>,
    pub time_zone: Option<String>,
}

impl WeeklyHours {
    /// Reads the members of a body, with every error.
    pub fn read(mut members: Map<String, Json>, errors: &mut ValidationErrors) -> Self {
        let weekly = members.shift_remove("weekly");
        let time_zone = match members.shift_remove("time_zone") {
            None | Some(Json::Null) => None,
            Some(Json::String(zone)) => Some(zone),
            Some(_) => {
                errors.field("time_zone", "type", "`time_zone` must be a text.");
                None
            }
        };
        let mut times = match weekly {
            None | Some(Json::Null) => {
                errors.field("weekly", "required", "`weekly` is required; an empty list is no hours.");
                Vec::new()
            }
            Some(list) => times(list, errors),
        };
        body::only(&mut members, &["weekly", "time_zone"], errors);
        times.sort();
        Self { times, time_zone }
    }
}

fn times(list: Json, errors: &mut ValidationErrors) -> Vec<WorkTime> {
    let read = each(list, MAX_ENTRIES, "/weekly", &["weekday", "start", "end", "breaks"], errors, work_time);
    for weekday in 1..=7 {
        let of_day = read.iter().filter(|(_, time)| time.weekday == weekday).map(|(index, time)| (*index, time.span));
        refuse_overlaps(&of_day.collect::<Vec<_>>(), "/weekly", errors);
    }
    read.into_iter().map(|(_, time)| time).collect()
}

fn work_time(members: &mut Map<String, Json>, place: &str, errors: &mut ValidationErrors) -> Option<WorkTime> {
    let weekday = weekday(members.shift_remove("weekday"), place, errors);
    // What begins after midnight is of the next weekday.
    let span = TimeSpan::take(members, super::clock::DAY, place, errors);
    let breaks = breaks(members.shift_remove("breaks"), span, place, errors);
    Some(WorkTime { weekday: weekday?, span: span?, breaks })
}

fn weekday(given: Option<Json>, place: &str, errors: &mut ValidationErrors) -> Option<u8> {
    let place = format!("{place}/weekday");
    match given {
        None | Some(Json::Null) => errors.at(place, "required", "`weekday` is required."),
        Some(Json::String(name)) => match WEEKDAYS.iter().position(|known| *known == name) {
            Some(index) => return u8::try_from(index + 1).ok(),
            None => {
                let hint = nearest(&name, &WEEKDAYS).map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
                let detail = format!("`weekday` must be one of {}.{hint}", WEEKDAYS.join(", "));
                errors.at(place, "not_a_choice", detail);
            }
        },
        Some(_) => errors.at(place, "type", format!("`weekday` must be one of {}.", WEEKDAYS.join(", "))),
    }
    None
}

/// Reads the breaks of an entry, which lie within `work`.
fn breaks(given: Option<Json>, work: Option<TimeSpan>, place: &str, errors: &mut ValidationErrors) -> Vec<TimeSpan> {
    let Some(list) = given.filter(|list| !list.is_null()) else { return Vec::new() };
    let place = format!("{place}/breaks");
    let read = each(list, MAX_BREAKS, &place, &["start", "end"], errors, |members, place, errors| {
        let span = TimeSpan::take(members, 2 * super::clock::DAY, place, errors)?;
        if work.is_some_and(|work| !work.contains(span)) {
            let detail = "A break lies within its entry. After midnight count the hours on: 01:00 is 25:00.";
            errors.at(place.to_owned(), "out_of_range", detail);
        }
        Some(span)
    });
    refuse_overlaps(&read, &place, errors);
    let mut breaks: Vec<TimeSpan> = read.into_iter().map(|(_, span)| span).collect();
    breaks.sort();
    breaks
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Json) -> Result<Vec<WorkTime>, Vec<(String, &'static str)>> {
        let mut errors = ValidationErrors::default();
        let hours = WeeklyHours::read(body.as_object().cloned().unwrap_or_default(), &mut errors);
        let errors = errors.into_inner();
        if errors.is_empty() { Ok(hours.times) } else { Err(errors.into_iter().map(|e| (e.pointer, e.code)).collect()) }
    }

    #[test]
    fn hours_are_read_in_order() {
        let read = read(json!({ "weekly": [
            { "weekday": "tuesday", "start": "22:00", "end": "30:00", "breaks": [{ "start": "26:00", "end": "26:30" }, { "start": "23:30", "end": "00:00" }] },
            { "weekday": "monday", "start": "12:00", "end": "17:00" },
            { "weekday": "monday", "start": "09:00", "end": "12:00", "breaks": null },
        ] }));
        let span = |starts, ends| TimeSpan { starts, ends };
        let expected = [
            (1, span(540, 720), vec![]),
            (1, span(720, 1020), vec![]),
            (2, span(1320, 1800), vec![span(1410, 1440), span(1560, 1590)]),
        ];
        let expected = expected.map(|(weekday, span, breaks)| WorkTime { weekday, span, breaks });
        assert_eq!(read, Ok(expected.to_vec()));
        assert_eq!(self::read(json!({ "weekly": [] })), Ok(vec![]));
    }

    #[test]
    fn every_error_is_found() {
        let found = read(json!({ "wekly": 1, "time_zone": 7, "weekly": [
            7,
            { "weekday": "mnday", "start": "09:00", "end": "08:00" },
            { "weekday": "monday", "start": "09:00", "end": "12:00" },
            { "weekday": "monday", "start": "11:59", "end": "13:00", "breaks": "noon" },
            { "weekday": "friday", "start": 9, "ende": "17:00", "breaks": [{ "start": "12:00" }] },
            { "weekday": "sunday", "start": "09:00", "end": "17:00", "breaks": [
                { "start": "08:30", "end": "09:30" }, { "start": "12:00", "end": "13:00" }, { "start": "12:30", "end": "12:45" },
                { "start": "16:00", "end": "15:00" }, 4, { "start": "14:00", "end": "14:10", "why": "tea" },
            ] },
        ] }));
        let mut found = found.expect_err("errors");
        found.sort();
        let expected = [
            ("/time_zone", "type"),
            ("/weekly/0", "type"),
            ("/weekly/1/end", "out_of_range"),
            ("/weekly/1/weekday", "not_a_choice"),
            ("/weekly/3", "overlapping"),
            ("/weekly/3/breaks", "type"),
            ("/weekly/4/breaks/0/end", "required"),
            ("/weekly/4/end", "required"),
            ("/weekly/4/ende", "unknown_field"),
            ("/weekly/4/start", "type"),
            ("/weekly/5/breaks/0", "out_of_range"),
            ("/weekly/5/breaks/2", "overlapping"),
            ("/weekly/5/breaks/3/end", "out_of_range"),
            ("/weekly/5/breaks/4", "type"),
            ("/weekly/5/breaks/5/why", "unknown_field"),
            ("/wekly", "unknown_field"),
        ];
        assert_eq!(found, expected.map(|(pointer, code)| (pointer.to_owned(), code)));
        assert_eq!(read(json!({})), Err(vec![("/weekly".to_owned(), "required")]));
        let many = vec![json!({ "weekday": "monday", "start": "09:00", "end": "17:00" }); MAX_ENTRIES + 1];
        assert_eq!(read(json!({ "weekly": many })), Err(vec![("/weekly".to_owned(), "length")]));
    }
}
