//! Times of a day as minutes after the midnight with which it begins, up to 48:00: what begins on a day may go on after its end.

use serde_json::{Map, Value as Json};

use crate::resource::body::{self, ValidationErrors};

/// Minutes of a day.
pub const DAY: u16 = 24 * 60;
/// The latest end: that of the next day.
const MAX_END: u16 = 2 * DAY;

/// A half-open interval of minutes: `ends` is not part of it, and comes after `starts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan {
    pub starts: u16,
    /// 2,880 at most.
    pub ends: u16,
}

impl TimeSpan {
    /// Whether they have a minute in common. Neighbours have none.
    pub fn overlaps(self, other: Self) -> bool {
        self.starts < other.ends && other.starts < self.ends
    }

    /// Whether all of `other` is in it.
    pub fn contains(self, other: Self) -> bool {
        self.starts <= other.starts && other.ends <= self.ends
    }

    /// Reads `start` and `end` out of an object; `limit` is the minute before which it starts. Adds every error, with pointers below
    /// `place`.
    pub fn take(
        members: &mut Map<String, Json>,
        limit: u16,
        place: &str,
        errors: &mut ValidationErrors,
    ) -> Option<Self> {
        let start = time(members, "start", 0..=limit - 1, place, errors);
        let end = time(members, "end", 0..=MAX_END, place, errors);
        let (starts, ends) = (start?, end?);
        // The midnight with which the day ends.
        let ends = if ends == 0 { DAY } else { ends };
        if ends > starts {
            return Some(Self { starts, ends });
        }
        let next = ends + DAY;
        let hint = match next <= MAX_END {
            true => format!(
                " If it ends on the next day, count the hours on: {} is {}.",
                clock_text(ends),
                clock_text(next)
            ),
            false => String::new(),
        };
        let detail = format!("`end` must be after `start`, which is {}.{hint}", clock_text(starts));
        errors.at(format!("{place}/end"), "out_of_range", detail);
        None
    }
}

/// Takes the time `name` out of `members`, if it is one among `minutes`.
fn time(
    members: &mut Map<String, Json>,
    name: &str,
    minutes: std::ops::RangeInclusive<u16>,
    place: &str,
    errors: &mut ValidationErrors,
) -> Option<u16> {
    let example = if name == "end" { "17:00" } else { "09:00" };
    let (from, to) = (clock_text(*minutes.start()), clock_text(*minutes.end()));
    let mut wrong = |code, detail: String| {
        errors.at(format!("{place}/{name}"), code, detail);
        None
    };
    match members.shift_remove(name) {
        None | Some(Json::Null) => wrong("required", format!("`{name}` is required.")),
        Some(Json::String(text)) => match minute(&text) {
            Some(minute) if minutes.contains(&minute) => Some(minute),
            Some(_) => wrong("out_of_range", format!("`{name}` must be from {from} to {to}.")),
            None => wrong("format", format!("`{name}` must be a time such as {example}, from {from} to {to}.")),
        },
        Some(_) => wrong("type", format!("`{name}` must be a time such as \"{example}\".")),
    }
}

/// Parses `HH:MM`, up to 48:59.
pub fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !two_digits(hours) || !two_digits(minutes) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 48 && minutes < 60).then_some(hours * 60 + minutes)
}

