//! Scores how likely two rows are the same, by what they have in common.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::db::RawRow;

/// What two rows can have in common, and its weight. Each match multiplies the remaining doubt by 1 minus its weight.
const WORTH: [(&str, f64); 7] = [
    ("email", 0.95),
    ("external_id", 0.95),
    ("domain", 0.9),
    ("phone", 0.7),
    // The same mailbox, written differently.
    ("similar_email", 0.6),
    // Multiplied by the similarity of the names.
    ("name", 0.7),
    // A company has many contacts: it only adds to other matches.
    ("company", 0.2),
];
/// Less similar names do not count.
const ALIKE: f64 = 0.4;
/// Rows with a lower score are not shown.
const LEAST: f64 = 0.25;

/// A row and what it has in common with the one compared. The columns are the row's id, the similarity of the names in
/// thousandths, each of [`FLAGS`] (0, 1), and of companies whether they have that very domain, or another.
pub struct ScoredMatch {
    pub id: Uuid,
    pub score: f64,
    pub reasons: Vec<&'static str>,
    /// Similarity of the names, from 0 to 1; `None` when one has none.
    pub name: Option<f64>,
    /// Whether it is a company with that very domain, and whether with another one.
    pub domain: (bool, bool),
}

/// Flags that the statement returns, in this order.
pub const FLAGS: [&str; 6] = ["email", "external_id", "domain", "phone", "similar_email", "company"];

impl ScoredMatch {
    pub fn read(cells: &RawRow) -> Option<Self> {
        let name = cells.int(1).map(|thousandths| thousandths as f64 / 1_000.0);
        let flagged = |reason: &str| {
            FLAGS.iter().position(|flag| *flag == reason).is_some_and(|place| cells.int(2 + place) == Some(1))
        };
        let (mut doubt, mut reasons) = (1.0, Vec::new());
        for (reason, worth) in WORTH {
            let worth = match reason {
                "name" => name.filter(|alike| *alike >= ALIKE).map_or(0.0, |alike| worth * alike),
                _ if flagged(reason) => worth,
                _ => 0.0,
            };
            if worth > 0.0 {
                doubt *= 1.0 - worth;
                reasons.push(reason);
            }
        }
        let domain = (cells.int(8) == Some(1), cells.int(9) == Some(1));
        Some(Self { domain, id: cells.uuid(0)?, score: ((1.0 - doubt) * 100.0).round() / 100.0, reasons, name })
    }

    pub fn has(&self, reason: &str) -> bool {
        self.reasons.contains(&reason)
    }

    /// Whether it is shown: it scores high enough, and not by the company alone.
    pub fn is_likely(&self) -> bool {
        self.score >= LEAST && self.reasons != ["company"]
    }

    /// Returns `{"id":…,"score":0.93,"reasons":["email"]}`.
    pub fn json(&self) -> Json {
        json!({ "id": self.id, "score": self.score, "reasons": self.reasons })
    }
}
