//! Scores how likely two rows are the same, by what they have in common.

use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Nullable, Uuid as SqlUuid};
use serde::Serialize;
use serde_json::{Value as Json, json};
use utoipa::ToSchema;
use uuid::Uuid;

/// Less similar names do not count.
const ALIKE: f64 = 0.4;
/// Rows with a lower score are not shown.
const LEAST: f64 = 0.25;

/// What two rows can have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchReason {
    Email,
    ExternalId,
    Domain,
    Phone,
    SimilarEmail,
    Name,
    Company,
}

/// A row that could be the same as the one compared, and what the two have in common.
#[derive(QueryableByName)]
pub(super) struct Candidate {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    /// Similarity of the names, from 0 to 1000; `None` when one has none.
    #[diesel(sql_type = Nullable<Integer>)]
    name_thousandths: Option<i32>,
    #[diesel(sql_type = Bool)]
    same_email: bool,
    #[diesel(sql_type = Bool)]
    same_external_id: bool,
    /// Of a company, apart from `www.`
    #[diesel(sql_type = Bool)]
    same_domain: bool,
    #[diesel(sql_type = Bool)]
    same_phone: bool,
    /// The same mailbox, written differently.
    #[diesel(sql_type = Bool)]
    similar_email: bool,
    /// Of a contact.
    #[diesel(sql_type = Bool)]
    same_company: bool,
    /// Whether it is a company with that very domain.
    #[diesel(sql_type = Bool)]
    exact_domain: bool,
    /// Whether it is a company with another domain.
    #[diesel(sql_type = Bool)]
    other_domain: bool,
}

impl Candidate {
    /// Returns what the two rows can have in common, each with its weight, or 0 where they have not.
    fn evidence(&self, name: Option<f64>) -> [(MatchReason, f64); 7] {
        let weight = |is_common: bool, weight: f64| if is_common { weight } else { 0.0 };
        [
            (MatchReason::Email, weight(self.same_email, 0.95)),
            (MatchReason::ExternalId, weight(self.same_external_id, 0.95)),
            (MatchReason::Domain, weight(self.same_domain, 0.9)),
            (MatchReason::Phone, weight(self.same_phone, 0.7)),
            (MatchReason::SimilarEmail, weight(self.similar_email, 0.6)),
            (MatchReason::Name, name.filter(|alike| *alike >= ALIKE).map_or(0.0, |alike| 0.7 * alike)),
            // A company has many contacts: it only adds to other matches.
            (MatchReason::Company, weight(self.same_company, 0.2)),
        ]
    }
}

/// A row, its score, and what it has in common with the one compared.
pub struct ScoredMatch {
    pub id: Uuid,
    pub score: f64,
    pub reasons: Vec<MatchReason>,
    /// Similarity of the names, from 0 to 1; `None` when one has none.
    pub name: Option<f64>,
    /// Whether it is a company with that very domain.
    pub exact_domain: bool,
    /// Whether it is a company with another domain.
    pub other_domain: bool,
}

impl From<Candidate> for ScoredMatch {
    /// Each thing in common multiplies the remaining doubt by 1 minus its weight.
    fn from(candidate: Candidate) -> Self {
        let name = candidate.name_thousandths.map(|thousandths| f64::from(thousandths) / 1_000.0);
        let (mut doubt, mut reasons) = (1.0, Vec::new());
        for (reason, weight) in candidate.evidence(name) {
            if weight > 0.0 {
                doubt *= 1.0 - weight;
                reasons.push(reason);
            }
        }
        let Candidate { id, exact_domain, other_domain, .. } = candidate;
        Self { id, score: ((1.0 - doubt) * 100.0).round() / 100.0, reasons, name, exact_domain, other_domain }
    }
}

impl ScoredMatch {
    pub fn has(&self, reason: MatchReason) -> bool {
        self.reasons.contains(&reason)
    }

    /// Whether it is shown: it scores high enough, and not by the company alone.
    pub fn is_likely(&self) -> bool {
        self.score >= LEAST && self.reasons != [MatchReason::Company]
    }

    /// Returns `{"id":…,"score":0.93,"reasons":["email"]}`.
    pub fn json(&self) -> Json {
        json!({ "id": self.id, "score": self.score, "reasons": self.reasons })
    }
}