/// Writes a minute as `HH:MM`.
pub fn clock_text(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// Reads the objects of a list, each with its pointer, by `read`. Adds an error where it is no list, has more than `most` entries, or an
/// entry is no object, and for members of an entry that `read` leaves.
pub fn each<T>(
    list: Json,
    most: usize,
    place: &str,
    known: &[&str],
    errors: &mut ValidationErrors,
    mut read: impl FnMut(&mut Map<String, Json>, &str, &mut ValidationErrors) -> Option<T>,
) -> Vec<(usize, T)> {
    let name = place.rsplit('/').next().unwrap_or_default();
    let Json::Array(items) = list else {
        errors.at(place.to_owned(), "type", format!("`{name}` must be a list."));
        return Vec::new();
    };
    if items.len() > most {
        errors.at(place.to_owned(), "length", format!("`{name}` has {most} entries at most."));
        return Vec::new();
    }
    let mut found = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let place = format!("{place}/{index}");
        let Json::Object(mut members) = item else {
            errors.at(place, "type", "An entry must be an object.");
            continue;
        };
        found.extend(read(&mut members, &place, errors).map(|read| (index, read)));
        let mut unknown = ValidationErrors::default();
        for name in known {
            members.shift_remove(*name);
        }
        body::only(&mut members, known, &mut unknown);
        errors.part(&place, &unknown.into_inner());
    }
    found
}

/// Adds an error for each of `spans` that overlaps an earlier one of the same list.
pub fn refuse_overlaps(spans: &[(usize, TimeSpan)], place: &str, errors: &mut ValidationErrors) {
    for (at, (index, span)) in spans.iter().enumerate() {
        if let Some((_, other)) = spans[..at].iter().find(|(_, other)| other.overlaps(*span)) {
            let (from, to) = (clock_text(other.starts), clock_text(other.ends));
            errors.at(
                format!("{place}/{index}"),
                "overlapping",
                format!("It overlaps {from} to {to} of the same day."),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn take(start: &str, end: &str) -> Result<(u16, u16), Vec<(String, &'static str)>> {
        let mut members = json!({ "start": start, "end": end }).as_object().cloned().unwrap_or_default();
        let mut errors = ValidationErrors::default();
        let span = TimeSpan::take(&mut members, DAY, "", &mut errors);
        let found = errors.into_inner().into_iter().map(|error| (error.pointer, error.code));
        span.map(|span| (span.starts, span.ends)).ok_or_else(|| found.collect())
    }

    #[test]
    fn times_go_on_after_midnight() {
        assert_eq!(take("09:00", "17:00"), Ok((540, 1020)));
        assert_eq!(take("00:00", "00:00"), Ok((0, 1440)), "the end of the day");
        assert_eq!(take("22:00", "26:00"), Ok((1320, 1560)));
        assert_eq!(take("23:59", "48:00"), Ok((1439, 2880)));
        for (start, end, pointer, code) in [
            ("22:00", "02:00", "/end", "out_of_range"),
            ("09:00", "09:00", "/end", "out_of_range"),
            ("09:00", "48:01", "/end", "out_of_range"),
            ("24:00", "25:00", "/start", "out_of_range"),
            ("9:00", "17:00", "/start", "format"),
            ("09:00", "17:60", "/end", "format"),
            ("09:00", "49:00", "/end", "format"),
            ("09:00", "5 pm", "/end", "format"),
            ("09:00", "+1:00", "/end", "format"),
        ] {
            assert_eq!(take(start, end), Err(vec![(pointer.to_owned(), code)]), "{start} {end}");
        }
        assert_eq!(take("x", "y").map_err(|errors| errors.len()), Err(2));
    }

    #[test]
    fn an_end_before_the_start_names_the_form_past_midnight() {
        let mut members = json!({ "start": "22:00", "end": "02:30" }).as_object().cloned().unwrap_or_default();
        let mut errors = ValidationErrors::default();
        assert!(TimeSpan::take(&mut members, DAY, "/weekly/0", &mut errors).is_none());
        assert!(errors.into_inner()[0].detail.contains("26:30"));
    }

    #[test]
    fn neighbours_do_not_overlap() {
        let [one, two, three] = [(540, 720), (720, 800), (700, 721)].map(|(starts, ends)| TimeSpan { starts, ends });
        assert!(!one.overlaps(two) && one.overlaps(three) && three.overlaps(two));
        assert!(one.contains(TimeSpan { starts: 540, ends: 600 }) && !one.contains(three));
        for minute in 0..=MAX_END {
            assert_eq!(super::minute(&clock_text(minute)), Some(minute));
        }
    }
}
