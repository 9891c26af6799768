//! Row locks of transactions that change several resources. All lock in one order, so that they do not deadlock: leads,
//! companies, contacts, conversations; within one resource by id.
//!
//! `FOR NO KEY UPDATE` blocks other writers, but not those who only reference the row.

use diesel::prelude::*;
use uuid::Uuid;

use super::LEADS;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::schema::leads;
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::crud;
use crate::resource::{Resource, select};

/// A locked lead.
#[derive(QueryableByName)]
#[diesel(table_name = leads)]
pub struct LockedLead {
    version: i64,
    pub company_id: Option<Uuid>,
    pub contact_id: Option<Uuid>,
    pub status: String,
}

/// Locks lead `id` if `expected` is its version. Errors: 404; 412.
pub fn lead(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<LockedLead> {
    let mut sql = Statement::new("SELECT t.version, t.company_id, t.contact_id, t.status FROM leads t");
    sql.append(select::tenant_predicate(&LEADS, tenant)).sql(" AND t.id = ").bind(id);
    select::not_deleted(&mut sql, &LEADS);
    let lead = sql.sql(" FOR NO KEY UPDATE").first::<LockedLead>(tx)?.ok_or_else(|| crud::not_found(&LEADS))?;
    if !expected.allows(Some(lead.version)) {
        return Err(Error::PreconditionFailed);
    }
    Ok(lead)
}

/// Locks row `id`. Returns whether it exists.
pub fn one(tx: &mut Tx<'_>, tenant: &Tenant, resource: &Resource, id: Uuid) -> Result<bool> {
    let mut sql = Statement::new("SELECT t.id FROM ");
    sql.ident(resource.table).sql(" t");
    sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ").bind(id);
    select::not_deleted(&mut sql, resource);
    Ok(sql.sql(" FOR NO KEY UPDATE").scalar::<Uuid>(tx)?.is_some())
}
