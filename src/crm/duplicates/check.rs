//! Refuses to create a contact or company that probably exists already: 409 with the candidate rows, unless the request
//! has `allow_duplicate=true`. It is meant for people at a form: imports, batches and rows created by other operations
//! are not checked.
//!
//! Only reliable matches count. A unique value (email address, domain, external id) is refused with the row that has
//! it. A contact matches by phone number and a name that does not contradict, or by nearly the same name in the same
//! company. A company matches by phone number and a similar name, by domain apart from `www.`, or by name (apart from
//! case, punctuation and legal form) if it has no other domain.
//!
//! A caller who may not read the resource learns that there is a match, and nothing about it.

use serde_json::{Value as Json, json};

use super::score::{Candidate, MatchReason, ScoredMatch};
use super::search::{Prospect, compare, is_contact};
use crate::auth::{Action, Tenant};
use crate::base::error::{Error, Result};
use crate::db::{Statement, Tx};
use crate::resource::{Changeset, Resource};

/// Less similar names belong to different rows, even with the same phone number.
const OTHERS: f64 = 0.3;
/// Names as similar as this are the same within one company: the same words in another order, or with other accents.
const SAME: f64 = 0.85;

/// Refuses a probable duplicate. Queries: one. Errors: 409 `already_exists` and `possible_duplicate`.
pub fn refuse(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, change: &Changeset) -> Result<()> {
    let prospect = Prospect::of_change(change);
    let candidates = question(resource, tenant, &prospect).load::<Candidate>(tx)?;
    let mut rows: Vec<ScoredMatch> = candidates.into_iter().map(ScoredMatch::from).collect();
    rows.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    let reads = tenant.permissions().has(resource.area, Action::Read);
    let candidates = |rows: &[&ScoredMatch]| match reads {
        true => json!({ "candidates": rows.iter().map(|row| row.json()).collect::<Vec<_>>() }),
        false => Json::Null,
    };
    let unique =
        [("email", MatchReason::Email), ("external_id", MatchReason::ExternalId), ("domain", MatchReason::Domain)];
    for (field, reason) in unique {
        let has = |row: &&ScoredMatch| if reason == MatchReason::Domain { row.exact_domain } else { row.has(reason) };
        let taken: Vec<&ScoredMatch> = rows.iter().filter(has).collect();
        if let Some(row) = taken.first() {
            let detail = match reads {
                true => format!("The {} {} has this {field} already.", resource.name, row.id),
                false => format!("Another {} has this {field} already.", resource.name),
            };
            let (pointer, extra) = (Some(format!("/{field}")), Box::new(candidates(&taken)));
            return Err(Error::Conflict { code: "already_exists", detail, pointer, extra });
        }
    }
    let same: Vec<&ScoredMatch> = rows.iter().filter(|row| is_same(resource, row)).collect();
    if same.is_empty() {
        return Ok(());
    }
    let see = if reads { "; see `candidates`. Change that one, or send" } else { ". If it is another, send" };
    let detail =
        format!("There is a {} that looks the same{see} this again with `allow_duplicate=true`.", resource.name);
    let extra = Box::new(candidates(&same));
    Err(Error::Conflict { code: "possible_duplicate", detail, pointer: None, extra })
}

fn is_same(resource: &Resource, row: &ScoredMatch) -> bool {
    let names = row.name.unwrap_or_default();
    match is_contact(resource) {
        true => {
            (row.has(MatchReason::Phone) && row.name.is_none_or(|alike| alike >= OTHERS))
                || (row.has(MatchReason::Company) && names >= SAME)
        }
        false => {
            row.has(MatchReason::Domain)
                || (row.has(MatchReason::Phone) && names >= OTHERS)
                || (names >= 1.0 && !row.other_domain)
        }
    }
}

/// Builds the statement of [`refuse`].
pub fn question(resource: &'static Resource, tenant: &Tenant, prospect: &Prospect) -> Statement {
    // As an array, of which the planner expects ten rows: of a function it expects a thousand, and would read the whole
    // business.
    let mut found = Statement::new("SELECT unnest(ARRAY(SELECT ");
    match is_contact(resource) {
        true => found.sql("rapport_contacts_like(").bind(prospect.email.as_deref()),
        false => found.sql("rapport_companies_like(").bind(prospect.domain.as_deref()),
    };
    found.sql(", ").bind(prospect.phone.as_deref()).sql(", ").bind(prospect.external_id.as_deref()).sql(", ");
    if is_contact(resource) {
        found.bind(prospect.company).sql(", ");
    }
    found.bind(prospect.name.as_deref()).sql(")))");
    compare(resource, tenant, prospect, found)
}
