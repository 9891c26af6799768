//! The lock of the deliveries of a business.

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{Statement, Tx};

/// Takes the exclusive lock of the business' deliveries. Must be taken before any row lock, as the dispatcher does when
/// a delivery ends.
pub fn lock_deliveries(tx: &mut Tx<'_>, tenant: &Tenant) -> Result<()> {
    let mut sql = Statement::new("SELECT pg_advisory_xact_lock(rapport_webhook_lock(");
    sql.bind(tenant.id()).sql("))").run(tx)?;
    Ok(())
}
