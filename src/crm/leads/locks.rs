//! Locks of the transactions that change several nouns at once. All take them in one order, so that none of these waits for
//! another in a circle: leads, companies, contacts, conversations; within one noun by id.
//!
//! `FOR NO KEY UPDATE` keeps other writers away, and not those who only link to the row.

use uuid::Uuid;

use super::LEADS;
use crate::auth::Tenant;
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::http::precondition::IfMatch;
use crate::noun::store;
use crate::noun::{Noun, select};

/// A lead as it is while it is locked.
pub struct Locked {
    pub company: Option<Uuid>,
    pub contact: Option<Uuid>,
    pub status: String,
}

/// Locks the lead `id`, if `expected` is its version. Errors: 404 and 412.
pub fn lead(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<Locked> {
    let mut sql = Statement::new("SELECT t.version, t.company_id, t.contact_id, t.status FROM leads t");
    sql.append(select::scoped(&LEADS, tenant)).push(" AND t.id = ").bind(Value::Uuid(Some(id)));
    select::alive(&mut sql, &LEADS);
    let row = sql.push(" FOR NO KEY UPDATE").row(tx)?.ok_or_else(|| store::missing(&LEADS))?;
    if !expected.allows(row.int(0)) {
        return Err(Error::Stale);
    }
    let status = row.text(3).unwrap_or_default().to_owned();
    Ok(Locked { company: row.uuid(1), contact: row.uuid(2), status })
}

/// Locks the row `id` of `noun`; whether there is one.
pub fn one(tx: &mut Tx<'_>, tenant: &Tenant, noun: &Noun, id: Uuid) -> Result<bool> {
    let mut sql = Statement::new(format!("SELECT t.id FROM {} t", noun.table));
    sql.append(select::scoped(noun, tenant)).push(" AND t.id = ").bind(Value::Uuid(Some(id)));
    select::alive(&mut sql, noun);
    Ok(sql.push(" FOR NO KEY UPDATE").row(tx)?.is_some())
}
