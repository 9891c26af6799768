//! Signing secrets: made with the webhook, shown once, and rotated.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use super::delivery_lock::lock_deliveries;
use super::resource::{WEBHOOKS, guard};
use crate::auth::{Tenant, random};
use crate::base::error::{Error, Result};
use crate::db::{Statement, Tx};
use crate::resource::crud::{self, Row};
use crate::resource::{Changeset, Resource, WriteOps, select};

/// How long the previous secret still signs after a rotation, in hours.
pub const OVERLAP_HOURS: u32 = 24;
/// Webhooks of one business: each event is matched with all of them, and the dispatcher looks at each.
const MAX_WEBHOOKS: i64 = 50;

/// How webhooks are written.
pub const WRITES: WriteOps = WriteOps { create, ..WriteOps::PLAIN };

/// Creates a webhook. The returned row shows its secret, as the member `secret`.
fn create(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, change: Changeset) -> Result<(Uuid, Row)> {
    // Locked, or concurrent creations would not count each other.
    lock_deliveries(tx, tenant)?;
    let mut sql = Statement::new("SELECT count(*) FROM webhooks WHERE business_id = ");
    let count: i64 = sql.bind(tenant.id()).scalar(tx)?.unwrap_or_default();
    if count >= MAX_WEBHOOKS {
        let detail =
            format!("A business has at most {MAX_WEBHOOKS} webhooks. Delete one, or let one be sent more types.");
        return Err(Error::conflict("too_many_webhooks", detail));
    }
    let (id, mut row) = crud::create(tx, tenant, resource, change)?;
    let secret = generate()?;
    let mut sql = Statement::new("UPDATE webhooks AS t SET secret = ");
    sql.bind(&secret).append(select::tenant_predicate(&WEBHOOKS, tenant));
    sql.sql(" AND t.id = ").bind(id).run(tx)?;
    show(&mut row, &secret);
    Ok((id, row))
}

/// Replaces the secret of webhook `id`; for 24 hours both sign. Errors: 404; 403.
pub fn rotate(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, secret: &str) -> Result<Row> {
    guard(tx, tenant, Some(id), None)?;
    let mut sql = Statement::new(
        "UPDATE webhooks AS t SET version = version + 1, updated_at = now(), previous_secret = secret, previous_until = now() + ",
    );
    sql.bind(OVERLAP_HOURS).sql(" * interval '1 hour', secret = ").bind(secret);
    sql.append(select::tenant_predicate(&WEBHOOKS, tenant));
    sql.sql(" AND t.id = ").bind(id).run(tx)?;
    let row = crud::one(tx, tenant, &WEBHOOKS, id, &Default::default())?;
    let mut row = row.ok_or_else(|| crud::not_found(&WEBHOOKS))?;
    show(&mut row, secret);
    Ok(row)
}

fn show(row: &mut Row, secret: &str) {
    row.json.pop();
    row.json.extend_from_slice(format!(",\"secret\":\"{secret}\"}}").as_bytes());
}

/// Generates a secret: `whsec_` and 256 random bits, as Standard Webhooks writes them.
pub fn generate() -> Result<String> {
    Ok(format!("whsec_{}", STANDARD.encode(random::<32>()?)))
}
