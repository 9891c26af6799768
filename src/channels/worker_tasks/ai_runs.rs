//! Keeps what models used, run by run, also of answers that were thrown away. `GET /stats/ai-usage` adds it up.

use uuid::Uuid;

use super::dto::AiUsage;
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{SqlValue, Statement, Tx};

/// Records a run for the task `id`, unless it is known already. `token` names it where the worker does not, and `outcome` is what
/// became of it where the worker does not say so. Queries: one.
pub fn record(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    (id, token): (Uuid, Uuid),
    usage: &AiUsage,
    outcome: &'static str,
) -> Result<()> {
    let run_id = usage.run_id.as_ref().map_or_else(|| token.to_string(), |run| run.0.clone());
    let outcome = usage.outcome.as_ref().map_or(outcome, |outcome| outcome.0.as_str());
    let tokens = |count: &Option<super::dto::TokenCount>| count.as_ref().map_or(0, |count| count.0);
    let cost = usage.cost.as_ref().map_or("0", |cost| cost.0.as_str());
    let mut sql = Statement::new(
        "INSERT INTO ai_runs (business_id, id, run_id, kind, model, outcome, input_tokens, cached_tokens, output_tokens, cost, latency_ms) \
         SELECT t.business_id, rapport_uuid_v7(), ",
    );
    sql.bind(run_id).sql(", t.kind, ").bind(&usage.model.0).sql(", ").bind(outcome);
    for count in [&usage.input_tokens, &usage.cached_tokens, &usage.output_tokens] {
        sql.sql(", ").bind(tokens(count));
    }
    sql.sql(", ").bind(SqlValue::Decimal(Some(cost.to_owned()))).sql(", ");
    sql.bind(usage.latency_ms.as_ref().map(|latency| latency.0)).sql(" FROM worker_tasks t WHERE t.business_id = ");
    sql.bind(tenant.id()).sql(" AND t.id = ").bind(id).sql(" ON CONFLICT (business_id, run_id) DO NOTHING").run(tx)?;
    Ok(())
}
