//! Row locks of transactions that change several resources. All lock in one order, so that they do not deadlock: leads,
//! companies, contacts, conversations; within one resource by id.
//!
//! `FOR NO KEY UPDATE` blocks other writers, but not those who only reference the row.

use uuid::Uuid;

use super::LEADS;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::crud;
use crate::resource::{Resource, select};

/// A locked lead.
pub struct Locked {
    pub company: Option<Uuid>,
    pub contact: Option<Uuid>,
    pub status: String,
}

/// Locks lead `id` if `expected` is its version. Errors: 404; 412.
pub fn lead(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<Locked> {
    let mut sql = Statement::new("SELECT t.version, t.company_id, t.contact_id, t.status FROM leads t");
    sql.append(select::tenant_predicate(&LEADS, tenant)).sql(" AND t.id = ").bind(id);
    select::not_deleted(&mut sql, &LEADS);
    let row = sql.sql(" FOR NO KEY UPDATE").row(tx)?.ok_or_else(|| crud::not_found(&LEADS))?;
    if !expected.allows(row.int(0)) {
        return Err(Error::PreconditionFailed);
    }
    let status = row.text(3).unwrap_or_default().to_owned();
    Ok(Locked { company: row.uuid(1), contact: row.uuid(2), status })
}

/// Locks row `id`. Returns whether it exists.
pub fn one(tx: &mut Tx<'_>, tenant: &Tenant, resource: &Resource, id: Uuid) -> Result<bool> {
    let mut sql = Statement::new(format!("SELECT t.id FROM {} t", resource.table));
    sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ").bind(id);
    select::not_deleted(&mut sql, resource);
    Ok(sql.sql(" FOR NO KEY UPDATE").row(tx)?.is_some())
}
