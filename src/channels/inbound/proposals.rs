//! Proposes that two contacts are one person.

use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{Statement, Tx};

/// Proposes that `contact` and each of `others` are one, unless that was proposed before. Queries: one, if there is another.
pub fn propose(tx: &mut Tx<'_>, tenant: &Tenant, contact: Uuid, others: &[Uuid], reason: &str) -> Result<()> {
    let mut others: Vec<Uuid> = others.iter().copied().filter(|other| *other != contact).collect();
    others.sort_unstable();
    others.dedup();
    if others.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::new("INSERT INTO duplicate_proposals (business_id, contact_id, other_id, reason) SELECT ");
    sql.bind(tenant.id()).sql(", ").bind(contact).sql(", o.id, ").bind(reason).sql(" FROM unnest(").bind(others);
    sql.sql(") o (id) WHERE NOT EXISTS (SELECT FROM duplicate_proposals p WHERE p.business_id = ").bind(tenant.id());
    sql.sql(" AND (p.contact_id, p.other_id) IN ((")
        .bind(contact)
        .sql(", o.id), (o.id, ")
        .bind(contact)
        .sql(")))")
        .run(tx)?;
    Ok(())
}
