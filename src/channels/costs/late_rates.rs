//! The job that gives messages their cost whose rates were loaded after they were charged. Each change of rates enqueues it.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::charge::{self, Charge};
use crate::auth::{Tenant, TenantSettings};
use crate::background::{self, Job, JobType, Step};
use crate::base::error::Result;
use crate::db::{Statement, Tx};

/// Job type of pricing messages late.
pub static MESSAGE_COSTS: JobType = JobType { name: "message_costs", step };

/// Messages per step: some tenths of a second's work.
const ROWS: usize = 500;
/// Age in days up to which messages are priced late: who loads a rate card does so within a quarter, and what is older is settled.
const MAX_AGE_DAYS: u32 = 90;

/// Enqueues the job, unless one waits that will see what this transaction writes. Errors: 429 when very many jobs wait.
pub fn enqueue(tx: &mut Tx<'_>, tenant: &Tenant) -> Result<()> {
    // Locked, it is claimed after this transaction has ended.
    let mut sql = Statement::new("SELECT id FROM job_runs WHERE token = 0 AND kind = ");
    sql.bind(MESSAGE_COSTS.name).sql(" AND business_id = ").bind(tenant.id()).sql(" LIMIT 1 FOR UPDATE SKIP LOCKED");
    if sql.scalar::<Uuid>(tx)?.is_none() {
        background::enqueue(tx, tenant, &MESSAGE_COSTS, json!({}))?;
    }
    Ok(())
}

/// A message that is charged and has no cost.
#[derive(QueryableByName)]
struct Unpriced {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    sent_at: DateTime<Utc>,
    #[diesel(sql_type = Jsonb)]
    pricing: Json,
    #[diesel(sql_type = Nullable<Text>)]
    address: Option<String>,
}

/// Prices the next messages. Queries: four at most.
fn step(tx: &mut Tx<'_>, tenant: &Tenant, business: &TenantSettings, job: &mut Job) -> Result<Step> {
    let after = job.cursor["after"].as_str().and_then(|id| Uuid::try_parse(id).ok());
    // What is too old stays in the index for ever, and is not read.
    let after = after.unwrap_or_else(|| first_id(Utc::now() - TimeDelta::days(MAX_AGE_DAYS.into())));
    let mut sql = Statement::new(
        "SELECT m.id, m.sent_at, m.pricing, c.address FROM messages m \
         JOIN conversations c ON c.business_id = m.business_id AND c.id = m.conversation_id \
         WHERE m.cost IS NULL AND (m.pricing ->> 'billable' = 'true' OR m.pricing ->> 'type' = 'regular') \
         AND m.origin = 'api' AND m.direction = 'outbound' AND m.sent_at > now() - interval '",
    );
    sql.number(MAX_AGE_DAYS).sql(" days' AND m.business_id = ").bind(tenant.id()).sql(" AND m.id > ").bind(after);
    sql.sql(" ORDER BY m.id LIMIT ").number(ROWS as u32).sql(" FOR NO KEY UPDATE OF m");
    let found: Vec<Unpriced> = sql.load(tx)?;
    let charge =
        |row: &Unpriced| Charge::of(row.id, &row.pricing, row.address.as_deref(), row.sent_at, &business.time_zone);
    let charges: Vec<Charge> = found.iter().filter_map(charge).collect();
    let priced = if charges.is_empty() { 0 } else { price(tx, tenant, &charges)? };
    let priced = job.cursor["priced"].as_u64().unwrap_or_default() + priced;
    job.done += found.len() as i64;
    match found.last().filter(|_| found.len() == ROWS) {
        Some(last) => job.cursor = json!({ "after": last.id, "priced": priced }),
        None => return Ok(Step::Done(json!({ "priced": priced }))),
    }
    Ok(Step::More)
}

/// An id before all those that are made from `time` on (RFC 9562, section 5.7: a UUIDv7 begins with 48 bits of milliseconds).
fn first_id(time: DateTime<Utc>) -> Uuid {
    Uuid::from_u64_pair(u64::try_from(time.timestamp_millis()).unwrap_or_default() << 16, 0)
}

/// Sets the costs of charges that there is a rate for. Returns how many.
fn price(tx: &mut Tx<'_>, tenant: &Tenant, charges: &[Charge]) -> Result<u64> {
    // Thousands of old messages that get a cost wake nobody.
    tx.set_silent(true)?;
    let mut sql = Statement::new(
        "UPDATE messages m SET version = m.version + 1, updated_at = now(), cost = p.amount, cost_currency = p.currency FROM (",
    );
    sql.append(charge::rates(tenant, charges)).sql(") p WHERE m.id = p.id AND m.business_id = ").bind(tenant.id());
    let priced = sql.run(tx)?;
    // The job's own progress has its events.
    tx.set_silent(false)?;
    Ok(priced as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_id_is_before_those_made_then_and_after_older_ones() {
        let (now, made) = (Utc::now(), Uuid::now_v7());
        assert!(first_id(now) < made);
        assert!(first_id(now + TimeDelta::seconds(10)) > made);
    }
}
