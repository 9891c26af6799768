//! Stores what came of an attempt, and pauses a webhook whose endpoint is gone or has failed for long.

use super::claim::ClaimedDelivery;
use super::classify_response::{Attempt, DeliveryOutcome};
use crate::base::error::Result;
use crate::db::{SqlValue, Statement, Tx};

/// Stores the outcome of a delivery, unless another process has claimed it since; when the delivery is over, the next
/// one of its row becomes pending. Pauses a webhook whose endpoint is gone or has failed for `hours`.
pub fn record_attempt(tx: &mut Tx<'_>, delivery: &ClaimedDelivery, attempt: &Attempt, hours: u32) -> Result<()> {
    let (business, webhook) = (SqlValue::Uuid(Some(delivery.business)), SqlValue::Uuid(Some(delivery.webhook)));
    // Before any row lock, in the same order everywhere.
    let mut sql = Statement::new("SELECT pg_advisory_xact_lock_shared(rapport_webhook_lock(");
    sql.bind(business.clone()).sql("))").run(tx)?;
    let set = match attempt.outcome {
        DeliveryOutcome::Delivered => "status = 'delivered', delivered_at = now()",
        DeliveryOutcome::Again(_) => "next_attempt_at = now() + make_interval(secs => ",
        DeliveryOutcome::Dead | DeliveryOutcome::Gone => "status = 'dead'",
    };
    let mut sql = Statement::new(format!("UPDATE webhook_deliveries SET {set}"));
    if let DeliveryOutcome::Again(pause) = attempt.outcome {
        sql.bind((pause * 1000.0) as i64).sql(" / 1000.0::double precision)");
    }
    sql.sql(", attempts = attempts + 1, log = log || jsonb_build_object((attempts + 1)::text, ");
    // A response may repeat what was sent, and the person it was about may have been erased meanwhile.
    sql.bind(attempt.log.clone());
    sql.sql(" - CASE WHEN EXISTS (SELECT FROM audit_log a WHERE a.action = 'erased' AND a.business_id = ");
    sql.bind(business.clone()).sql(" AND a.row_id = ").bind(delivery.row);
    sql.sql(") THEN ARRAY['answer'] ELSE ARRAY[]::text[] END) WHERE business_id = ").bind(business.clone());
    sql.sql(" AND id = ").bind(delivery.id).sql(" AND status = 'pending' AND claim = ");
    if sql.bind(delivery.claim).run(tx)? == 0 {
        return Ok(());
    }
    if !matches!(attempt.outcome, DeliveryOutcome::Again(_)) {
        let mut sql = Statement::new("SELECT rapport_webhook_next(");
        sql.bind(business.clone()).sql(", ").bind(webhook.clone()).sql(", ");
        sql.bind(vec![delivery.row]).sql(")").run(tx)?;
    }
    let health = match attempt.outcome {
        DeliveryOutcome::Delivered => "UPDATE webhooks SET failing_since = NULL WHERE failing_since IS NOT NULL",
        _ => "UPDATE webhooks SET failing_since = now() WHERE failing_since IS NULL",
    };
    let mut sql = Statement::new(health);
    sql.sql(" AND business_id = ").bind(business.clone()).sql(" AND id = ").bind(webhook.clone()).run(tx)?;
    let given_up = match attempt.outcome {
        DeliveryOutcome::Delivered => return Ok(()),
        DeliveryOutcome::Gone => Statement::new(pause("The endpoint answered 410 Gone.", "true")),
        _ => Statement::new(pause(
            &format!("Nothing has arrived for {hours} hours."),
            &format!("failing_since < now() - interval '{hours} hours'"),
        )),
    };
    let mut sql = given_up;
    sql.sql(" AND business_id = ").bind(business).sql(" AND id = ").bind(webhook).run(tx)?;
    Ok(())
}

fn pause(because: &str, when: &str) -> String {
    format!(
        "UPDATE webhooks SET status = 'paused', paused_because = '{because}', version = version + 1, updated_at = now() \
         WHERE status = 'active' AND {when}"
    )
}
