//! Half-open intervals of instants: what ends at ten leaves ten to the next.

use chrono::{DateTime, Utc};

/// From `start` until before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

impl Interval {
    pub fn new(start: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        Self { start, end }
    }

    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// The part that lies in both.
    pub fn cut(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// Sorts intervals, and joins those that touch or overlap.
pub fn joined(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.retain(|interval| !interval.is_empty());
    intervals.sort_unstable();
    let mut joined: Vec<Interval> = Vec::with_capacity(intervals.len());
    for interval in intervals {
        match joined.last_mut() {
            Some(last) if interval.start <= last.end => last.end = last.end.max(interval.end),
            _ => joined.push(interval),
        }
    }
    joined
}

/// Returns the one of these `joined` intervals that contains `wanted`.
pub fn containing(joined: &[Interval], wanted: Interval) -> Option<Interval> {
    let after = joined.partition_point(|interval| interval.start <= wanted.start);
    joined[..after].last().copied().filter(|interval| interval.contains(wanted))
}

/// Whether one of these `joined` intervals has a moment in common with `wanted`.
pub fn overlaps(joined: &[Interval], wanted: Interval) -> bool {
    let after = joined.partition_point(|interval| interval.end <= wanted.start);
    joined.get(after).is_some_and(|next| next.start < wanted.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(start: i64, end: i64) -> Interval {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap_or_default();
        Interval::new(at(start), at(end))
    }

    #[test]
    fn joined_joins_what_touches() {
        assert_eq!(joined(vec![of(5, 7), of(1, 3), of(3, 4), of(9, 9), of(6, 8)]), [of(1, 4), of(5, 8)]);
    }

    #[test]
    fn neighbours_do_not_overlap() {
        let taken = joined(vec![of(10, 20), of(30, 40)]);
        for (wanted, is_taken) in [
            (of(0, 10), false),
            (of(20, 30), false),
            (of(40, 50), false),
            (of(9, 11), true),
            (of(19, 31), true),
            (of(0, 50), true),
        ] {
            assert_eq!(overlaps(&taken, wanted), is_taken, "{wanted:?}");
        }
        assert_eq!(containing(&taken, of(10, 20)), Some(of(10, 20)));
        assert_eq!(containing(&taken, of(19, 21)), None);
        assert_eq!(containing(&taken, of(5, 6)), None);
    }
}
