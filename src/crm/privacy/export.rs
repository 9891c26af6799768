//! Export: everything about a contact as one document, from one moment.

use uuid::Uuid;

use super::reach::Reach;
use crate::auth::Tenant;
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::noun::history::AUDIT_LOG;
use crate::noun::{select, store};

/// `{"contacts":[…],"leads":[…],…,"audit-log":[…]}`: all fields of each row, deleted ones too.
/// Errors: 404; 409 when there are more than `most` rows.
pub fn export(tx: &mut Tx<'_>, tenant: &Tenant, contact: Uuid, most: usize) -> Result<Vec<u8>> {
    let reach = Reach::find(tx, tenant, contact, false)?;
    let ids = reach.ids();
    let told = told(tx, tenant, &ids)?;
    if ids.len() + told > most {
        let detail = format!(
            "There are {} rows about this contact and {told} entries of the audit log about these, and an export has at most \
             {most} in all (RAPPORT_EXPORT_ROWS).",
            ids.len()
        );
        return Err(Error::conflict("too_much", detail));
    }
    Statement::new("SELECT rapport_tell_export(").bind(Value::Uuid(Some(contact))).push(")").run(tx)?;
    let mut out = b"{".to_vec();
    for (noun, ids) in &reach.0 {
        out.extend_from_slice(format!("\"{}\":", noun.plural).as_bytes());
        store::whole(tx, tenant, noun, "id", ids.clone(), &mut out)?;
        out.push(b',');
    }
    out.extend_from_slice(format!("\"{}\":", AUDIT_LOG.plural).as_bytes());
    store::whole(tx, tenant, &AUDIT_LOG, "row_id", ids, &mut out)?;
    out.push(b'}');
    Ok(out)
}

/// How many entries of the audit log there are about these rows.
fn told(tx: &mut Tx<'_>, tenant: &Tenant, ids: &[Uuid]) -> Result<usize> {
    let mut sql = Statement::new("SELECT count(*) FROM audit_log t");
    sql.append(select::scoped(&AUDIT_LOG, tenant))
        .push(" AND t.row_id = ANY(")
        .bind(Value::Uuids(ids.to_vec()))
        .push(")");
    let count = sql.row(tx)?.and_then(|row| row.int(0)).unwrap_or_default();
    Ok(usize::try_from(count).unwrap_or_default())
}
