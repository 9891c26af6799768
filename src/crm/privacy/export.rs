//! Export: everything about a contact as one document, from one snapshot.

use uuid::Uuid;

use super::data_subject::DataSubject;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::{Statement, Tx};
use crate::resource::audit_log::AUDIT_LOG;
use crate::resource::{crud, select};

/// Returns `{"contacts":[…],"leads":[…],…,"audit-log":[…]}`: all fields of each row, deleted ones too. Errors: 404; 409
/// when there are more than `most` rows.
pub fn export(tx: &mut Tx<'_>, tenant: &Tenant, contact: Uuid, most: usize) -> Result<Vec<u8>> {
    let reach = DataSubject::find(tx, tenant, contact, false)?;
    let ids = reach.ids();
    let entries = audit_entries(tx, tenant, &ids)?;
    if ids.len() + entries > most {
        let detail = format!(
            "There are {} rows about this contact and {entries} entries of the audit log about these, and an export has at most \
             {most} in all (RAPPORT_EXPORT_ROWS).",
            ids.len()
        );
        return Err(Error::conflict("too_much", detail));
    }
    Statement::new("SELECT rapport_audit_export(").bind(contact).sql(")").run(tx)?;
    let mut out = b"{".to_vec();
    for (resource, ids) in &reach.0 {
        out.extend_from_slice(format!("\"{}\":", resource.plural).as_bytes());
        crud::whole(tx, tenant, resource, "id", ids.clone(), &mut out)?;
        out.push(b',');
    }
    out.extend_from_slice(format!("\"{}\":", AUDIT_LOG.plural).as_bytes());
    crud::whole(tx, tenant, &AUDIT_LOG, "row_id", ids, &mut out)?;
    out.push(b'}');
    Ok(out)
}

/// Counts the audit log entries about these rows.
fn audit_entries(tx: &mut Tx<'_>, tenant: &Tenant, ids: &[Uuid]) -> Result<usize> {
    let mut sql = Statement::new("SELECT count(*) FROM audit_entries t");
    sql.append(select::tenant_predicate(&AUDIT_LOG, tenant)).sql(" AND t.row_id = ANY(").bind(ids.to_vec()).sql(")");
    let count = sql.scalar::<i64>(tx)?.unwrap_or_default();
    Ok(usize::try_from(count).unwrap_or_default())
}
