//! What a PostgreSQL statement sees: `pg_current_snapshot()`.

use std::fmt;
use std::str::FromStr;

/// A snapshot of one server: which transactions it sees. Snapshots of one server are totally ordered: a later one sees all that
/// an earlier one saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Transactions below it have ended.
    xmin: u64,
    /// Transactions from it on had not begun.
    xmax: u64,
    /// Those between them that were in progress, in ascending order.
    xip: Box<[u64]>,
}

impl Snapshot {
    /// Whether it sees the changes of transaction `xid`, which has committed.
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || xid < self.xmax && self.xip.binary_search(&xid).is_err()
    }

    /// Whether it sees all that `other`, of the same server, sees.
    pub fn includes(&self, other: &Self) -> bool {
        self.xmax >= other.xmax && self.xip.iter().all(|xid| *xid >= other.xmax || other.xip.binary_search(xid).is_ok())
    }

    /// Whether it sees every transaction up to `xid`, which has ended.
    pub fn sees_up_to(&self, xid: u64) -> bool {
        xid < self.xmin
    }

    /// Transactions from it on had not begun.
    pub fn end(&self) -> u64 {
        self.xmax
    }

    /// The transactions that were in progress.
    pub fn in_progress(&self) -> &[u64] {
        &self.xip
    }
}

/// As PostgreSQL writes it: `xmin:xmax:xip,xip,…`.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (place, xid) in self.xip.iter().enumerate() {
            write!(f, "{}{xid}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// A text is no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a snapshot is `xmin:xmax:xip,…`")]
pub struct InvalidSnapshot;

impl FromStr for Snapshot {
    type Err = InvalidSnapshot;

    fn from_str(text: &str) -> Result<Self, InvalidSnapshot> {
        let mut parts = text.split(':');
        let (Some(xmin), Some(xmax), Some(xip), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidSnapshot);
        };
        let number = |text: &str| text.parse::<u64>().map_err(|_| InvalidSnapshot);
        let xip: Result<Vec<u64>, _> = xip.split(',').filter(|xid| !xid.is_empty()).map(number).collect();
        let mut xip = xip?;
        xip.sort_unstable();
        Ok(Self { xmin: number(xmin)?, xmax: number(xmax)?, xip: xip.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::Snapshot;

    fn snapshot(text: &str) -> Snapshot {
        text.parse().expect("a snapshot")
    }

    #[test]
    fn sees_ended_transactions_only() {
        let seen = snapshot("10:15:10,12");
        let visible: Vec<u64> = (8..17).filter(|xid| seen.sees(*xid)).collect();
        assert_eq!(visible, [8, 9, 11, 13, 14]);
        assert!(seen.sees_up_to(9) && !seen.sees_up_to(10));
        assert_eq!(seen.to_string(), "10:15:10,12");
    }

    #[test]
    fn includes_is_the_order_of_snapshots() {
        let in_order = ["10:10:", "10:15:10,12", "12:15:12", "12:20:12,17", "17:20:17", "20:20:"].map(snapshot);
        for (place, one) in in_order.iter().enumerate() {
            for (other_place, other) in in_order.iter().enumerate() {
                assert_eq!(one.includes(other), place >= other_place, "{one} includes {other}");
            }
        }
    }

    #[test]
    fn from_str_refuses_other_texts() {
        for text in ["", "1:2", "1:2:3:4", "1:x:", "-1:2:"] {
            assert!(text.parse::<Snapshot>().is_err(), "{text}");
        }
    }
}
