//! Lead conversion: wins a lead, finds or creates its company and its contact, and links all three.

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use diesel::Column;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::dto::{CreatedParties, LeadConversion, LeadConversionRequest, SETS};
use super::locks::{self, LockedLead};
use super::{LEADS, STATUSES};
use crate::auth::{Tenant, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::crm::companies::{COMPANIES, CompanyRow};
use crate::crm::contacts::{CONTACTS, ContactRow};
use crate::db::schema::{companies, contacts, leads};
use crate::db::{Statement, Tx};
use crate::http::idempotency::ApiResponse;
use crate::http::precondition::IfMatch;
use crate::resource::body::{self, JsonObject};
use crate::resource::crud;
use crate::resource::http::API;
use crate::resource::list_query::Projection;
use crate::resource::{Changeset, FieldType, Resource, ValidationErrors};

/// Status of a converted lead.
const WON: &str = "won";

/// The company or the contact of a conversion.
enum PartyRef {
    /// The one that the lead references.
    Own,
    /// An existing row.
    Known(Uuid),
    /// A row to create, unless there is one with its domain or its email address.
    New(Changeset),
}

/// The row, and whether it was created.
#[derive(Clone, Copy)]
struct Found {
    id: Uuid,
    created: bool,
}

/// How existing rows are found: the unique field, its lookup function in the database, and its constraint.
struct Key {
    resource: &'static Resource,
    field: &'static str,
    lookup: &'static str,
    constraint: &'static str,
}

impl Key {
    const fn new<C: Column + Copy>(
        resource: &'static Resource,
        column: C,
        lookup: &'static str,
        constraint: &'static str,
    ) -> Self {
        let _ = column;
        Self { resource, field: C::NAME, lookup, constraint }
    }
}

static COMPANY: Key = Key::new(&COMPANIES, companies::domain, "rapport_company_of", "companies_domain_key");
static CONTACT: Key = Key::new(&CONTACTS, contacts::email, "rapport_contact_of", "contacts_email_key");

/// A parsed request body.
pub struct Conversion {
    company: PartyRef,
    contact: PartyRef,
    lead: Changeset,
}

impl Conversion {
    /// Parses the body. Errors: 400; 422 with the validation errors of all its parts.
    pub fn read(body: &Bytes, depth: usize, business: &TenantSettings) -> Result<Self> {
        debug_assert!(STATUSES.contains(&WON));
        let (parts, mut faults) = body::read_parts::<LeadConversionRequest>(body, depth)?;
        let mut party = |key: &Key, part: Option<JsonObject>| -> Result<PartyRef> {
            let read = part.map(|JsonObject(members)| read_party(key.resource, members, business));
            Ok(read.map_or(Ok(None), |read| faults.member(key.resource.name, read))?.unwrap_or(PartyRef::Own))
        };
        let (company, contact) = (party(&COMPANY, parts.company)?, party(&CONTACT, parts.contact)?);
        let mut lead = parts.lead.map(|JsonObject(members)| members).unwrap_or_default();
        let mut own = ValidationErrors::default();
        body::refuse(&mut lead, &SETS, &mut own);
        lead.insert("status".into(), json!(WON));
        let lead = own.and(Changeset::parse(&LEADS, lead.into(), false, business));
        let lead = faults.and(lead.map_err(|error| error.nest_under("lead")))?;
        Ok(Self { company, contact, lead })
    }

    /// Converts lead `id` if `expected` is its version. Errors: 404; 409 when it is won already; 412; 422.
    pub fn run(&self, tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<ApiResponse> {
        let LockedLead { company_id, contact_id, status, .. } = locks::lead(tx, tenant, id, expected)?;
        if status == WON {
            let detail = "This lead is won already. Give it another status first, if it is to be converted again.";
            return Err(Error::conflict("already_converted", detail));
        }
        let mut faults = ValidationErrors::default();
        let found = find(tx, tenant, &COMPANY, &self.company, company_id, |_| {});
        let company = faults.member("company", found)?.flatten();
        let given = !matches!(self.company, PartyRef::Own);
        let found = find(tx, tenant, &CONTACT, &self.contact, contact_id, |change| {
            change.set_default(contacts::company_id, company.map(|company| company.id));
        });
        let contact = faults.member("contact", found)?.flatten();
        let works_for = match contact {
            Some(contact) => faults.member("contact", employ(tx, tenant, contact.id, company, given))?.flatten(),
            None => None,
        };
        let company_id = company.map(|company| company.id).or(works_for);
        let mut lead = self.lead.clone();
        lead.set(leads::company_id, company_id);
        lead.set(leads::contact_id, contact.map(|contact| contact.id));
        let lead = faults.member("lead", crud::update(tx, tenant, &LEADS, id, lead, IfMatch::ANY))?;
        faults.into_result()?;
        let mut row = |resource, id: Option<Uuid>| match id {
            Some(id) => crud::one(tx, tenant, resource, id, &Projection::default()),
            None => Ok(None),
        };
        let rows = (row(&COMPANIES, company_id)?, row(&CONTACTS, contact.map(|contact| contact.id))?);
        let lead = lead.ok_or_else(|| Error::Internal("the lead that was written is not there".into()))?;
        let made = |found: Option<Found>| found.is_some_and(|found| found.created);
        let etag = lead.etag();
        let converted = LeadConversion {
            lead: lead.try_into()?,
            company: rows.0.map(CompanyRow::try_from).transpose()?,
            contact: rows.1.map(ContactRow::try_from).transpose()?,
            created: CreatedParties { company: made(company), contact: made(contact) },
        };
        let reply = ApiResponse::of(StatusCode::CREATED, &converted)?;
        Ok(reply.location(format!("{API}/{}/{id}", LEADS.plural)).etag(etag))
    }
}

/// Parses `{"id":…}` alone, or the fields of a new row.
fn read_party(
    resource: &'static Resource,
    mut members: Map<String, Json>,
    business: &TenantSettings,
) -> Result<PartyRef> {
    let Some(id) = members.shift_remove("id") else {
        return Ok(PartyRef::New(Changeset::parse(resource, members.into(), true, business)?));
    };
    let mut faults = ValidationErrors::default();
    for name in members.keys() {
        let detail = format!(
            "`{name}` does not go with `id`: give the `id` of a {0}, or the fields of a new one.",
            resource.name
        );
        faults.field(name, "not_with_id", detail);
    }
    let id = body::value(FieldType::Uuid, id, business)
        .map_err(|(code, detail)| Error::Invalid(vec![FieldError::new("/id", code, format!("`id` {detail}"))]));
    Ok(faults.and(id)?.as_uuid().map_or(PartyRef::Own, PartyRef::Known))
}

/// Finds or creates the row, and keeps it locked. `own` is the one that the lead references.
fn find(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    key: &Key,
    party: &PartyRef,
    own: Option<Uuid>,
    complete: impl Fn(&mut Changeset),
) -> Result<Option<Found>> {
    let there = |id| Some(Found { id, created: false });
    let change = match party {
        PartyRef::Own => match own {
            Some(id) if locks::one(tx, tenant, key.resource, id)? => return Ok(there(id)),
            _ => return Ok(None),
        },
        PartyRef::Known(id) if locks::one(tx, tenant, key.resource, *id)? => return Ok(there(*id)),
        PartyRef::Known(_) => {
            let detail = format!("`id` names no {} of this business, or a deleted one.", key.resource.name);
            return Err(Error::Invalid(vec![FieldError::new("/id", "no_such_row", detail)]));
        }
        PartyRef::New(change) => change,
    };
    if let Some(text) = change.text_field(key.field) {
        let mut sql = Statement::new("SELECT ");
        let known = sql.ident(key.lookup).sql("(").bind(text).sql(")").scalar::<Option<Uuid>>(tx)?;
        if let Some(id) = known.flatten()
            && locks::one(tx, tenant, key.resource, id)?
        {
            return Ok(there(id));
        }
    }
    let mut change = change.clone();
    complete(&mut change);
    match crud::create(tx, tenant, key.resource, change) {
        Ok((id, _)) => Ok(Some(Found { id, created: true })),
        // Created by a concurrent transaction: the retry finds it.
        Err(error) if error.is_taken(key.constraint) => Err(Error::serialization_conflict()),
        Err(error) => Err(error),
    }
}

/// Sets the contact's company to `company` if they have none, or if it was `given`. Returns the contact's company.
fn employ(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, company: Option<Found>, given: bool) -> Result<Option<Uuid>> {
    // A deleted company counts as none.
    let mut sql = Statement::new(
        "SELECT c.id FROM contacts t JOIN companies c ON c.business_id = t.business_id AND c.id = t.company_id \
         AND c.deleted_at IS NULL WHERE t.business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND t.id = ").bind(id);
    let now = sql.scalar::<Uuid>(tx)?;
    match company {
        Some(company) if now.is_none() || (given && now != Some(company.id)) => {
            let mut change = Changeset::empty(CONTACTS.fields);
            change.set(contacts::company_id, company.id);
            crud::update(tx, tenant, &CONTACTS, id, change, IfMatch::ANY)?;
            Ok(Some(company.id))
        }
        _ => Ok(now),
    }
}
