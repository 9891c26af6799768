//! Conversion: a lead is won. Its company and its contact are made, or found, and all three belong together from then on.

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::locks::{self, Locked};
use super::{LEADS, STATUSES};
use crate::auth::{Business, Tenant};
use crate::crm::companies::COMPANIES;
use crate::crm::contacts::CONTACTS;
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Fault, Result};
use crate::http::once::Answer;
use crate::http::precondition::IfMatch;
use crate::noun::http::API;
use crate::noun::params::View;
use crate::noun::store::{self, Row};
use crate::noun::{Change, Faults, Kind, Noun, body, form, json};

/// What a lead is when it is converted.
const WON: &str = "won";
/// What of the lead this operation sets itself.
pub(super) const SETS: [&str; 3] = ["status", "company_id", "contact_id"];

/// Who the other side is.
enum Party {
    /// Whoever the lead names.
    Own,
    /// A row that is there.
    Known(Uuid),
    /// To be made, unless there is one with its domain or its e-mail address.
    New(Change),
}

/// Who it was, and whether they were made.
#[derive(Clone, Copy)]
struct Found {
    id: Uuid,
    created: bool,
}

/// How rows of a noun are found again: what is unique, its function (migration 13) and its constraint.
struct Key {
    noun: &'static Noun,
    field: &'static str,
    finds: &'static str,
    constraint: &'static str,
}

static COMPANY: Key =
    Key { noun: &COMPANIES, field: "domain", finds: "rapport_company_of", constraint: "companies_domain_key" };
static CONTACT: Key =
    Key { noun: &CONTACTS, field: "email", finds: "rapport_contact_of", constraint: "contacts_email_key" };

/// A body that was read.
pub struct Conversion {
    company: Party,
    contact: Party,
    lead: Change,
}

impl Conversion {
    /// Errors: 400, and 422 with the faults of all its parts.
    pub fn read(body: &Bytes, depth: usize, business: &Business) -> Result<Self> {
        debug_assert!(STATUSES.contains(&WON));
        let (mut members, mut faults) = form::members(body, depth, &["company", "contact", "lead"])?;
        let mut party = |key: &Key| -> Result<Party> {
            let name = key.noun.name;
            let read =
                form::object(&mut members, name, &mut faults).map(|members| read_party(key.noun, members, business));
            Ok(read.map_or(Ok(None), |read| faults.member(name, read))?.unwrap_or(Party::Own))
        };
        let (company, contact) = (party(&COMPANY)?, party(&CONTACT)?);
        let mut lead = form::object(&mut members, "lead", &mut faults).unwrap_or_default();
        let mut own = Faults::default();
        form::refuse(&mut lead, &SETS, &mut own);
        lead.insert("status".into(), json!(WON));
        let lead = own.and(Change::parse(&LEADS, lead.into(), false, business));
        let lead = faults.and(lead.map_err(|error| error.of_member("lead")))?;
        Ok(Self { company, contact, lead })
    }

