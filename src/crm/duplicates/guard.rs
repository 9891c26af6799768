//! Whoever makes a contact or a company that is there already, as far as one can tell, is told so: 409 with the rows that
//! it could be, unless they ask for it with `allow_duplicate=true`. It is for people at a form: imports, batches and what
//! other operations make are not asked.
//!
//! Only what hardly errs counts. What must be unique anyway (e-mail address, domain, id elsewhere) is refused with the row
//! that has it. A contact with the same phone number and a name that does not say otherwise, or with nearly the same name
//! in the same company. A company with the same phone number and a similar name, with the same domain but for `www.`, or
//! with the same name (but for case, punctuation and legal form) and no other domain.
//!
//! Whoever may not read is told that there is one, and nothing about it.

use serde_json::{Value as Json, json};

use super::rate::Rated;
use super::search::{Prospect, is_contact, rated};
use crate::auth::{Action, Tenant};
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::noun::{Change, Noun};

/// Names less alike than this are of two, though they answer one telephone.
const OTHERS: f64 = 0.3;
/// Names as alike as this are one, in one company: the same words in another order, or with other accents.
const SAME: f64 = 0.85;

/// Refuses what is there already. Queries: one. Errors: 409 `already_exists` and `possible_duplicate`.
pub fn refuse(tx: &mut Tx<'_>, tenant: &Tenant, change: &Change) -> Result<()> {
    let (noun, prospect) = (change.noun, Prospect::of_change(change));
    let mut rows: Vec<Rated> = question(noun, tenant, &prospect).rows(tx)?.iter().filter_map(Rated::read).collect();
    rows.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    let reads = tenant.permissions().has(noun.area, Action::Read);
    let candidates = |rows: &[&Rated]| match reads {
        true => json!({ "candidates": rows.iter().map(|row| row.json()).collect::<Vec<_>>() }),
        false => Json::Null,
    };
    for field in ["email", "external_id", "domain"] {
        let has = |row: &&Rated| if field == "domain" { row.domain.0 } else { row.has(field) };
        let taken: Vec<&Rated> = rows.iter().filter(has).collect();
        if let Some(row) = taken.first() {
            let detail = match reads {
                true => format!("The {} {} has this {field} already.", noun.name, row.id),
                false => format!("Another {} has this {field} already.", noun.name),
            };
            let (pointer, extra) = (Some(format!("/{field}")), Box::new(candidates(&taken)));
            return Err(Error::Conflict { code: "already_exists", detail, pointer, extra });
        }
    }
    let same: Vec<&Rated> = rows.iter().filter(|row| is_same(noun, row)).collect();
    if same.is_empty() {
        return Ok(());
    }
    let see = if reads { "; see `candidates`. Change that one, or send" } else { ". If it is another, send" };
    let detail = format!("There is a {} that looks the same{see} this again with `allow_duplicate=true`.", noun.name);
    let extra = Box::new(candidates(&same));
    Err(Error::Conflict { code: "possible_duplicate", detail, pointer: None, extra })
}

fn is_same(noun: &Noun, row: &Rated) -> bool {
    let names = row.name.unwrap_or_default();
    match is_contact(noun) {
        true => {
            (row.has("phone") && row.name.is_none_or(|alike| alike >= OTHERS)) || (row.has("company") && names >= SAME)
        }
        false => row.has("domain") || (row.has("phone") && names >= OTHERS) || (names >= 1.0 && !row.domain.1),
    }
}

/// The statement of [`refuse`].
pub fn question(noun: &'static Noun, tenant: &Tenant, prospect: &Prospect) -> Statement {
    let text = |text: &Option<String>| Value::Text(text.clone());
    // As an array, of which the planner expects ten: of a function it expects a thousand, and would read all of the business.
    let mut found = Statement::new("SELECT unnest(ARRAY(SELECT ");
    found.push(if is_contact(noun) { "rapport_contacts_like(" } else { "rapport_companies_like(" });
    found.bind(text(if is_contact(noun) { &prospect.email } else { &prospect.domain })).push(", ");
    found.bind(text(&prospect.phone)).push(", ").bind(text(&prospect.external_id)).push(", ");
    if is_contact(noun) {
        found.bind(Value::Uuid(prospect.company)).push(", ");
    }
    found.bind(text(&prospect.name)).push(")))");
    rated(noun, tenant, prospect, found)
}
