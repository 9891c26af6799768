//! Stores what came of an attempt, and pauses a webhook whose endpoint is gone or has failed for long.

use super::claim::ClaimedDelivery;
use super::classify_response::{Attempt, DeliveryOutcome};
use crate::base::error::Result;
use crate::db::{Statement, Tx};

/// Stores the outcome of a delivery, unless another process has claimed it since; when the delivery is over, the next
/// one of its row becomes pending. Pauses a webhook whose endpoint is gone or has failed for `hours`.
pub fn record_attempt(tx: &mut Tx<'_>, delivery: &ClaimedDelivery, attempt: &Attempt, hours: u32) -> Result<()> {
    let ClaimedDelivery { business, webhook, .. } = *delivery;
    // Before any row lock, in the same order everywhere.
    let mut sql = Statement::new("SELECT pg_advisory_xact_lock_shared(rapport_webhook_lock(");
    sql.bind(business).sql("))").run(tx)?;
    let mut sql = Statement::new("UPDATE webhook_deliveries SET ");
    match attempt.outcome {
        DeliveryOutcome::Delivered => sql.sql("status = 'delivered', delivered_at = now()"),
        DeliveryOutcome::Again(pause) => {
            sql.sql("next_attempt_at = now() + make_interval(secs => ").bind((pause * 1000.0) as i64);
            sql.sql(" / 1000.0::double precision)")
        }
        DeliveryOutcome::Dead | DeliveryOutcome::Gone => sql.sql("status = 'dead'"),
    };
    sql.sql(", attempts = attempts + 1, log = log || jsonb_build_object((attempts + 1)::text, ");
    // A response may repeat what was sent, and the person it was about may have been erased meanwhile.
    sql.bind(attempt.log.clone());
    sql.sql(" - CASE WHEN EXISTS (SELECT FROM audit_entries a WHERE a.action = 'erased' AND a.business_id = ");
    sql.bind(business).sql(" AND a.row_id = ").bind(delivery.row);
    sql.sql(") THEN ARRAY['answer'] ELSE ARRAY[]::text[] END) WHERE business_id = ").bind(business);
    sql.sql(" AND id = ").bind(delivery.id).sql(" AND status = 'pending' AND claim = ");
    if sql.bind(delivery.claim).run(tx)? == 0 {
        return Ok(());
    }
    if !matches!(attempt.outcome, DeliveryOutcome::Again(_)) {
        let mut sql = Statement::new("SELECT rapport_webhook_next(");
        sql.bind(business).sql(", ").bind(webhook).sql(", ");
        sql.bind(vec![delivery.row]).sql(")").run(tx)?;
    }
    let mut sql = Statement::new(match attempt.outcome {
        DeliveryOutcome::Delivered => "UPDATE webhooks SET failing_since = NULL WHERE failing_since IS NOT NULL",
        _ => "UPDATE webhooks SET failing_since = now() WHERE failing_since IS NULL",
    });
    sql.sql(" AND business_id = ").bind(business).sql(" AND id = ").bind(webhook).run(tx)?;
    match attempt.outcome {
        DeliveryOutcome::Delivered => Ok(()),
        DeliveryOutcome::Gone => pause(tx, delivery, "The endpoint answered 410 Gone.", None),
        DeliveryOutcome::Again(_) | DeliveryOutcome::Dead => {
            pause(tx, delivery, &format!("Nothing has arrived for {hours} hours."), Some(hours))
        }
    }
}

/// Pauses the webhook of `delivery`; with `hours`, if it has failed for so long.
fn pause(tx: &mut Tx<'_>, delivery: &ClaimedDelivery, because: &str, hours: Option<u32>) -> Result<()> {
    let mut sql = Statement::new("UPDATE webhooks SET status = 'paused', paused_because = ");
    sql.bind(because).sql(", version = version + 1, updated_at = now() WHERE status = 'active'");
    if let Some(hours) = hours {
        sql.sql(" AND failing_since < now() - ").bind(hours).sql(" * interval '1 hour'");
    }
    sql.sql(" AND business_id = ").bind(delivery.business).sql(" AND id = ").bind(delivery.webhook).run(tx)?;
    Ok(())
}
