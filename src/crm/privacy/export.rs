//! Export: everything about a contact as one document, from one moment.

use uuid::Uuid;

use super::reach::Reach;
use crate::auth::Tenant;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::noun::history::AUDIT_LOG;
use crate::noun::store;

/// `{"contacts":[…],"leads":[…],…,"audit-log":[…]}`: all fields of each row, deleted ones too.
/// Errors: 404; 409 when there are more than `most` rows.
pub fn export(tx: &mut Tx<'_>, tenant: &Tenant, contact: Uuid, most: usize) -> Result<Vec<u8>> {
    let reach = Reach::find(tx, tenant, contact)?;
    let ids = reach.ids();
    if ids.len() > most {
        return Err(Error::conflict(
            "too_much",
            &format!(
                "There are {} rows about this contact, and an export has at most {most} (RAPPORT_EXPORT_ROWS).",
                ids.len()
            ),
        ));
    }
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
