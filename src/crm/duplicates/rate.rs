//! How likely it is that two rows are the same, by what they have in common.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::db::Cells;

/// What two rows can have in common, how it is said, and what it is worth alone. Each leaves of the doubt that the others
/// left as much as its worth is short of 1.
const WORTH: [(&str, f64); 7] = [
    ("email", 0.95),
    ("external_id", 0.95),
    ("domain", 0.9),
    ("phone", 0.7),
    // The same mailbox, written in another way.
    ("similar_email", 0.6),
    // As much of it as the names are alike.
    ("name", 0.7),
    // Colleagues are many: it only adds to something else.
    ("company", 0.2),
];
/// Names less alike than this say nothing.
const ALIKE: f64 = 0.4;
/// Who is less likely the same is not shown.
const LEAST: f64 = 0.25;

/// A row and what it has in common with the one asked about. The cells are the row's id, the likeness of the names in
/// thousandths, whether (0, 1) each of [`FLAGS`], and of companies whether they have that very domain, or another.
pub struct Rated {
    pub id: Uuid,
    pub score: f64,
    pub reasons: Vec<&'static str>,
    /// How alike the names are, from 0 to 1; `None`, where one has none.
    pub name: Option<f64>,
    /// Whether it is a company with that very domain, and whether with another one.
    pub domain: (bool, bool),
}

/// What a statement says of a row, in this order.
pub const FLAGS: [&str; 6] = ["email", "external_id", "domain", "phone", "similar_email", "company"];

impl Rated {
    pub fn read(cells: &Cells) -> Option<Self> {
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

    /// Whether it is worth showing.
    pub fn is_likely(&self) -> bool {
        self.score >= LEAST && self.reasons != ["company"]
    }

    /// `{"id":…,"score":0.93,"reasons":["email"]}`
    pub fn json(&self) -> Json {
        json!({ "id": self.id, "score": self.score, "reasons": self.reasons })
    }
}