    /// Does it to the lead `id`, if `expected` is its version. Errors: 404; 409 when it is won already; 412; 422.
    pub fn run(&self, tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<Answer> {
        let Locked { company, contact, status } = locks::lead(tx, tenant, id, expected)?;
        if status == WON {
            let detail = "This lead is won already. Give it another status first, if it is to be converted again.";
            return Err(Error::conflict("already_converted", detail));
        }
        let mut faults = Faults::default();
        let found = find(tx, tenant, &COMPANY, &self.company, company, |_| {});
        let company = faults.member("company", found)?.flatten();
        let given = !matches!(self.company, Party::Own);
        let found = find(tx, tenant, &CONTACT, &self.contact, contact, |change| {
            change.set_default("company_id", Value::Uuid(company.map(|company| company.id)));
        });
        let contact = faults.member("contact", found)?.flatten();
        let works_for = match contact {
            Some(contact) => faults.member("contact", employ(tx, tenant, contact.id, company, given))?.flatten(),
            None => None,
        };
        let company_id = company.map(|company| company.id).or(works_for);
        let mut lead = self.lead.clone();
        lead.set("company_id", Value::Uuid(company_id));
        lead.set("contact_id", Value::Uuid(contact.map(|contact| contact.id)));
        let lead = faults.member("lead", (LEADS.writes.update)(tx, tenant, id, lead, IfMatch::ANY))?;
        faults.into_result()?;
        let mut row = |noun, id: Option<Uuid>| match id {
            Some(id) => store::one(tx, tenant, noun, id, &View::default()),
            None => Ok(None),
        };
        let rows = (row(&COMPANIES, company_id)?, row(&CONTACTS, contact.map(|contact| contact.id))?);
        let lead = lead.ok_or_else(|| Error::Internal("the lead that was written is not there".into()))?;
        let made = |found: Option<Found>| found.is_some_and(|found| found.created);
        let created = json!({ "company": made(company), "contact": made(contact) });
        let created = Row { json: created.to_string().into_bytes(), version: 0 };
        let json = json::document(&[
            ("lead", Some(&lead)),
            ("company", rows.0.as_ref()),
            ("contact", rows.1.as_ref()),
            ("created", Some(&created)),
        ]);
        Ok(Answer::new(StatusCode::CREATED, json).location(format!("{API}/{}/{id}", LEADS.plural)).etag(lead.etag()))
    }
}

/// `{"id":…}` alone, or the fields of a new row.
fn read_party(noun: &'static Noun, mut members: Map<String, Json>, business: &Business) -> Result<Party> {
    let Some(id) = members.shift_remove("id") else {
        return Ok(Party::New(Change::parse(noun, members.into(), true, business)?));
    };
    let mut faults = Faults::default();
    for name in members.keys() {
        let detail =
            format!("`{name}` does not go with `id`: give the `id` of a {0}, or the fields of a new one.", noun.name);
        faults.field(name, "not_with_id", detail);
    }
    let id = body::value(Kind::Uuid, id, business)
        .map_err(|(code, detail)| Error::Invalid(vec![Fault::new("/id", code, format!("`id` {detail}"))]));
    Ok(faults.and(id)?.as_uuid().map_or(Party::Own, Party::Known))
}

/// Finds or makes them, and keeps them locked. `own` is whom the lead names.
fn find(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    key: &Key,
    party: &Party,
    own: Option<Uuid>,
    complete: impl Fn(&mut Change),
) -> Result<Option<Found>> {
    let there = |id| Some(Found { id, created: false });
    let change = match party {
        Party::Own => match own {
            Some(id) if locks::one(tx, tenant, key.noun, id)? => return Ok(there(id)),
            _ => return Ok(None),
        },
        Party::Known(id) if locks::one(tx, tenant, key.noun, *id)? => return Ok(there(*id)),
        Party::Known(_) => {
            let detail = format!("`id` names no {} of this business, or a deleted one.", key.noun.name);
            return Err(Error::Invalid(vec![Fault::new("/id", "no_such_row", detail)]));
        }
        Party::New(change) => change,
    };
    if let Some(text) = change.text(key.field) {
        let mut sql = Statement::new(format!("SELECT {}(", key.finds));
        let row = sql.bind(Value::Text(Some(text.to_owned()))).push(")").row(tx)?;
        if let Some(id) = row.and_then(|row| row.uuid(0))
            && locks::one(tx, tenant, key.noun, id)?
        {
            return Ok(there(id));
        }
    }
    let mut change = change.clone();
    complete(&mut change);
    match (key.noun.writes.create)(tx, tenant, change) {
        Ok((id, _)) => Ok(Some(Found { id, created: true })),
        // Somebody else has just made it, and it will be found.
        Err(error) if error.is_taken(key.constraint) => Err(Error::outrun()),
        Err(error) => Err(error),
    }
}

/// The contact `id` works for `company`, if they work for nobody, or if it was `given`. For whom they work then.
fn employ(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, company: Option<Found>, given: bool) -> Result<Option<Uuid>> {
    // A company that was deleted is none.
    let mut sql = Statement::new(
        "SELECT c.id FROM contacts t JOIN companies c ON c.business_id = t.business_id AND c.id = t.company_id \
         AND c.deleted_at IS NULL WHERE t.business_id = ",
    );
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND t.id = ").bind(Value::Uuid(Some(id)));
    let now = sql.row(tx)?.and_then(|row| row.uuid(0));
    match company {
        Some(company) if now.is_none() || (given && now != Some(company.id)) => {
            let mut change = Change::none(&CONTACTS);
            change.set("company_id", Value::Uuid(Some(company.id)));
            (CONTACTS.writes.update)(tx, tenant, id, change, IfMatch::ANY)?;
            Ok(Some(company.id))
        }
        _ => Ok(now),
    }
}
